"""One transaction: keys claimed, identities resolved, events, history, quarantine and counters.

Everything that a caller is told stands in the database when this returns, or nothing does. Never
judges an event and never retries itself; `committer.py` does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime

from app import clock
from app.access.keys import TenantSettings
from app.db.pool import Connection
from app.dedupe import queries as ledger
from app.dedupe.queries import Redelivery
from app.errors import ErrorCode, Violation, summarise
from app.identity import queries as identities
from app.identity.resolution import Subject, plan_resolution
from app.ingest import queries as events
from app.ingest.event import Accepted, Duplicate, Event, Judged, Outcome, Refused, Rejected
from app.ingest.queries import NewEvent
from app.ingest.standing import Delivery, Standing, claim_standings
from app.quarantine import queries as quarantine
from app.quarantine.queries import NewItem
from app.segments.feed import FedEvent, feed
from app.segments.marks import Marks
from app.stats import queries as stats
from app.stats.queries import UNREGISTERED, CountKey, OutcomeKind

Ranked = Sequence[tuple[Delivery, Standing]]


async def flush(
    connection: Connection,
    tenant: TenantSettings,
    deliveries: Sequence[Delivery],
    writer: int,
    marks: Marks,
) -> list[Outcome]:
    """Commit these deliveries of one tenant; their outcomes, in order.

    writer   this lane's counter slot
    marks    segmentable properties: what these events have of them is written as well
    cost     begin, commit and 4 to 7 statements when all are new, whatever the number; one more
             for each marked property that these events have
    raises   identities.LostRace, OutdatedMarks or a driver's error: nothing was written
    """
    async with connection.transaction():
        # Not before BEGIN: a transaction that Postgres shows is older than its events.
        received_at = clock.now()
        fed = marks.in_force(tenant.tenant_id)
        standings = await claim_standings(connection, tenant, deliveries, received_at)
        ranked = list(zip(deliveries, standings, strict=True))
        if accepted := [d for d, s in ranked if s.kind is OutcomeKind.ACCEPTED]:
            profile_ids = await _resolve(connection, tenant, accepted, received_at)
            rows = _new_events(accepted, profile_ids, received_at)
            await events.insert_events(connection, tenant.tenant_id, rows, received_at)
            if fed:
                await feed(connection, fed, _fed_events(rows, fed), received_at)
        if redeliveries := list(_redeliveries(ranked)):
            await ledger.insert_deliveries(connection, tenant.tenant_id, redeliveries, received_at)
        if rejected := list(_rejected_items(ranked)):
            await quarantine.insert_items(
                connection, tenant.tenant_id, rejected, received_at, tenant.quarantine_days
            )
        await stats.add_counts(connection, tenant.tenant_id, _counts(ranked), received_at, writer)
    return [_outcome(delivery, standing) for delivery, standing in ranked]


async def _resolve(
    connection: Connection,
    tenant: TenantSettings,
    accepted: Sequence[Delivery],
    received_at: datetime,
) -> Mapping[bytes, bytes]:
    """The profile of each accepted event; links and merges are written on the way."""
    subjects = [
        Subject(d.item.event_id, identities.keyed(tenant.hash_key, d.item.identifiers))
        for d in accepted
        if isinstance(d.item, Event)
    ]
    keys = {identifier.key for subject in subjects for identifier in subject.identifiers}
    graph = await identities.read_graph(connection, tenant.tenant_id, keys)
    plan = plan_resolution(subjects, graph.owner_by_key, graph.roots, received_at)
    if not plan.writes_nothing:
        source_ids = {d.item.event_id: _source_id(d) for d in accepted if isinstance(d.item, Event)}
        await identities.write_plan(connection, tenant.tenant_id, plan, source_ids, received_at)
    return plan.profile_id_by_event_id


def _new_events(
    accepted: Iterable[Delivery], profile_ids: Mapping[bytes, bytes], received_at: datetime
) -> list[NewEvent]:
    return [
        NewEvent(
            d.item,
            _source_id(d),
            d.api_key_id,
            profile_ids[d.item.event_id],
            d.item.occurred_at or d.first_received_at or received_at,
        )
        for d in accepted
        if isinstance(d.item, Event)
    ]


def _source_id(accepted: Delivery) -> int:
    """Of an accepted event; its key is claimed by now, and to leave it out would be to lose it."""
    assert accepted.source is not None
    return accepted.source.source_id


def _fed_events(rows: Iterable[NewEvent], marks: Container[int]) -> Iterable[FedEvent]:
    for row in rows:
        event = row.event
        if event.event_type_id in marks:
            yield FedEvent(
                event.event_id,
                event.event_type_id,
                row.profile_id,
                row.occurred_at,
                event.properties,
            )


def _redeliveries(ranked: Ranked) -> Iterable[Redelivery]:
    for delivery, standing in ranked:
        if standing.kind in (OutcomeKind.DUPLICATE, OutcomeKind.CONFLICT):
            assert delivery.item.event_id is not None
            yield Redelivery(
                delivery.item.event_id,
                delivery.source.source_id if delivery.source else UNREGISTERED,
                delivery.api_key_id,
                standing.kind,
                standing.differing,
            )


def _rejected_items(ranked: Ranked) -> Iterable[NewItem]:
    for delivery, standing in ranked:
        item = delivery.item
        if standing.kind is OutcomeKind.REJECTED and isinstance(item, Rejected):
            yield NewItem(
                api_key_id=delivery.api_key_id,
                error_code=item.code,
                reasons=item.violations,
                size_bytes=delivery.size_bytes,
                payload=None if item.code is ErrorCode.PAYLOAD_TOO_LARGE else item.payload,
                source=item.source,
                external_event_id=item.external_event_id,
                event_type=item.event_type,
            )


def _counts(ranked: Ranked) -> Mapping[CountKey, tuple[int, int]]:
    count: Counter[CountKey] = Counter()
    size: Counter[CountKey] = Counter()
    for delivery, standing in ranked:
        item = delivery.item
        key = CountKey(
            delivery.source.source_id if delivery.source else UNREGISTERED,
            item.event_type_id,
            standing.kind,
            _first_code(item) if standing.kind is OutcomeKind.REJECTED else "",
        )
        count[key] += 1
        size[key] += delivery.size_bytes
    return {key: (count[key], size[key]) for key in count}


def _first_code(item: Judged) -> str:
    return item.violations[0].code if isinstance(item, Rejected) else ""


def _outcome(delivery: Delivery, standing: Standing) -> Outcome:
    item = delivery.item
    if isinstance(item, Event) and standing.kind is OutcomeKind.ACCEPTED:
        return Accepted(item.event_id, item.warnings)
    if isinstance(item, Rejected) and standing.kind is OutcomeKind.REJECTED:
        return Refused(item.code, item.violations, summarise(item.violations))
    assert item.event_id is not None
    if standing.kind is OutcomeKind.DUPLICATE:
        return Duplicate(item.event_id)
    if standing.code is ErrorCode.EVENT_ERASED:
        return Refused(
            ErrorCode.EVENT_ERASED,
            (),
            "the event of this externalEventId was erased",
            item.event_id,
        )
    return Refused(
        ErrorCode.IDEMPOTENCY_CONFLICT,
        tuple(
            Violation(path, "content_differs", "differs from the first delivery")
            for path in standing.differing
        ),
        "another fact was already delivered under this source and externalEventId",
        item.event_id,
    )
