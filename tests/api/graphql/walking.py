"""Asks a service every question that its schema knows, and keeps the answers apart.

Knows no field either: places are found by introspection, and so is what can be selected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_client_schema,
    get_introspection_query,
    get_named_type,
    is_composite_type,
    is_required_argument,
)

from tests.api.graphql.arguments import PAGES, Caller
from tests.api.graphql.support import GraphQL

ALIASES = 30
PAGE = 3


async def read_schema(gql: GraphQL) -> GraphQLSchema:
    return build_client_schema(await gql.data(get_introspection_query()))


class Step(NamedTuple):
    name: str
    text: str


class Place(NamedTuple):
    """A field with arguments or of a root, and how to get there."""

    operation: str
    way: tuple[Step, ...]
    """Fields that lead to it from the root; lists on the way are walked to all of their rows."""
    owner: str
    name: str
    field: GraphQLField

    @property
    def type(self) -> GraphQLNamedType:
        return get_named_type(self.field.type)

    @property
    def caller(self) -> Caller:
        return Caller(self.name, self.field)


def places_of(schema: GraphQLSchema) -> list[Place]:
    """Fields of the roots, and those with arguments on the way down from `Query`."""
    assert schema.query_type and schema.mutation_type
    roots = [("query", schema.query_type), ("mutation", schema.mutation_type)]
    if schema.subscription_type:
        roots.append(("subscription", schema.subscription_type))
    places = [
        Place(operation, (), root.name, name, field)
        for operation, root in roots
        for name, field in root.fields.items()
    ]
    for way, owner in _ways(schema, schema.query_type):
        places += [
            Place("query", way, owner.name, name, field)
            for name, field in owner.fields.items()
            if field.args and way
        ]
    return places


def _ways(
    schema: GraphQLSchema, root: GraphQLObjectType
) -> Iterator[tuple[tuple[Step, ...], GraphQLObjectType]]:
    """Each type that can be reached without naming anything, and the shortest way there."""
    seen = {root.name}
    queue: deque[tuple[tuple[Step, ...], GraphQLObjectType]] = deque([((), root)])
    while queue:
        way, owner = queue.popleft()
        yield way, owner
        for name, field in owner.fields.items():
            named = get_named_type(field.type)
            needs_names = any(is_required_argument(taken) for taken in field.args.values())
            if isinstance(named, GraphQLObjectType) and named.name not in seen and not needs_names:
                seen.add(named.name)
                queue.append(((*way, Step(name, name + _page(field))), named))


def types_below(root: GraphQLObjectType) -> set[str]:
    """What can be found from a root, but for refusals, which need somebody who is refused."""
    seen, queue = set[str](), deque([root])
    while queue:
        for field in queue.popleft().fields.values():
            for owner in _objects(get_named_type(field.type)):
                if owner.name not in seen and not owner.interfaces:
                    seen.add(owner.name)
                    queue.append(owner)
    return seen


def fields_of(schema: GraphQLSchema) -> set[tuple[str, str]]:
    """Every field of every object there is, but for those of introspection."""
    return {
        (named.name, name)
        for named in schema.type_map.values()
        if isinstance(named, GraphQLObjectType) and not named.name.startswith("__")
        for name in named.fields
    }


def arguments_of(schema: GraphQLSchema) -> set[str]:
    """Every argument, and every member of every input type."""
    found = {
        f"{owner}.{field}({name}:)"
        for owner, field in fields_of(schema)
        for name in schema.type_map[owner].fields[field].args
    }
    for named in schema.type_map.values():
        if isinstance(named, GraphQLInputObjectType):
            found |= {f"{named.name}.{name}" for name in named.fields}
    return found


def given_by(place: Place, arguments: dict[str, Any]) -> set[str]:
    """Which of `arguments_of` a call gives."""
    found = {f"{place.owner}.{place.name}({name}:)" for name in place.field.args if name in PAGES}
    for name, value in arguments.items():
        found.add(f"{place.owner}.{place.name}({name}:)")
        found |= _members(get_named_type(place.field.args[name].type), value)
    return found


def _members(named: GraphQLNamedType, value: Any) -> set[str]:
    if not isinstance(named, GraphQLInputObjectType):
        return set()
    if isinstance(value, list):
        return {found for one in value for found in _members(named, one)}
    below = {
        found
        for name, part in value.items()
        for found in _members(get_named_type(named.fields[name].type), part)
    }
    return below | {f"{named.name}.{name}" for name in value}


class Selector:
    """Writes selections; remembers which fields were selected."""

    def __init__(self) -> None:
        self.selected: set[tuple[str, str]] = set()

    def level(self, named: GraphQLNamedType) -> str:
        """All fields of a type and of what is right below."""
        return self._select(
            named,
            {
                (owner.name, name)
                for owner in _objects(named)
                for name, field in owner.fields.items()
                if is_composite_type(get_named_type(field.type))
            },
        )

    def spanning(self, named: GraphQLNamedType) -> str:
        """Everything that can be reached from a type; each type in full at one place."""
        tree: set[tuple[str, str]] = set()
        seen, queue = {named.name}, deque([named])
        while queue:
            for owner in _objects(queue.popleft()):
                seen.add(owner.name)
                for name, field in owner.fields.items():
                    below = get_named_type(field.type)
                    if is_composite_type(below) and below.name not in seen:
                        seen.add(below.name)
                        tree.add((owner.name, name))
                        queue.append(below)
        return self._select(named, tree)

    def _select(self, named: GraphQLNamedType, followed: set[tuple[str, str]]) -> str:
        """What is not followed is looked at, but not below."""
        if isinstance(named, GraphQLUnionType):
            parts = (f"... on {one.name} {self._select(one, followed)}" for one in named.types)
            return f"{{ __typename {' '.join(parts)} }}"
        assert isinstance(named, GraphQLObjectType), named
        text = "__typename"
        for name, field in named.fields.items():
            below = get_named_type(field.type)
            self.selected.add((named.name, name))
            text += f" {name}{_page(field)}"
            if (named.name, name) in followed:
                text += f" {self._select(below, followed - {(named.name, name)})}"
            elif is_composite_type(below):
                text += " { __typename }"
        return f"{{ {text} }}"


def _objects(named: GraphQLNamedType) -> Sequence[GraphQLObjectType]:
    if isinstance(named, GraphQLUnionType):
        return named.types
    return [named] if isinstance(named, GraphQLObjectType) else []


def _page(field: GraphQLField) -> str:
    sizes = [name for name in PAGES if name in field.args]
    return f"({sizes[0]}: {PAGE})" if sizes else ""


class Walker:
    """One caller of the service."""

    def __init__(self, gql: GraphQL, key: str) -> None:
        self._gql = gql
        self._key = key
        self.selector = Selector()

    async def answers(
        self,
        place: Place,
        calls: Sequence[dict[str, Any]],
        selection: str,
        *,
        at_once: int = ALIASES,
        before: Callable[[], Awaitable[object]] | None = None,
    ) -> list[Any]:
        """Of each call (data of each row on the way, errors).

        before  what is done before each request
        """
        found: list[Any] = []
        while len(found) < len(calls):
            if before:
                await before()
            some = calls[len(found) : len(found) + at_once]
            answers = await self._ask(place, some, selection)
            found += answers
            at_once = at_once if answers else at_once // 2
            assert at_once, f"{place.name} costs too much to be asked once"
        return found

    async def _ask(
        self, place: Place, calls: Sequence[dict[str, Any]], selection: str
    ) -> list[Any]:
        """Nothing when all of them together are more than a query may cost."""
        query, variables = written(place, calls, selection)
        response = await self._gql.post(query, variables, key=self._key)
        assert response.status_code == 200, response.text
        answer = response.json()
        errors = answer.get("errors", [])
        assert "INTERNAL_ERROR" not in response.text, (place.name, errors)
        if any(error.get("extensions") == {"code": "QUERY_TOO_LARGE"} for error in errors):
            return []
        if errors and len(calls) > 1:
            # One that fails takes the others with it: each for itself.
            return [one for call in calls for one in await self._ask(place, [call], selection)]
        rows = _rows(answer["data"], place.way)
        said = [(error["message"], error.get("extensions")) for error in errors]
        return [([row[f"a{i}"] for row in rows], said) for i in range(len(calls))]


def written(
    place: Place, calls: Sequence[dict[str, Any]], selection: str
) -> tuple[str, dict[str, Any]]:
    """A query with an alias a call; one text for all calls of a place."""
    declared = fields = ""
    for number in range(len(calls)):
        given = ""
        for name, taken in place.field.args.items():
            if name in PAGES:
                given += f" {name}: {PAGE}"
            else:
                required = is_required_argument(taken)
                declared += f" ${name}{number}: {str(taken.type).rstrip('' if required else '!')}"
                given += f" {name}: ${name}{number}"
        fields += f" a{number}: {place.name}{given and f'({given})'} {{ ...all }}"
    for step in reversed(place.way):
        fields = f" {step.text} {{{fields} }}"
    text = f"{place.operation} {declared and f'({declared})'} {{{fields} }}"
    variables = {f"{n}{i}": value for i, call in enumerate(calls) for n, value in call.items()}
    return f"{text} fragment all on {place.type.name} {selection}", variables


def _rows(data: Any, way: tuple[Step, ...]) -> list[Any]:
    if data is None:
        return []
    if isinstance(data, list):
        return [row for one in data for row in _rows(one, way)]
    return _rows(data[way[0].name], way[1:]) if way else [data]
