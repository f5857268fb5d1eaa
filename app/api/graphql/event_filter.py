"""Which events to list, and in which order. Says no where an order has no index to be read in."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec
import strawberry

from app import ids
from app.api.graphql.conditions import ConditionInput, predicates_of
from app.api.graphql.connection import refuse_argument
from app.api.graphql.context import Info
from app.api.graphql.loaders import Wording
from app.api.graphql.positions import TimeWindow, window_of
from app.identity.identifiers import key_flaw
from app.ingest.reading import Order, Selection
from app.segments.conditions import MAX_CONDITIONS


@strawberry.enum(description="What newest first goes by.")
class EventOrder(Enum):
    RECEIVED = strawberry.enum_value("received", description="receivedAt; of all events.")
    OCCURRED = strawberry.enum_value(
        "occurred", description="occurredAt; of one event type's or one profile's events."
    )


@strawberry.input(description="Which events; what is left out does not matter.")
class EventFilter:
    type: str | None = strawberry.field(default=None, description="Name of an event type.")
    schema_version: int | None = strawberry.field(
        default=None, description="The version that judged it; needs `type`."
    )
    source: str | None = strawberry.field(default=None, description="Name of a source.")
    profile: strawberry.ID | None = strawberry.field(
        default=None,
        description="A profile's id, or that of one merged into it: everything that person did,"
        " in the order of occurredAt.",
    )
    received: TimeWindow | None = strawberry.field(
        default=None, description="When it was received; not in the order of occurredAt."
    )
    occurred: TimeWindow | None = strawberry.field(default=None, description="When it happened.")
    has_warnings: bool | None = strawberry.field(
        default=None, description="true: accepted with warnings; false: without."
    )
    properties: list[ConditionInput] | None = strawberry.field(
        default=None,
        description=f"Conditions on segmentable properties, all of which hold: up to"
        f" {MAX_CONDITIONS}; need `type`. Those on personal data take the scope pii:read.",
    )


class Wanted(NamedTuple):
    """Whose events, and which of them."""

    selection: Selection
    person: bytes | None = None
    """A root profile; None: everybody's."""


async def wanted_by(
    info: Info, asked: EventFilter | None, order_by: EventOrder | None
) -> Wanted | None:
    """What to look for; None when a name or an id in the filter is not this tenant's.

    raises  GraphQLError BAD_USER_INPUT for a filter that no index serves
    """
    asked = asked or EventFilter()
    order = Order(order_by.value) if order_by else _usual_order(asked)
    if problem := _problem(asked, order):
        raise refuse_argument(problem)
    selection = Selection(
        order=order,
        received=window_of(asked.received, "filter.received"),
        occurred=window_of(asked.occurred, "filter.occurred"),
        has_warnings=asked.has_warnings,
    )
    person = await _person(info, asked.profile) if asked.profile is not None else None
    if asked.profile is not None and person is None:
        return None
    narrowed = await named(info, selection, asked.type, asked.schema_version, asked.source)
    if narrowed is None:
        return None
    if asked.properties and asked.type and narrowed.event_type_id:
        tests = await predicates_of(
            info, "filter.properties", asked.type, narrowed.event_type_id, asked.properties
        )
        narrowed = msgspec.structs.replace(narrowed, properties=tests)
    return Wanted(narrowed, person)


async def named(
    info: Info,
    selection: Selection,
    event_type: str | None = None,
    version: int | None = None,
    source: str | None = None,
) -> Selection | None:
    """A selection narrowed to what these names stand for; None when one stands for nothing."""
    names = (event_type, source)
    if not any(names):
        return None if "" in names else selection
    if any(name is not None and key_flaw(name) for name in names):
        return None
    found = await info.context.loaders.names.load(Wording(event_type, version, source))
    wanted_and_found = (
        (event_type, found.event_type_id),
        (version, found.version_id),
        (source, found.source_id),
    )
    if any(wanted is not None and there is None for wanted, there in wanted_and_found):
        return None
    return msgspec.structs.replace(
        selection,
        source_id=found.source_id,
        event_type_id=found.event_type_id,
        version_id=found.version_id,
    )


def _usual_order(asked: EventFilter) -> Order:
    return Order.OCCURRED if asked.properties or asked.profile is not None else Order.RECEIVED


def _problem(asked: EventFilter, order: Order) -> str | None:
    if asked.schema_version is not None and asked.type is None:
        return "filter.schemaVersion needs filter.type: versions are an event type's"
    if asked.properties and asked.type is None:
        return "filter.properties needs filter.type: properties are an event type's"
    if order is Order.RECEIVED:
        if asked.profile is not None:
            return "a profile's events are in the order of occurredAt: leave orderBy out"
        return None
    if asked.type is None and asked.profile is None:
        return "orderBy OCCURRED needs filter.type or filter.profile"
    if asked.received is not None:
        return "filter.received goes with orderBy RECEIVED; use filter.occurred"
    return None


async def _person(info: Info, profile: str) -> bytes | None:
    profile_id = ids.decode(ids.PROFILE_PREFIX, profile)
    root = await info.context.loaders.profile.load(profile_id) if profile_id else None
    return root.profile_id if root else None
