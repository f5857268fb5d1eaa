"""Outcomes as they are committed. Shows of them what lists show, and hides what they hide."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import strawberry
from strawberry.types.nodes import SelectedField, Selection

from app import ids
from app.access.keys import Scope
from app.api.graphql.connection import refuse_argument
from app.api.graphql.context import Info
from app.api.graphql.deliveries import DeliveringKey
from app.api.graphql.permissions import needs
from app.api.graphql.quarantine_types import QuarantinedItem, RejectionReason, item_of
from app.api.graphql.stats_types import StatsOutcome
from app.db.failures import DRIVER_ERRORS
from app.errors import Violation
from app.live.outcome import Outcome, Which
from app.quarantine import reading as quarantine
from app.stats.queries import OutcomeKind

if TYPE_CHECKING:
    from app.api.graphql.events import Event

LazyEvent = Annotated["Event", strawberry.lazy("app.api.graphql.events")]

MAX_NAMES = 100
CHUNK = 25
"""Outcomes whose events are looked up, and held, together."""

_REASONS = msgspec.json.Decoder(list[Violation])


@strawberry.input(description="Which outcomes; what is left out does not matter.")
class OutcomeFilter:
    sources: list[str] | None = strawberry.field(
        default=None, description=f"Names of sources: 1 to {MAX_NAMES}."
    )
    event_types: list[str] | None = strawberry.field(
        default=None,
        description=f"Names of event types: 1 to {MAX_NAMES}. Of a duplicate or conflict it is the"
        " event's, of a rejected item what was sent.",
    )
    outcomes: list[StatsOutcome] | None = strawberry.field(
        default=None, description="What became of them."
    )


@strawberry.type(description="What became of one delivery, told once it is committed.")
class LiveOutcome:
    outcome: StatsOutcome = strawberry.field(description="What became of it.")
    received_at: datetime = strawberry.field(
        description="When it was received. Outcomes come in the order of their commits, which is"
        " not quite this one."
    )
    source: str | None = strawberry.field(
        description="The source; of a REJECTED item as sent, where it could be read."
    )
    event_type: str | None = strawberry.field(
        description="The event's type; of a REJECTED item as sent, where it could be read. Null"
        " when the event is gone."
    )
    external_event_id: str | None = strawberry.field(
        description="The sender's key; of a REJECTED item as sent, where it could be read. Null"
        " when the event is gone."
    )
    event_id: strawberry.ID | None = strawberry.field(
        description="The event that the key stands for; null of a REJECTED item."
    )
    differing_paths: list[str] = strawberry.field(
        description="JSON Pointers to where a DUPLICATE or CONFLICT differs from the first"
        " delivery."
    )
    error_code: str | None = strawberry.field(
        description="What the sender of a REJECTED item was answered."
    )
    reasons: list[RejectionReason] = strawberry.field(
        description="Every reason against a REJECTED item, 50 at most."
    )
    api_key: DeliveringKey | None = strawberry.field(description="The API key that delivered.")
    told: strawberry.Private[Outcome]

    @strawberry.field(description="The event; null of a REJECTED item, and when it is gone.")
    async def event(self, info: Info) -> LazyEvent | None:
        from app.api.graphql.events import event_of

        if self.told.event_id is None:
            return None
        stored = await info.context.loaders.event.load(self.told.event_id)
        return event_of(stored) if stored else None

    @strawberry.field(description="The REJECTED item with what was sent; null of other outcomes.")
    async def quarantined_item(self, info: Info) -> QuarantinedItem | None:
        if self.told.quarantine_id is None:
            return None
        async with info.context.pool.acquire() as connection:
            found = await quarantine.find_item(
                connection, info.context.tenant_id, self.told.quarantine_id
            )
        return item_of(found) if found else None


@strawberry.type
class LiveSubscription:
    @strawberry.subscription(
        description="Each outcome of the tenant, once, soon after its commit, from now on. Who"
        " cannot keep up with what the filter lets through is disconnected.",
        permission_classes=[needs(Scope.EVENTS_READ)],
    )
    async def outcomes(
        self,
        info: Info,
        filter: Annotated[
            OutcomeFilter | None, strawberry.argument(description="Which ones.")
        ] = None,
    ) -> AsyncGenerator[LiveOutcome, None]:
        assert info.context.subscribe is not None, "subscriptions go over WebSocket only"
        shows_events = "event" in _names(info.selected_fields[0].selections)
        async with info.context.subscribe(_which(filter or OutcomeFilter())) as subscription:
            while True:
                chunk = await subscription.take(CHUNK)
                info.context.loaders.forget()
                if shows_events:
                    await _look_up(info, chunk)
                for outcome in chunk:
                    yield _told(outcome)


def _which(asked: OutcomeFilter) -> Which:
    for name, values in (("sources", asked.sources), ("eventTypes", asked.event_types)):
        if values is not None and not 1 <= len(values) <= MAX_NAMES:
            raise refuse_argument(f"filter.{name}: 1 to {MAX_NAMES} names")
    return Which(
        sources=None if asked.sources is None else frozenset(asked.sources),
        event_types=None if asked.event_types is None else frozenset(asked.event_types),
        kinds=None
        if asked.outcomes is None
        else frozenset(OutcomeKind[outcome.name] for outcome in asked.outcomes),
    )


def _told(outcome: Outcome) -> LiveOutcome:
    key_id, key_name = outcome.key_id, outcome.key_name
    event_id = outcome.event_id
    return LiveOutcome(
        outcome=StatsOutcome(outcome.kind.name),
        received_at=outcome.received_at,
        source=outcome.source,
        event_type=outcome.event_type,
        external_event_id=outcome.external_event_id,
        event_id=strawberry.ID(ids.encode(ids.EVENT_PREFIX, event_id)) if event_id else None,
        differing_paths=list(outcome.differing),
        error_code=outcome.error_code,
        reasons=[
            RejectionReason(path=reason.path, code=reason.code, message=reason.message)
            for reason in _REASONS.decode(outcome.reasons)
        ],
        api_key=DeliveringKey(id=strawberry.ID(key_id), name=key_name)
        if key_id is not None and key_name is not None
        else None,
        told=outcome,
    )


async def _look_up(info: Info, chunk: Sequence[Outcome]) -> None:
    """The events of a chunk at once: the field `event` finds them at hand."""
    event_ids = {outcome.event_id for outcome in chunk if outcome.event_id is not None}
    try:
        await info.context.loaders.event.load_many(event_ids)
    except DRIVER_ERRORS:
        pass  # the field says so itself, and the subscription goes on


def _names(selections: Sequence[Selection]) -> set[str]:
    """Fields that are asked for, through fragments."""
    names: set[str] = set()
    for selection in selections:
        if isinstance(selection, SelectedField):
            names.add(selection.name)
        else:
            names |= _names(selection.selections)
    return names
