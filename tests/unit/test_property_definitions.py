"""A document and its property definitions say the same, whichever of the two is edited."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli.starter import registry_folder
from app.registry.definitions import (
    FIELD_BY_KEYWORD,
    Literal,
    PropertyDefinition,
    ValueDefinition,
    definitions_of,
    document_of,
    repeated_names,
)
from app.registry.files import read_registry
from app.registry.linter import lint
from app.registry.spec import FORMATS, KEYWORDS, PII_CLASSES, TYPES, Finding
from app.registry.validator import effective_schema

Schema = dict[str, Any]

ORDER: Schema = {
    "type": "object",
    "x-owner": "shop",
    "x-unknown-properties": "strip",
    "required": ["lines", "amount"],
    "properties": {
        "amount": {"type": ["null", "number"], "exclusiveMinimum": 0, "x-segmentable": True},
        "kind": {"enum": ["a", 1, None], "default": None},
        "lines": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": [],
                "properties": {"sku": {"type": "string", "maxLength": 20, "x-pii": "none"}},
            },
        },
    },
}
DEFINITIONS = (
    PropertyDefinition(
        name="amount", required=True, type="number", nullable=True, exclusive_minimum=0,
        segmentable=True,
    ),
    PropertyDefinition(name="kind", enum=("a", 1, None), default=Literal(None)),
    PropertyDefinition(
        name="lines",
        required=True,
        type="array",
        min_items=1,
        items=ValueDefinition(
            type="object",
            additional_properties=False,
            properties=(
                PropertyDefinition(name="sku", type="string", max_length=20, pii="none"),
            ),
        ),
    ),
)  # fmt: skip


def test_a_document_is_taken_apart_into_typed_definitions() -> None:
    assert definitions_of(ORDER) == DEFINITIONS


def test_definitions_alone_make_a_document_of_the_same_meaning() -> None:
    made = document_of(DEFINITIONS, {"x-owner": "shop", "x-unknown-properties": "strip"})
    assert made == ORDER | {
        "required": ["amount", "lines"],
        "properties": {
            "amount": {"type": ["number", "null"], "exclusiveMinimum": 0, "x-segmentable": True},
            "kind": {"enum": ["a", 1, None], "default": None},
            "lines": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"sku": {"type": "string", "maxLength": 20, "x-pii": "none"}},
                },
            },
        },
    }


def test_an_edit_changes_what_it_names_and_nothing_else() -> None:
    amount, kind, lines = DEFINITIONS
    edited = (
        msgspec.structs.replace(amount, exclusive_minimum=1),
        kind,
        PropertyDefinition(name="note", type="string", required=True),
        lines,
    )
    properties = ORDER["properties"]
    assert document_of(edited, ORDER) == ORDER | {
        "required": ["lines", "amount", "note"],
        "properties": properties
        | {"amount": properties["amount"] | {"exclusiveMinimum": 1}, "note": {"type": "string"}},
    }
    assert document_of((), ORDER) == {
        "type": "object",
        "x-owner": "shop",
        "x-unknown-properties": "strip",
    }


def test_an_object_of_no_properties_is_not_an_object_that_may_hold_anything() -> None:
    closed = PropertyDefinition(name="closed", type="object", properties=())
    open_ = PropertyDefinition(name="open", type="object")
    assert document_of((closed, open_), {})["properties"] == {
        "closed": {"type": "object", "properties": {}},
        "open": {"type": "object"},
    }


@pytest.mark.parametrize(
    ("definition", "pointer", "rule"),
    [
        (PropertyDefinition(name="a", nullable=True), "/properties/a/type", "keyword_value"),
        (PropertyDefinition(name="a", type="null", nullable=True), "/properties/a/type",
         "keyword_value"),
        (PropertyDefinition(name="a", type="text"), "/properties/a/type", "keyword_value"),
        (PropertyDefinition(name="a", type="string", minimum=1), "/properties/a/minimum",
         "keyword_without_effect"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_found_in_the_document(
    definition: PropertyDefinition, pointer: str, rule: str
) -> None:
    found = lint(document_of([definition], {}))
    assert (pointer, rule) in [(finding.path, finding.rule) for finding in found]


def test_a_name_that_an_object_has_twice_is_told_with_its_place() -> None:
    twice = (PropertyDefinition(name="b/c"), PropertyDefinition(name="b/c", type="string"))
    inner = ValueDefinition(items=ValueDefinition(properties=twice))
    outer = PropertyDefinition(name="a", items=inner)
    message = "the object has a property of this name"
    assert repeated_names([outer, outer]) == [
        Finding("/0/items/items/properties/1", "property_repeated", message),
        Finding("/1", "property_repeated", message),
        Finding("/1/items/items/properties/1", "property_repeated", message),
    ]
    assert repeated_names(DEFINITIONS) == []


def test_every_keyword_of_a_property_has_its_field() -> None:
    apart = {"type", "const", "default", "items", "properties", "required"}
    of_properties = {name for name, keyword in KEYWORDS.items() if not keyword.root_only}
    assert FIELD_BY_KEYWORD.keys() | apart == of_properties
    fields = {field.name for field in msgspec.structs.fields(ValueDefinition)}
    taken_apart = {"type", "nullable", "const", "default", "items", "properties"}
    assert {*FIELD_BY_KEYWORD.values(), *taken_apart} == fields


# Any document that could be published, in any spelling.

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)
NAMES = st.sampled_from(("a", "b/c", "~d", "e_f", "g"))
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | TEXTS
NUMBERS = st.integers(-5, 5) | st.sampled_from((0.1, 1.5, 1e300, 2**60 + 1))
COUNTS = st.integers(0, 9)
ANYWHERE = {
    "$comment": TEXTS, "title": TEXTS, "description": TEXTS, "deprecated": st.booleans(),
    "x-display-name": TEXTS, "x-pii": st.sampled_from(PII_CLASSES), "default": SCALARS,
    "examples": st.lists(SCALARS, max_size=2),
}  # fmt: skip
LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
OF_TYPE: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "string": {"minLength": COUNTS, "maxLength": COUNTS, "format": st.sampled_from(FORMATS),
               "pattern": st.sampled_from(("^a", "[0-9]+")),
               "enum": st.lists(TEXTS, min_size=1, max_size=3, unique=True)},
    "number": dict.fromkeys(LIMITS, NUMBERS) | {"multipleOf": st.sampled_from((0.1, 2))},
    "integer": dict.fromkeys(LIMITS, NUMBERS) | {"const": st.integers(-3, 3)},
    "boolean": {"const": st.booleans()},
    "array": {"minItems": COUNTS, "maxItems": COUNTS, "uniqueItems": st.booleans()},
    "object": {"additionalProperties": st.booleans()},
    "null": {},
}  # fmt: skip


@st.composite
def schemas(draw: st.DrawFn, depth: int) -> Schema:
    said: Schema = draw(st.fixed_dictionaries({}, optional=ANYWHERE))
    kind = draw(st.sampled_from(("any", "values", *TYPES, "array", "object")))
    if kind == "any":
        return said
    if kind == "values":
        return said | {"enum": draw(st.lists(SCALARS, min_size=1, max_size=3, unique_by=repr))}
    pair = st.permutations([kind, "null"]) if kind != "null" else st.just(kind)
    said["type"] = draw(st.just(kind) | pair)
    said |= draw(st.fixed_dictionaries({}, optional=OF_TYPE[kind]))
    if kind == "array" and depth and draw(st.booleans()):
        said["items"] = draw(schemas(depth - 1))
    return said | (draw(members(depth - 1)) if kind == "object" and depth else {})


@st.composite
def members(draw: st.DrawFn, depth: int) -> Schema:
    inner = draw(st.dictionaries(NAMES, schemas(depth), max_size=3))
    required = draw(st.lists(st.sampled_from(list(inner)), unique=True)) if inner else []
    said = {"properties": inner, "required": required}
    return {name: said[name] for name in said if said[name] or draw(st.booleans())}


@st.composite
def documents(draw: st.DrawFn) -> Schema:
    optional = ANYWHERE | {
        "x-owner": st.just("shop"), "x-unknown-properties": st.sampled_from(("strip", "allow")),
    }  # fmt: skip
    root = draw(st.fixed_dictionaries({"type": st.just("object")}, optional=optional))
    return root | draw(members(3))


publishable = documents().filter(
    lambda document: all(finding.severity == "warning" for finding in lint(document))
)


@settings(max_examples=100)
@given(publishable, publishable)
def test_both_views_say_the_same(document: Schema, other: Schema) -> None:
    definitions = definitions_of(document)
    assert document_of(definitions, document) == document
    assert definitions_of(document_of(definitions, other)) == definitions
    settings_alone = {k: v for k, v in document.items() if k not in ("properties", "required")}
    assert same_meaning(document_of(definitions, settings_alone), document)


def same_meaning(one: Schema, other: Schema) -> bool:
    """Judging alike; of the root itself, no properties and none listed are the same."""
    judging = (_unordered({"properties": {}} | effective_schema(root)) for root in (one, other))
    return next(judging) == next(judging)


def _unordered(schema: Any) -> Any:
    if isinstance(schema, dict):
        parts = {name: _unordered(part) for name, part in schema.items()}
        return parts | {
            name: sorted(parts[name]) for name in ("type", "required")
            if isinstance(parts.get(name), list)
        }  # fmt: skip
    return schema


def test_the_products_own_documents_survive_the_round_trip() -> None:
    for versions in read_registry(registry_folder()).event_types.values():
        for version in versions:
            document = version.document
            assert document_of(definitions_of(document), document) == document
