"""Accepted events: one by its id or key, and lists that are newest first.

Never shows what is classed as personal, nor the identity as sent, to a key without pii:read.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import strawberry
from strawberry.scalars import JSON

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
from app.api.graphql.deliveries import DeliveryHistory, ExternalEventId, KeySource, history_of
from app.api.graphql.event_filter import EventFilter, EventOrder, Wanted, wanted_by
from app.api.graphql.loaders import PersonPage
from app.api.graphql.permissions import needs
from app.api.graphql.positions import cursor_of, position_of
from app.db.scan import SCANNED_ROWS, Position
from app.ingest import reading as events
from app.ingest.by_property import StorageGone
from app.ingest.reading import EventPage, Order, StoredEvent
from app.registry.masking import HIDDEN, masked_json, masked_text

if TYPE_CHECKING:
    from app.api.graphql.profiles import Profile

LazyProfile = Annotated["Profile", strawberry.lazy("app.api.graphql.profiles")]


@strawberry.type(
    description=f'Who it was, as sent. Without the scope pii:read every value is "{HIDDEN}".'
)
class EventIdentity:
    external_user_id: str | None = strawberry.field(description="The sender's id of the person.")
    email: str | None = strawberry.field(description="As sent, before normalisation.")
    phone: str | None = strawberry.field(description="As sent, before normalisation.")
    device_key: str | None = strawberry.field(description="As sent.")


@strawberry.type(description="Something about an event that was accepted all the same.")
class EventWarning:
    path: str = strawberry.field(description="JSON Pointer into the event as sent.")
    code: str = strawberry.field(description="Stable name of the reason.")
    message: str = strawberry.field(description="One sentence for people; never a value.")


@strawberry.type(description="An accepted event.")
class Event:
    id: strawberry.ID = strawberry.field(description="What the sender was answered: `evt_…`.")
    external_event_id: str = strawberry.field(description="The sender's key of the fact.")
    source: str = strawberry.field(description="The system that sent it first.")
    event_type: str = strawberry.field(description="Name of its event type.")
    schema_version: int = strawberry.field(description="The version that judged it.")
    occurred_at: datetime = strawberry.field(
        description="When it happened; when it was received if that was not sent."
    )
    occurred_at_sent: bool = strawberry.field(description="Whether occurredAt was sent.")
    received_at: datetime = strawberry.field(description="When it was received.")
    size_bytes: int = strawberry.field(description="Its size as sent.")
    warnings: list[EventWarning] = strawberry.field(description="What its sender was told.")
    stored: strawberry.Private[StoredEvent]

    @strawberry.field(
        description="Its properties, numbers with every digit that was sent. Without the scope"
        f' pii:read, values that its version classes as personal are "{HIDDEN}", and so are those'
        " of names that its version does not know."
    )
    async def properties(self, info: Info) -> JSON:
        raw = self.stored.properties.encode()
        if not info.context.principal.may(Scope.PII_READ):
            mask = await info.context.loaders.mask.load(self.stored.version_id)
            raw = masked_json(raw, mask)
        return JSON(msgspec.Raw(raw))

    @strawberry.field(description="Who it was, as sent.")
    def identity(self, info: Info) -> EventIdentity:
        sent, shown = self.stored.identity, info.context.principal.may(Scope.PII_READ)
        return EventIdentity(
            external_user_id=masked_text(sent.external_user_id, shown=shown),
            email=masked_text(sent.email, shown=shown),
            phone=masked_text(sent.phone, shown=shown),
            device_key=masked_text(sent.device_key, shown=shown),
        )

    @strawberry.field(
        description="Whose it is today; null while identities have not been resolved.",
        permission_classes=[needs(Scope.PROFILES_READ)],
    )
    async def profile(self, info: Info) -> LazyProfile | None:
        from app.api.graphql.profiles import profile_of

        if self.stored.profile_id is None:
            return None
        found = await info.context.loaders.profile.load(self.stored.profile_id)
        return profile_of(found) if found else None

    @strawberry.field(description="Its first delivery and each later one.")
    def deliveries(self) -> DeliveryHistory:
        return history_of(self.stored)


_READERS = [needs(Scope.EVENTS_READ)]


@strawberry.type
class EventsQuery:
    @strawberry.field(description="One event by its id.", permission_classes=_READERS)
    async def event(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="`evt_…`")],
    ) -> Event | None:
        event_id = ids.decode(ids.EVENT_PREFIX, id)
        found = await info.context.loaders.event.load(event_id) if event_id else None
        return event_of(found) if found else None

    @strawberry.field(
        description="One event by its key, as its sender knows it.", permission_classes=_READERS
    )
    async def event_by_key(
        self,
        info: Info,
        sender: KeySource,
        external_event_id: ExternalEventId,
    ) -> Event | None:
        hash_key = info.context.principal.tenant.hash_key
        event_id = ids.event_key(hash_key, sender, external_event_id)
        found = await info.context.loaders.event.load(event_id)
        return event_of(found) if found else None

    @strawberry.field(
        description="Events, newest first. A page looks at"
        f" {SCANNED_ROWS:,} events in that order: while `hasNextPage` is true there is more"
        " behind `endCursor`, even if the page is short.",
        permission_classes=_READERS,
    )
    async def events(
        self,
        info: Info,
        filter: Annotated[
            EventFilter | None, strawberry.argument(description="Which ones.")
        ] = None,
        order_by: Annotated[
            EventOrder | None,
            strawberry.argument(
                description="Null: OCCURRED for a profile's events and for those with `properties`,"
                " otherwise RECEIVED."
            ),
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> Connection[Event]:
        return await event_page(info, await wanted_by(info, filter, order_by), first, after)


async def event_page(
    info: Info, wanted: Wanted | None, first: int, after: str | None
) -> Connection[Event]:
    """One page of what is wanted; an empty one where that is nothing."""
    order = wanted.selection.order if wanted else Order.RECEIVED

    def cursor(event: Event) -> str:
        by_receipt = order is Order.RECEIVED
        at = event.received_at if by_receipt else event.occurred_at
        return cursor_of(Position(at, event.stored.event_id), order.value)

    count = checked_first(first)
    if wanted is None:
        return page([], count, cursor, after=after)
    behind = position_of(after, order.value)
    found = await _find(info, wanted, count, behind)
    resume = cursor_of(found.resume, order.value) if found.resume else None
    nodes = [event_of(stored) for stored in found.events]
    return page(nodes, count, cursor, after=after, resume=resume)


async def _find(info: Info, wanted: Wanted, first: int, after: Position | None) -> EventPage:
    try:
        return await _read(info, wanted, first, after)
    except StorageGone:
        raise refuse_argument("filter.properties: a property was unmarked in this moment") from None


async def _read(info: Info, wanted: Wanted, first: int, after: Position | None) -> EventPage:
    if wanted.person is not None:
        asked = PersonPage(wanted.person, wanted.selection, first, after)
        return await info.context.loaders.person_page.load(asked)
    async with info.context.pool.acquire() as connection:
        return await events.find_event_page(
            connection, info.context.tenant_id, wanted.selection, first=first, after=after
        )


def event_of(stored: StoredEvent) -> Event:
    return Event(
        id=strawberry.ID(ids.encode(ids.EVENT_PREFIX, stored.event_id)),
        external_event_id=stored.external_event_id,
        source=stored.source,
        event_type=stored.event_type,
        schema_version=stored.version,
        occurred_at=stored.occurred_at,
        occurred_at_sent=stored.occurred_at_sent,
        received_at=stored.received_at,
        size_bytes=stored.size_bytes,
        warnings=[
            EventWarning(path=warning.path, code=warning.code, message=warning.message)
            for warning in stored.warnings
        ],
        stored=stored,
    )
