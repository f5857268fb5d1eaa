"""Segmentable properties: marked, unmarked, and what their storage holds."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
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
)
from app.api.graphql.context import Info
from app.api.graphql.permissions import needs
from app.api.graphql.refusals import Invalid, NotFound, NotPermitted
from app.api.graphql.registry_outcomes import actor_of, refused
from app.api.graphql.scalars import Number
from app.registry.governance import marking
from app.registry.spec import is_event_type_name
from app.segments import queries
from app.segments.queries import StoredMark


@strawberry.enum(description="How values are kept and compared.")
class SegmentValueType(Enum):
    TEXT = strawberry.enum_value(
        "TEXT", description="By character codes; long ones by beginning and hash."
    )
    NUMBER = strawberry.enum_value("NUMBER", description="Exactly, whatever the digits.")
    BOOLEAN = strawberry.enum_value("BOOLEAN", description="True or false.")
    TIMESTAMP = strawberry.enum_value(
        "TIMESTAMP", description="As instants; a date is its first one in UTC."
    )


@strawberry.enum(description="Where the storage of a marked property stands.")
class SegmentState(Enum):
    BUILDING = strawberry.enum_value(
        "BUILDING", description="New events feed it; those that were there are being read."
    )
    READY = strawberry.enum_value("READY", description="Every event is in it: ask about it.")
    DROPPING = strawberry.enum_value(
        "DROPPING", description="It was unmarked; the storage is about to go."
    )


@strawberry.type(description="One of the most frequent values.")
class TopValue:
    value: str = strawberry.field(description="The value as a text.")
    share: float = strawberry.field(description="Its share of all values, 0 to 1; approximate.")


@strawberry.type(description="A property whose values are kept for segments.")
class SegmentProperty:
    event_type: str = strawberry.field(description="Name of the event type.")
    path: str = strawberry.field(description="JSON Pointer into the event's properties.")
    value_type: SegmentValueType = strawberry.field(description="How its values are kept.")
    is_array: bool = strawberry.field(description="An event can have several values.")
    pii: str = strawberry.field(description="Its class of personal data: none, indirect, direct.")
    state: SegmentState = strawberry.field(description="Where its storage stands.")
    events_scanned: Number = strawberry.field(description="Events that were looked at so far.")
    events_total: Number | None = strawberry.field(
        description="Events to look at, about; null before it has begun."
    )
    values_backfilled: Number = strawberry.field(
        description="Values of events that were there before; new events' come on top."
    )
    coverage: float | None = strawberry.field(
        description="Share of the type's latest 10,000 events that carry the property, 0 to 1; null"
        " before it was measured, or without events."
    )
    measured_at: datetime | None = strawberry.field(description="When coverage was measured.")
    created_by: str = strawberry.field(description="Public id of the key that marked it; or cli.")
    created_at: datetime = strawberry.field(description="When it was marked.")
    ready_at: datetime | None = strawberry.field(description="When it became READY.")
    progress: float = strawberry.field(description="How much of the work is done, 0 to 1.")
    mark_id: strawberry.Private[int]

    @strawberry.field(description="How many different values there are; approximate.")
    async def distinct_values(self, info: Info) -> Number | None:
        found = await info.context.loaders.segment_statistics.load(self.mark_id)
        return Number(found.distinct_values) if found else None

    @strawberry.field(
        description="The most frequent values. Null before they were counted, and for personal data"
        " without the scope pii:read."
    )
    async def top_values(self, info: Info) -> list[TopValue] | None:
        if self.pii != "none" and not info.context.principal.may(Scope.PII_READ):
            return None
        found = await info.context.loaders.segment_statistics.load(self.mark_id)
        if found is None:
            return None
        return [TopValue(value=value, share=share) for value, share in found.top_values]


@strawberry.type(description="The property is marked; ask for it again to see it become READY.")
class PropertyMarked:
    property: SegmentProperty = strawberry.field(description="The property with its state.")


@strawberry.type(description="No event feeds it any more; its values are dropped within a minute.")
class PropertyUnmarked:
    property: SegmentProperty = strawberry.field(description="The property as it was.")


MarkSegmentableResult = Annotated[
    PropertyMarked | NotFound | Invalid | NotPermitted, strawberry.union("MarkSegmentableResult")
]
UnmarkSegmentableResult = Annotated[
    PropertyUnmarked | NotFound | Invalid, strawberry.union("UnmarkSegmentableResult")
]

EventTypeName = Annotated[str, strawberry.argument(description="Name of the event type.")]
Path = Annotated[
    str, strawberry.argument(description='JSON Pointer of a property at the root: "/store_id".')
]


@strawberry.type
class SegmentsQuery:
    @strawberry.field(
        description="Marked properties, the oldest mark first.",
        permission_classes=[needs(Scope.SCHEMA_READ)],
    )
    async def segment_properties(
        self,
        info: Info,
        event_type: Annotated[
            str | None, strawberry.argument(description="Only those of this event type.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> Connection[SegmentProperty]:
        behind = decode_cursor(after, tuple[int])[0] if after is not None else 0
        if event_type is not None and not is_event_type_name(event_type):
            return page([], checked_first(first), str, after=after)
        async with info.context.pool.acquire() as connection:
            found = await queries.list_marks(
                connection,
                info.context.tenant_id,
                event_type=event_type,
                after_id=behind,
                limit=checked_first(first) + 1,
            )
        nodes = [shown_mark(held) for held in found]
        return page(nodes, first, lambda node: encode_cursor(node.mark_id), after=after)


@strawberry.type
class SegmentsMutation:
    @strawberry.mutation(
        description="Keep a property's values for segments: of every event there is, and of new"
        " ones. Direct personal data takes the scope schema:approve. A property that is marked"
        " already is answered as it is.",
        permission_classes=[needs(Scope.SCHEMA_WRITE)],
    )
    async def mark_segmentable(
        self, info: Info, event_type: EventTypeName, path: Path
    ) -> MarkSegmentableResult:
        held = await marking.mark_property(info.context.tenant_id, actor_of(info), event_type, path)
        if isinstance(held, StoredMark):
            return PropertyMarked(property=shown_mark(held))
        return refused(held)  # type: ignore[return-value]

    @strawberry.mutation(
        description="Stop keeping a property's values and drop those that were kept. The events"
        " keep theirs: it can be marked again.",
        permission_classes=[needs(Scope.SCHEMA_WRITE)],
    )
    async def unmark_segmentable(
        self,
        info: Info,
        event_type: EventTypeName,
        path: Path,
        reason: Annotated[
            str | None, strawberry.argument(description="Why; for the audit trail.")
        ] = None,
    ) -> UnmarkSegmentableResult:
        held = await marking.unmark_property(
            info.context.tenant_id, actor_of(info), event_type, path, reason
        )
        if isinstance(held, StoredMark):
            return PropertyUnmarked(property=shown_mark(held))
        return refused(held)  # type: ignore[return-value]


def shown_mark(held: StoredMark) -> SegmentProperty:
    return SegmentProperty(
        event_type=held.event_type,
        path=held.path,
        value_type=SegmentValueType(held.mark.value_type),
        is_array=held.mark.is_array,
        pii=held.pii,
        state=SegmentState(held.state),
        events_scanned=Number(held.events_scanned),
        events_total=None if held.events_total is None else Number(held.events_total),
        values_backfilled=Number(held.values_written),
        coverage=held.coverage,
        measured_at=held.measured_at,
        created_by=held.created_by,
        created_at=held.created_at,
        ready_at=held.ready_at,
        progress=held.progress,
        mark_id=held.mark.mark_id,
    )
