"""Every place of a schema that takes a value, and the calls that try others' names there.

Pure. Never knows a field: a new argument is walked as soon as it is in the schema, and refused with
a word of advice while nobody has said of what kind its values are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLNamedType,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
)

from tests.api.graphql.names import Kind

Input = GraphQLArgument | GraphQLInputField
Values = Mapping[Kind, list[Any]]

PAGES = ("first", "sample")
"""Sizes of pages: small ones, written into the query, for their sizes are what queries cost."""

KINDS = {
    "action": Kind.ACTION,
    "actor": Kind.ACTOR,
    "after": Kind.CURSOR,
    "comment": Kind.TEXT,
    "defaultPhoneRegion": Kind.TEXT,
    "description": Kind.TEXT,
    "displayName": Kind.TEXT,
    "document": Kind.DOCUMENT,
    "draftId": Kind.DRAFT,
    "enum": Kind.VALUE,
    "equals": Kind.VALUE,
    "errorCode": Kind.ERROR_CODE,
    "event": Kind.EVENT,
    "eventType": Kind.EVENT_TYPE,
    "eventTypes": Kind.EVENT_TYPE,
    "examples": Kind.VALUE,
    "expectedRevision": Kind.TYPE_REVISION,
    "externalEventId": Kind.EXTERNAL_ID,
    "format": Kind.TEXT,
    "id": Kind.DRAFT,
    "ids": Kind.ITEM,
    "in": Kind.VALUE,
    "name": Kind.EVENT_TYPE,
    "note": Kind.TEXT,
    "owner": Kind.TEXT,
    "path": Kind.PROPERTY,
    "pattern": Kind.TEXT,
    "profile": Kind.PROFILE,
    "property": Kind.PROPERTY,
    "reason": Kind.TEXT,
    "schemaVersion": Kind.VERSION,
    "search": Kind.SEARCH,
    "source": Kind.SOURCE,
    "sources": Kind.SOURCE,
    "subject": Kind.SUBJECT,
    "summary": Kind.TEXT,
    "timeZone": Kind.TEXT,
    "title": Kind.TEXT,
    "type": Kind.EVENT_TYPE,
    "value": Kind.VALUE,
    # Where the name alone does not tell.
    "CreateApiKeyInput.name": Kind.TEXT,
    "EditDraftInput.expectedRevision": Kind.DRAFT_REVISION,
    "EndDraftInput.expectedRevision": Kind.DRAFT_REVISION,
    "PropertyDefinitionInput.name": Kind.TEXT,
    "PublishDraftInput.expectedRevision": Kind.DRAFT_REVISION,
    "QuarantineFilter.path": Kind.PLACE,
    "QuarantineFilter.reason": Kind.ERROR_CODE,
    "SetSourceInput.name": Kind.SOURCE,
    "SubmitDraftInput.expectedRevision": Kind.DRAFT_REVISION,
    "apiKey.id": Kind.KEY,
    "cancelImpact.id": Kind.IMPACT,
    "deliveryHistory.id": Kind.EVENT,
    "event.id": Kind.EVENT,
    "impact.id": Kind.IMPACT,
    "profile.id": Kind.PROFILE,
    "profileByIdentifier.value": Kind.IDENTIFIER,
    "quarantineReplay.id": Kind.REPLAY,
    "quarantinedItem.id": Kind.ITEM,
    "retryingSources.prefix": Kind.SOURCE,
    "revokeApiKey.id": Kind.KEY,
    "rotateApiKey.id": Kind.KEY,
    "source.name": Kind.SOURCE,
    "stopQuarantineReplay.id": Kind.REPLAY,
}
"""What an argument names: by its field or input type and its name, or by its name alone."""

_TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
_BY_TYPE: dict[str, list[Any]] = {
    "Boolean": [True, False],
    "DateTime": [(_TODAY + timedelta(days=days)).isoformat() for days in (2, -3)],
    "Float": [1],
    "Int": [1],
    "JSON": [1],
    "Number": [1],
}


class Leaf(NamedTuple):
    """A value that a field takes, as an argument or somewhere inside of one."""

    owner: str
    """The field's name, or the name of the input type that it is a member of."""
    path: tuple[str, ...]
    type: GraphQLNamedType
    is_leading: bool = False
    """The first of its owner's."""

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def coordinate(self) -> str:
        return f"{self.owner}.{self.name}"

    @property
    def kind(self) -> Kind | None:
        if self.type.name not in ("String", "ID", "Int", "JSON"):
            return None
        return KINDS.get(self.coordinate, KINDS.get(self.name))

    @property
    def is_text(self) -> bool:
        return self.type.name in ("String", "ID")

    @property
    def is_reference(self) -> bool:
        """Its values are somebody's; those of other leaves are anybody's."""
        return self.kind is not None and self.kind not in ANYBODYS

    @property
    def is_looked_for(self) -> bool:
        """It decides what is found; a cursor only where a list goes on."""
        return self.is_text and self.is_reference and self.kind is not Kind.CURSOR

    def fitting(self, values: Values) -> list[Any]:
        """What somebody with these names would give."""
        if isinstance(self.type, GraphQLEnumType):
            return list(self.type.values)
        if self.kind is None:
            assert not self.is_text, ADVICE.format(self.owner, self.name)
            return _BY_TYPE[self.type.name]
        return values[self.kind]


ANYBODYS = {Kind.TEXT, Kind.ERROR_CODE, Kind.PLACE, Kind.ACTION, Kind.DOCUMENT, Kind.VALUE}
ADVICE = (
    "nobody has said what {0}.{1} names: add it to KINDS in tests/api/graphql/arguments.py, and if"
    " it is of a new kind, make one in tests/api/graphql/furnished.py and name it in names.py"
)


class Call(NamedTuple):
    leaf: Leaf | None
    """What it is about; None: nothing is given."""
    arguments: dict[str, Any]


def leaves_of(field_name: str, field: GraphQLField) -> list[Leaf]:
    """Every leaf of a field. An input type inside of itself is entered once more, not for ever."""
    return list(_leaves(field_name, field.args, (), Counter()))


def _leaves(
    owner: str, inputs: Mapping[str, Input], path: tuple[str, ...], entered: Counter[str]
) -> Iterator[Leaf]:
    for name, taken in inputs.items():
        named = get_named_type(taken.type)
        if not isinstance(named, GraphQLInputObjectType):
            yield Leaf(owner, (*path, name), named, name == next(iter(inputs)))
        elif entered[named.name] < 2:
            inside = entered + Counter([named.name])
            yield from _leaves(named.name, named.fields, (*path, name), inside)


class Caller:
    """Makes the calls of one field."""

    def __init__(self, name: str, field: GraphQLField) -> None:
        self.name = name
        self.field = field
        self.leaves = leaves_of(name, field)

    def plain(self, values: Values) -> Iterator[Call]:
        """What is needed, with fitting values, and each name and each time alone."""
        yield Call(None, self._with({}, values))
        for leaf in self._settable():
            if self._is_first(leaf) and (leaf.is_looked_for or leaf.type.name == "DateTime"):
                for value in leaf.fitting(values):
                    yield Call(leaf, self._with({leaf: value}, values))

    def alone(self, values: Values) -> Iterator[Call]:
        """With fitting values: nothing but what is needed, and each leaf alone."""
        needed = self._with({}, values)
        if not needed:
            yield Call(None, needed)
        for leaf in self._settable():
            if self._is_first(leaf):
                for value in leaf.fitting(values):
                    yield Call(leaf, self._with({leaf: value}, values))
            elif leaf.is_reference or leaf.is_leading:
                yield Call(leaf, self._with({leaf: leaf.fitting(values)[0]}, values))

    def own(self, values: Values) -> Iterator[Call]:
        """The same, and each name with each other leaf that it may need."""
        yield from self.alone(values)
        for leaf in self._settable():
            if leaf.is_reference and self._is_first(leaf):
                for other in self._companions(leaf):
                    for value in other.fitting(values)[:2]:
                        chosen = {leaf: leaf.fitting(values)[0], other: value}
                        yield Call(leaf, self._with(chosen, values))

    def foreign(self, values: Values, mine: Values) -> Iterator[Call]:
        """A name of each kind that somebody has, fitting or not, wherever a text may stand.

        mine  what else has to be given: the caller's own things, which do exist
        """
        for leaf in self._settable():
            # A cursor is taken apart before anything is looked for: `own` gives it all cursors.
            # Free texts deep inside are documents.
            deep_text = leaf.kind is Kind.TEXT and len(leaf.path) > 2
            if (
                leaf.is_text
                and self._is_first(leaf)
                and leaf.kind is not Kind.CURSOR
                and not deep_text
            ):
                for name in _one_of_each(values):
                    yield Call(leaf, self._with({leaf: name}, mine))

    def _is_first(self, leaf: Leaf) -> bool:
        """Not a member of an input type that was entered before."""
        return leaf == next(
            other for other in self.leaves if (other.owner, other.name) == (leaf.owner, leaf.name)
        )

    def _settable(self) -> list[Leaf]:
        return [leaf for leaf in self.leaves if leaf.name not in PAGES]

    def _companions(self, leaf: Leaf) -> list[Leaf]:
        return [
            other
            for other in self._settable()
            if other.path[:-1] == leaf.path[:-1]
            or ((other.is_reference or other.type.name == "DateTime") and self._is_first(other))
            if other != leaf
        ]

    def _with(self, chosen: Mapping[Leaf, Any], values: Values) -> dict[str, Any]:
        by_path = {leaf.path: value for leaf, value in chosen.items()}
        return _built(self.name, self.field.args, by_path, values)


def _one_of_each(values: Values) -> list[str]:
    return [names[0] for names in values.values() if isinstance(names[0], str)]


def _built(
    owner: str, inputs: Mapping[str, Input], chosen: Mapping[tuple[str, ...], Any], values: Values
) -> dict[str, Any]:
    """Arguments, or members of one: what is chosen, and what cannot be left out."""
    made: dict[str, Any] = {}
    for name, taken in inputs.items():
        inside = {path[1:]: value for path, value in chosen.items() if path[0] == name}
        if not inside and (name in PAGES or not _is_required(taken)):
            continue
        named = get_named_type(taken.type)
        if isinstance(named, GraphQLInputObjectType):
            value = _built(named.name, named.fields, inside, values)
        elif inside:
            value = inside[()]
        else:
            value = Leaf(owner, (name,), named).fitting(values)[0]
        made[name] = [value] if is_list_type(get_nullable_type(taken.type)) else value
    return made


def _is_required(taken: Input) -> bool:
    if isinstance(taken, GraphQLArgument):
        return is_required_argument(taken)
    return is_required_input_field(taken)
