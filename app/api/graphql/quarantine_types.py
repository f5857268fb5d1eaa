"""Refused items as the API shows them.

Never shows what was sent to a key without pii:read: only how it was built.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from app import ids
from app.access.keys import Scope
from app.api.graphql.connection import refuse_argument
from app.api.graphql.context import Info
from app.api.graphql.positions import TimeWindow, window_of
from app.api.graphql.scalars import Number
from app.quarantine.filter import Filter, ItemState
from app.quarantine.reading import MAX_GROUPED, Entry, Group
from app.registry.masking import HIDDEN, masked_payload

if TYPE_CHECKING:
    from app.api.graphql.events import Event

LazyEvent = Annotated["Event", strawberry.lazy("app.api.graphql.events")]


@strawberry.enum(description="What became of an item since it was refused.")
class QuarantineState(Enum):
    OPEN = strawberry.enum_value(ItemState.OPEN.name, description="Nothing.")
    ACCEPTED = strawberry.enum_value(
        ItemState.ACCEPTED.name, description="It was replayed and made an event."
    )
    DUPLICATE = strawberry.enum_value(
        ItemState.DUPLICATE.name, description="It was replayed; the same fact was there already."
    )
    CONFLICT = strawberry.enum_value(
        ItemState.CONFLICT.name,
        description="It was replayed; its key belongs to another fact, or to an erased one.",
    )
    DISCARDED = strawberry.enum_value(
        ItemState.DISCARDED.name, description="It was given up; what was sent is gone."
    )


@strawberry.type(description="One reason against an item.")
class RejectionReason:
    path: str = strawberry.field(description="JSON Pointer into the item as sent.")
    code: str = strawberry.field(description="Stable name of the reason.")
    message: str = strawberry.field(description="One sentence for people; never a value.")


@strawberry.type(description="An item that was refused.")
class QuarantinedItem:
    id: strawberry.ID = strawberry.field(description="`qrn_…`")
    received_at: datetime = strawberry.field(description="When it was received and refused.")
    expires_at: datetime = strawberry.field(description="When it will be deleted.")
    source: str | None = strawberry.field(description="As sent, where it could be read.")
    external_event_id: str | None = strawberry.field(description="As sent, where it could be read.")
    event_type: str | None = strawberry.field(description="As sent, where it could be read.")
    error_code: str = strawberry.field(description="What its sender was answered.")
    reasons: list[RejectionReason] = strawberry.field(description="Every reason, 50 at most.")
    size_bytes: int = strawberry.field(description="Its size as sent.")
    state: QuarantineState = strawberry.field(description="What became of it since.")
    resolved_at: datetime | None = strawberry.field(
        description="When it was replayed or discarded; null while it is open."
    )
    event_id: strawberry.ID | None = strawberry.field(
        description="Of the event that has its key, once it was replayed."
    )
    entry: strawberry.Private[Entry]

    @strawberry.field(
        description="What was sent, as text. Without the scope pii:read the same JSON with"
        f' "{HIDDEN}" in the place of each value but null, and null for what is no JSON. Null when'
        " it was over the size limit or discarded."
    )
    def payload(self, info: Info) -> str | None:
        sent = self.entry.payload
        if sent is None or not info.context.principal.may(Scope.PII_READ):
            return None if sent is None else masked_payload(sent)
        return sent.decode(errors="replace")

    @strawberry.field(description="The event that has its key, once it was replayed.")
    async def event(self, info: Info) -> LazyEvent | None:
        from app.api.graphql.events import event_of

        if self.entry.event_id is None:
            return None
        stored = await info.context.loaders.event.load(self.entry.event_id)
        return event_of(stored) if stored else None


@strawberry.type(description="Open items that were refused for the same first reason.")
class QuarantineGroup:
    error_code: str = strawberry.field(description="What the senders were answered.")
    reason: str | None = strawberry.field(description="Code of the first reason.")
    path: str | None = strawberry.field(description="JSON Pointer of the first reason.")
    source: str | None = strawberry.field(description="As sent.")
    event_type: str | None = strawberry.field(description="As sent.")
    count: Number = strawberry.field(description="How many.")
    first_received_at: datetime = strawberry.field(description="The oldest of them.")
    last_received_at: datetime = strawberry.field(description="The newest of them.")


@strawberry.type(description="What open items have in common.")
class QuarantineGroups:
    groups: list[QuarantineGroup] = strawberry.field(description="The greatest first.")
    items: Number = strawberry.field(
        description="How many open items were looked at: all of the filter's time, whatever else"
        " it says."
    )
    is_complete: bool = strawberry.field(
        description=f"False when there may be more: the newest {MAX_GROUPED:,} were looked at."
    )


@strawberry.input(description="Which items; what is left out does not matter.")
class QuarantineFilter:
    error_code: str | None = strawberry.field(
        default=None, description="What the sender was answered: validation_failed."
    )
    reason: str | None = strawberry.field(
        default=None, description="Code of the first reason: property_missing."
    )
    path: str | None = strawberry.field(
        default=None, description="JSON Pointer of the first reason: /properties/amount."
    )
    source: str | None = strawberry.field(default=None, description="As sent.")
    event_type: str | None = strawberry.field(default=None, description="As sent.")
    received: TimeWindow | None = strawberry.field(
        default=None, description="When they were received."
    )


def which_of(asked: QuarantineFilter | None) -> Filter:
    if asked is None:
        return Filter()
    for text in (asked.error_code, asked.reason, asked.path, asked.source, asked.event_type):
        if text is not None and "\0" in text:
            raise refuse_argument("filter: a text contains the NUL character")
    return Filter(
        error_code=asked.error_code,
        reason=asked.reason,
        path=asked.path,
        source=asked.source,
        event_type=asked.event_type,
        received=window_of(asked.received, "filter.received"),
    )


def item_of(entry: Entry) -> QuarantinedItem:
    event_id = entry.event_id
    return QuarantinedItem(
        id=strawberry.ID(ids.encode(ids.QUARANTINE_PREFIX, entry.quarantine_id)),
        received_at=entry.received_at,
        expires_at=entry.expires_at,
        source=entry.source,
        external_event_id=entry.external_event_id,
        event_type=entry.event_type,
        error_code=entry.error_code,
        reasons=[
            RejectionReason(path=r.path, code=r.code, message=r.message) for r in entry.reasons
        ],
        size_bytes=entry.size_bytes,
        state=QuarantineState[entry.state.name],
        resolved_at=entry.resolved_at,
        event_id=strawberry.ID(ids.encode(ids.EVENT_PREFIX, event_id)) if event_id else None,
        entry=entry,
    )


def group_of(group: Group) -> QuarantineGroup:
    return QuarantineGroup(
        error_code=group.error_code,
        reason=group.reason,
        path=group.path,
        source=group.source,
        event_type=group.event_type,
        count=Number(group.count),
        first_received_at=group.first_received_at,
        last_received_at=group.last_received_at,
    )
