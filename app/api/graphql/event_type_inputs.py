"""What is asked of event types, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from app.api.graphql.refusals import Invalid, NotFound, NotPermitted, StaleRevision
from app.api.graphql.registry_outcomes import Compatibility, Finding
from app.api.graphql.registry_types import EventType
from app.registry import type_settings

_REVISION = "The revision that the decision was made on; another one is refused."


@strawberry.input(description="A new event type.")
class CreateEventTypeInput:
    name: str = strawberry.field(
        description="Lower-case words joined by _ or a dot: purchase_completed."
    )
    display_name: str | None = strawberry.field(default=None, description="How people call it.")
    owner: str | None = strawberry.field(default=None, description="Who answers for it.")
    description: str | None = strawberry.field(
        default=None, description="What such an event says happened."
    )
    compatibility: Compatibility = strawberry.field(
        default=Compatibility(type_settings.DEFAULT_COMPATIBILITY),
        description="What its versions are held against.",
    )


@strawberry.input(description="What is left out stays; null clears.")
class DescribeEventTypeInput:
    name: str = strawberry.field(description="The event type.")
    expected_revision: int = strawberry.field(description=_REVISION)
    display_name: str | None = strawberry.field(
        default=strawberry.UNSET, description="How people call it."
    )
    owner: str | None = strawberry.field(
        default=strawberry.UNSET, description="Who answers for it."
    )
    description: str | None = strawberry.field(
        default=strawberry.UNSET, description="What such an event says happened."
    )


@strawberry.input(description="Another compatibility for the versions to come.")
class SetCompatibilityInput:
    name: str = strawberry.field(description="The event type.")
    expected_revision: int = strawberry.field(description=_REVISION)
    compatibility: Compatibility = strawberry.field(description="What to hold versions against.")
    reason: str | None = strawberry.field(
        default=None, description="Needed, like schema:approve, to promise less than before."
    )


@strawberry.input(description="Senders are asked to stop; their events are still taken.")
class DeprecateEventTypeInput:
    name: str = strawberry.field(description="The event type.")
    expected_revision: int = strawberry.field(description=_REVISION)
    sunset_at: datetime = strawberry.field(
        description="By when to stop, with its offset. Nothing retires by itself."
    )
    note: str = strawberry.field(description="What to do instead. Senders read it.")


@strawberry.input(description="Its events are refused from now on.")
class RetireEventTypeInput:
    name: str = strawberry.field(description="The event type.")
    expected_revision: int = strawberry.field(description=_REVISION)
    note: str = strawberry.field(description="Why, and what to do instead. Senders read it.")


@strawberry.input(description="Its events are taken again, without a warning.")
class RestoreEventTypeInput:
    name: str = strawberry.field(description="The event type.")
    expected_revision: int = strawberry.field(description=_REVISION)
    reason: str = strawberry.field(description="Why, for the audit trail.")


@strawberry.type(description="Its events are refused until its first version is published.")
class EventTypeCreated:
    event_type: EventType = strawberry.field(description="The event type.")
    warnings: list[Finding] = strawberry.field(
        description="What to think about, such as a name that is easily confused with another."
    )


@strawberry.type(description="Every worker follows it within a second.")
class EventTypeChanged:
    event_type: EventType = strawberry.field(description="The event type as it is now.")


CreateEventTypeResult = Annotated[
    EventTypeCreated | Invalid,
    strawberry.union("CreateEventTypeResult", description="The event type, or why there is none."),
]
ChangeEventTypeResult = Annotated[
    EventTypeChanged | Invalid | NotFound | NotPermitted | StaleRevision,
    strawberry.union(
        "ChangeEventTypeResult", description="The event type as it is now, or why nothing was done."
    ),
]
