"""The checked-in GraphQL schema: what changed against it, and whether all of it is described."""

from __future__ import annotations

from collections.abc import Iterator

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    build_schema,
    find_breaking_changes,
    is_introspection_type,
    is_specified_scalar_type,
)

from app.api.graphql import schema
from scripts.generate_docs import ROOT

NOW = build_schema(schema.build_schema().as_str())
CHECKED_IN = ROOT / "docs" / "api" / "schema.graphql"


def test_nothing_that_clients_use_has_gone_from_the_schema() -> None:
    before = build_schema(CHECKED_IN.read_text(encoding="utf-8"))
    changes = find_breaking_changes(before, NOW)
    assert [change.description for change in changes] == []


def test_every_type_field_argument_and_value_is_described() -> None:
    bare = [
        name
        for kind in NOW.type_map.values()
        if not is_introspection_type(kind) and not is_specified_scalar_type(kind)
        for name in _undescribed(kind)
    ]
    assert bare == []


def _undescribed(kind: GraphQLNamedType) -> Iterator[str]:
    if not kind.description and not kind.name.endswith("Result"):
        yield kind.name
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
        for name, field in kind.fields.items():
            if not field.description:
                yield f"{kind.name}.{name}"
            for argument_name, argument in getattr(field, "args", {}).items():
                if not argument.description:
                    yield f"{kind.name}.{name}({argument_name}:)"
    if isinstance(kind, GraphQLEnumType) and kind.name != "Scope":
        for value_name, value in kind.values.items():
            if not value.description:
                yield f"{kind.name}.{value_name}"
