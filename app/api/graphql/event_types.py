"""Event types: listed, created, described, deprecated, retired, restored."""

from __future__ import annotations

from typing import Annotated

import strawberry

from app.access.keys import Scope
from app.api.graphql.connection import (
    DEFAULT_FIRST,
    After,
    Connection,
    First,
    checked_first,
    decode_cursor,
    encode_cursor,
    page,
    refuse_argument,
)
from app.api.graphql.context import Info
from app.api.graphql.event_type_inputs import (
    ChangeEventTypeResult,
    CreateEventTypeInput,
    CreateEventTypeResult,
    DeprecateEventTypeInput,
    DescribeEventTypeInput,
    EventTypeChanged,
    EventTypeCreated,
    RestoreEventTypeInput,
    RetireEventTypeInput,
    SetCompatibilityInput,
)
from app.api.graphql.permissions import needs
from app.api.graphql.refusals import Invalid, NotFound, NotPermitted, StaleRevision, invalid
from app.api.graphql.registry_outcomes import (
    Expected,
    actor_of,
    invalid_findings,
    refused,
    shown_findings,
)
from app.api.graphql.registry_types import EventType, EventTypeStatus
from app.registry.governance import event_types, outcomes, queries
from app.registry.governance.queries import EventTypeRow
from app.registry.spec import is_event_type_name, is_storable
from app.registry.type_settings import TypeSettings

_READERS = [needs(Scope.SCHEMA_READ)]
_WRITERS = [needs(Scope.SCHEMA_WRITE)]


@strawberry.type
class EventTypesQuery:
    @strawberry.field(description="The tenant's event types by name.", permission_classes=_READERS)
    async def event_types(
        self,
        info: Info,
        search: Annotated[
            str | None,
            strawberry.argument(description="Only those with this text in a name or description."),
        ] = None,
        statuses: Annotated[
            list[EventTypeStatus] | None, strawberry.argument(description="Only of these.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> Connection[EventType]:
        if search is not None and not is_storable(search):
            raise refuse_argument("search holds NUL or half of a surrogate pair")
        async with info.context.pool.acquire() as connection:
            rows = await queries.list_event_types(
                connection,
                info.context.tenant_id,
                after=_behind(after),
                search=search,
                statuses=[status.name for status in statuses] if statuses is not None else None,
                limit=checked_first(first) + 1,
            )
        nodes = [EventType.of(row) for row in rows]
        return page(nodes, first, lambda entry: encode_cursor(entry.name), after=after)

    @strawberry.field(description="One event type by its name.", permission_classes=_READERS)
    async def event_type(
        self, info: Info, name: Annotated[str, strawberry.argument(description="Its name.")]
    ) -> EventType | None:
        if not is_event_type_name(name):
            return None
        async with info.context.pool.acquire() as connection:
            row = await queries.read_event_type(connection, info.context.tenant_id, name)
        return EventType.of(row) if row else None


@strawberry.type
class EventTypesMutation:
    @strawberry.mutation(
        description="Register an event type, still without a version.", permission_classes=_WRITERS
    )
    async def create_event_type(
        self,
        info: Info,
        input: Annotated[CreateEventTypeInput, strawberry.argument(description="The new one.")],
    ) -> CreateEventTypeResult:
        settings = TypeSettings(
            input.owner, input.display_name, input.description, input.compatibility.name
        )
        created = await event_types.create_event_type(
            info.context.tenant_id, actor_of(info), input.name, settings
        )
        if isinstance(created, outcomes.Invalid):
            return invalid_findings(created)
        return EventTypeCreated(
            event_type=EventType.of(created.event_type), warnings=shown_findings(created.warnings)
        )

    @strawberry.mutation(
        description="Change an event type's names, owner or description.",
        permission_classes=_WRITERS,
    )
    async def describe_event_type(
        self,
        info: Info,
        input: Annotated[DescribeEventTypeInput, strawberry.argument(description="What to say.")],
    ) -> ChangeEventTypeResult:
        given = {
            "display_name": input.display_name,
            "owner": input.owner,
            "description": input.description,
        }
        changes = {name: text for name, text in given.items() if text is not strawberry.UNSET}
        return _shown(
            await event_types.describe_event_type(
                info.context.tenant_id,
                actor_of(info),
                input.name,
                input.expected_revision,
                changes,
            )
        )

    @strawberry.mutation(
        description="Change what new versions are held against. To promise less takes a reason and"
        " the scope schema:approve.",
        permission_classes=_WRITERS,
    )
    async def set_compatibility(
        self,
        info: Info,
        input: Annotated[SetCompatibilityInput, strawberry.argument(description="What to set.")],
    ) -> ChangeEventTypeResult:
        return _shown(
            await event_types.set_compatibility(
                info.context.tenant_id,
                actor_of(info),
                input.name,
                input.expected_revision,
                input.compatibility.name,
                input.reason,
            )
        )

    @strawberry.mutation(
        description="Ask senders to stop: accepted answers carry a warning with the date and the"
        " note. A second time it changes them.",
        permission_classes=_WRITERS,
    )
    async def deprecate_event_type(
        self,
        info: Info,
        input: Annotated[
            DeprecateEventTypeInput, strawberry.argument(description="By when, and what instead.")
        ],
    ) -> ChangeEventTypeResult:
        if input.sunset_at.tzinfo is None:
            return invalid("/sunsetAt", "offset", "needs a UTC offset")
        return _shown(
            await event_types.deprecate_event_type(
                info.context.tenant_id,
                actor_of(info),
                input.name,
                input.expected_revision,
                sunset_at=input.sunset_at,
                note=input.note,
            )
        )

    @strawberry.mutation(
        description="Refuse its events from now on. Breaks every sender at once: it takes the scope"
        " schema:approve too.",
        permission_classes=_WRITERS,
    )
    async def retire_event_type(
        self,
        info: Info,
        input: Annotated[RetireEventTypeInput, strawberry.argument(description="Which, and why.")],
    ) -> ChangeEventTypeResult:
        return _shown(
            await event_types.retire_event_type(
                info.context.tenant_id,
                actor_of(info),
                input.name,
                input.expected_revision,
                note=input.note,
            )
        )

    @strawberry.mutation(
        description="Make a deprecated or retired event type active again.",
        permission_classes=_WRITERS,
    )
    async def restore_event_type(
        self,
        info: Info,
        input: Annotated[RestoreEventTypeInput, strawberry.argument(description="Which, and why.")],
    ) -> ChangeEventTypeResult:
        return _shown(
            await event_types.restore_event_type(
                info.context.tenant_id,
                actor_of(info),
                input.name,
                input.expected_revision,
                reason=input.reason,
            )
        )


def _shown(
    outcome: EventTypeRow | Expected,
) -> EventTypeChanged | Invalid | NotFound | NotPermitted | StaleRevision:
    if isinstance(outcome, EventTypeRow):
        return EventTypeChanged(event_type=EventType.of(outcome))
    return refused(outcome)


def _behind(after: str | None) -> str:
    if after is None:
        return ""
    (name,) = decode_cursor(after, tuple[str])
    if not is_event_type_name(name):
        raise refuse_argument("after is not a cursor of this list")
    return name
