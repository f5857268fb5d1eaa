"""Conditions on segmentable properties as arguments: of audiences and of lists of events."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON

from app.access.keys import Scope
from app.api.graphql.connection import refuse_argument
from app.api.graphql.context import Info
from app.segments import conditions
from app.segments.asking import (
    PERSONAL,
    Asked,
    NeedsPersonalData,
    NotReady,
    Refused,
    resolve_conditions,
)
from app.segments.conditions import MAX_CONDITIONS, Predicate

_VALUE = "A text, a number, true or false; times as texts."


@strawberry.input(description="Both ends of a range; what is left out is open.")
class RangeInput:
    at_least: JSON | None = strawberry.field(default=None, description="This or more.")
    above: JSON | None = strawberry.field(default=None, description="More than this.")
    at_most: JSON | None = strawberry.field(default=None, description="This or less.")
    below: JSON | None = strawberry.field(default=None, description="Less than this.")


@strawberry.input(description="A condition on one segmentable property: give exactly one.")
class ConditionInput:
    property: str = strawberry.field(description='JSON Pointer: "/store_id".')
    equals: JSON | None = strawberry.field(default=None, description=_VALUE)
    one_of: list[JSON] | None = strawberry.field(
        name="in", default=None, description=f"One of these: up to {conditions.MAX_VALUES}."
    )
    range: RangeInput | None = strawberry.field(default=None, description="Between these.")
    exists: bool | None = strawberry.field(
        default=None, description="True: the event has a value; false: it has none."
    )


def condition_of(given: ConditionInput) -> conditions.Condition:
    limits = given.range
    return conditions.Condition(
        path=given.property,
        equals=exact(given.equals),
        one_of=None if given.one_of is None else [exact(value) for value in given.one_of],
        limits=None
        if limits is None
        else conditions.Limits(
            at_least=exact(limits.at_least),
            above=exact(limits.above),
            at_most=exact(limits.at_most),
            below=exact(limits.below),
        ),
        exists=given.exists,
    )


def exact(value: Any) -> Any:
    """Numbers as they were written: 120.1 is not the double that is nearest to it."""
    return Decimal(repr(value)) if isinstance(value, float) else value


async def predicates_of(
    info: Info,
    argument: str,
    event_type: str,
    event_type_id: int,
    given: Sequence[ConditionInput],
) -> tuple[Predicate, ...]:
    """What events of a type must be like. What is hidden from a key cannot be asked about by it.

    raises  GraphQLError
    """
    if len(given) > MAX_CONDITIONS:
        raise refuse_argument(f"{argument}: {MAX_CONDITIONS} conditions at most")
    marks = await info.context.loaders.marks_of.load(event_type_id)
    shown = info.context.principal.may(Scope.PII_READ)
    asked = Asked(
        event_type,
        event_type_id,
        {held.path: held for held in marks},
        closed=() if shown else PERSONAL,
    )
    try:
        return resolve_conditions(argument, asked, [condition_of(one) for one in given])
    except Refused as refused:
        raise _error(argument, refused) from None


def not_ready_message(found: NotReady) -> str:
    place = f"{found.path} of {found.event_type}"
    if found.state is None:
        return f"{place} is not segmentable: call {marking_call(found)}"
    return f"{place} is being built, {found.progress:.0%} so far: ask again when it is READY"


def marking_call(found: NotReady) -> str:
    return f'markSegmentable(eventType: "{found.event_type}", path: "{found.path}")'


def personal_message(found: NeedsPersonalData) -> str:
    return f"{found.path} is personal data: it needs a key with the scope pii:read"


def _error(argument: str, refused: Refused) -> GraphQLError:
    match refused.reason:
        case NotReady() as found:
            return refuse_argument(f"{argument}: {not_ready_message(found)}")
        case NeedsPersonalData() as found:
            message = f"{argument}: {personal_message(found)}"
            return GraphQLError(message, extensions={"code": "FORBIDDEN"})
        case problems:
            where = problems[0].path.replace("/", ".")
            return refuse_argument(f"{where}: {problems[0].message}")
