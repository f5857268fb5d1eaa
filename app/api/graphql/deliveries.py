"""Dedupe history: for a key its first delivery and each later one, and a tenant's later ones.

Names where deliveries differ, never what they said. A key answers for ever, its event's retention
and erasure notwithstanding: the ledger keeps it.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from app import ids
from app.access.keys import Scope
from app.api.graphql.connection import (
    DEFAULT_FIRST,
    After,
    Connection,
    First,
    checked_first,
    page,
    refuse_argument,
)
from app.api.graphql.context import Info
from app.api.graphql.event_filter import named
from app.api.graphql.permissions import needs
from app.api.graphql.positions import TimeWindow, cursor_of, position_of, window_of
from app.db.scan import SCANNED_ROWS, Position
from app.dedupe import queries as ledger
from app.dedupe import reading as deliveries
from app.dedupe.queries import Original
from app.dedupe.reading import Asked, StoredDelivery
from app.ingest.reading import Selection, StoredEvent
from app.stats.queries import OutcomeKind

if TYPE_CHECKING:
    from app.api.graphql.events import Event

KeySource = Annotated[str, strawberry.argument(name="source", description="The key's source.")]
"""Not a parameter named `source`: Strawberry calls what a field belongs to so."""
ExternalEventId = Annotated[str, strawberry.argument(description="The sender's key.")]
LazyEvent = Annotated["Event", strawberry.lazy("app.api.graphql.events")]


@strawberry.enum(description="What became of a delivery that was valid.")
class DeliveryOutcome(Enum):
    ACCEPTED = strawberry.enum_value(
        OutcomeKind.ACCEPTED.value, description="The first one of its key: it made the event."
    )
    DUPLICATE = strawberry.enum_value(
        OutcomeKind.DUPLICATE.value, description="The same fact again; nothing was written."
    )
    CONFLICT = strawberry.enum_value(
        OutcomeKind.CONFLICT.value,
        description="Another fact under a key that was taken, or one whose event was erased.",
    )


@strawberry.enum(description="What is left of a key's event.")
class KeyState(Enum):
    STORED = strawberry.enum_value("stored", description="The event is there.")
    ERASED = strawberry.enum_value("erased", description="The event was erased.")
    PAST_RETENTION = strawberry.enum_value(
        "past_retention", description="The event was dropped with its month."
    )


@strawberry.type(description="The API key that delivered.")
class DeliveringKey:
    id: strawberry.ID = strawberry.field(description="Its public id.")
    name: str = strawberry.field(description="What people call it.")


@strawberry.type(description="One delivery of an event.")
class Delivery:
    event_id: strawberry.ID = strawberry.field(
        description="The event that the key stands for, whoever delivered it."
    )
    received_at: datetime = strawberry.field(description="When it was received.")
    outcome: DeliveryOutcome = strawberry.field(description="What became of it.")
    differing_paths: list[str] = strawberry.field(
        description="JSON Pointers to where it differs from the first delivery. Empty: it is the"
        " same; of a CONFLICT: the event had been erased. "
        '[""]: it differs, and the first one is no longer there to say where.'
    )
    source: str | None = strawberry.field(
        description="The source; null when the event is gone and nothing else says it."
    )
    api_key: DeliveringKey | None = strawberry.field(
        description="Who delivered; null when the event is gone and nothing else says it."
    )
    key: strawberry.Private[bytes]
    position: strawberry.Private[Position]

    @strawberry.field(description="The event; null when it is gone.")
    async def event(self, info: Info) -> LazyEvent | None:
        return await _event(info, self.key)


@strawberry.type(description="Every delivery of one key.")
class DeliveryHistory:
    event_id: strawberry.ID = strawberry.field(description="What the key stands for.")
    state: KeyState = strawberry.field(description="What is left of its event.")
    original: Delivery = strawberry.field(description="The first delivery: it was accepted.")

    @strawberry.field(description="The later deliveries, oldest first.")
    async def later(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None
    ) -> Connection[Delivery]:
        behind = position_of(after) or Position(self.original.received_at, bytes(ids.ID_BYTES))
        asked = Asked(self.original.key, behind, checked_first(first) + 1)
        found = await info.context.loaders.history.load(asked)
        return page([_later(one) for one in found], first, _cursor, after=after)

    @strawberry.field(description="The event; null when it is gone.")
    async def event(self, info: Info) -> LazyEvent | None:
        return await _event(info, self.original.key)


@strawberry.input(description="Which later deliveries; what is left out does not matter.")
class DeliveryFilter:
    source: str | None = strawberry.field(default=None, description="Name of a source.")
    outcome: DeliveryOutcome | None = strawberry.field(
        default=None, description="DUPLICATE or CONFLICT; what was accepted is in `events`."
    )
    received: TimeWindow | None = strawberry.field(
        default=None, description="When they were received."
    )


_READERS = [needs(Scope.EVENTS_READ)]


@strawberry.type
class DeliveriesQuery:
    @strawberry.field(
        description="Every delivery of an event, by its id.", permission_classes=_READERS
    )
    async def delivery_history(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="`evt_…`")],
    ) -> DeliveryHistory | None:
        event_id = ids.decode(ids.EVENT_PREFIX, id)
        return await _history(info, event_id) if event_id else None

    @strawberry.field(
        description="Every delivery of a key, as its sender knows it.", permission_classes=_READERS
    )
    async def delivery_history_by_key(
        self,
        info: Info,
        sender: KeySource,
        external_event_id: ExternalEventId,
    ) -> DeliveryHistory | None:
        hash_key = info.context.principal.tenant.hash_key
        return await _history(info, ids.event_key(hash_key, sender, external_event_id))

    @strawberry.field(
        description="Deliveries of keys that were taken, newest first. A page looks at"
        f" {SCANNED_ROWS:,} deliveries: while `hasNextPage` is true there is more behind"
        " `endCursor`, even if the page is short.",
        permission_classes=_READERS,
    )
    async def deliveries(
        self,
        info: Info,
        filter: Annotated[
            DeliveryFilter | None, strawberry.argument(description="Which ones.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> Connection[Delivery]:
        asked = filter or DeliveryFilter()
        if asked.outcome is DeliveryOutcome.ACCEPTED:
            raise refuse_argument("filter.outcome: what was accepted is in events")
        behind, count = position_of(after), checked_first(first)
        received = window_of(asked.received, "filter.received")
        names = await named(info, Selection(), source=asked.source)
        if names is None:
            return page([], count, _cursor, after=after)
        async with info.context.pool.acquire() as connection:
            found = await deliveries.find_delivery_page(
                connection,
                info.context.tenant_id,
                first=count,
                after=behind,
                received=received,
                source_id=names.source_id,
                outcome=asked.outcome.value if asked.outcome else None,
            )
        resume = cursor_of(found.resume) if found.resume else None
        nodes = [_later(one) for one in found.deliveries]
        return page(nodes, count, _cursor, after=after, resume=resume)


def history_of(event: StoredEvent) -> DeliveryHistory:
    """The history of an event that is at hand; later deliveries are read when asked for."""
    return DeliveryHistory(
        event_id=strawberry.ID(ids.encode(ids.EVENT_PREFIX, event.event_id)),
        state=KeyState.STORED,
        original=_original(event.event_id, event.received_at, event),
    )


async def _history(info: Info, event_id: bytes) -> DeliveryHistory | None:
    async with info.context.pool.acquire() as connection:
        claimed = await ledger.read_keys(connection, info.context.tenant_id, [event_id])
    if event_id not in claimed:
        return None
    event = await info.context.loaders.event.load(event_id)
    return history_of(event) if event else _history_without_event(event_id, claimed[event_id])


def _history_without_event(event_id: bytes, claimed: Original) -> DeliveryHistory:
    erased = claimed.state == ledger.ERASED
    return DeliveryHistory(
        event_id=strawberry.ID(ids.encode(ids.EVENT_PREFIX, event_id)),
        state=KeyState.ERASED if erased else KeyState.PAST_RETENTION,
        original=_original(event_id, claimed.received_at, None),
    )


def _original(event_id: bytes, received_at: datetime, event: StoredEvent | None) -> Delivery:
    return Delivery(
        event_id=strawberry.ID(ids.encode(ids.EVENT_PREFIX, event_id)),
        received_at=received_at,
        outcome=DeliveryOutcome.ACCEPTED,
        differing_paths=[],
        source=event.source if event else None,
        api_key=_key(event.key_id, event.key_name) if event else None,
        key=event_id,
        position=Position(received_at, event_id),
    )


def _later(stored: StoredDelivery) -> Delivery:
    return Delivery(
        event_id=strawberry.ID(ids.encode(ids.EVENT_PREFIX, stored.event_id)),
        received_at=stored.received_at,
        outcome=DeliveryOutcome(stored.outcome),
        differing_paths=list(stored.differing),
        source=stored.source,
        api_key=_key(stored.key_id, stored.key_name),
        key=stored.event_id,
        position=Position(stored.received_at, stored.delivery_id),
    )


def _key(public_id: str | None, name: str | None) -> DeliveringKey | None:
    if public_id is None or name is None:
        return None
    return DeliveringKey(id=strawberry.ID(public_id), name=name)


def _cursor(delivery: Delivery) -> str:
    return cursor_of(delivery.position)


async def _event(info: Info, event_id: bytes) -> Event | None:
    from app.api.graphql.events import event_of

    stored = await info.context.loaders.event.load(event_id)
    return event_of(stored) if stored else None
