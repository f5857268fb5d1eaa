"""Where deliveries stand against the key ledger: accepted, duplicate, conflict or rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from app.access.keys import TenantSettings
from app.access.queries import SourceSettings
from app.db.pool import Connection
from app.dedupe import queries as ledger
from app.dedupe.fingerprint import Content, differing_paths
from app.dedupe.queries import Original
from app.errors import ErrorCode
from app.identity.identifiers import Identity, fingerprint_identity, identifiers_of
from app.ingest import queries as events
from app.ingest.content import decode_properties
from app.ingest.event import Event, Judged, Rejected
from app.ingest.queries import Stored
from app.stats.queries import OutcomeKind


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One judged item and who delivered it."""

    item: Judged
    api_key_id: int
    size_bytes: int
    source: SourceSettings | None
    """None for a rejected item whose source is not registered."""
    first_received_at: datetime | None = None
    """Of a replayed item: when it was refused. Stands in for an occurredAt that was left out."""


class Standing(msgspec.Struct, frozen=True, gc=False):
    kind: OutcomeKind
    code: ErrorCode | None = None
    """Of a conflict."""
    differing: tuple[str, ...] = ()
    """JSON Pointers; ("",) when the original is past retention and nothing can be compared."""


ACCEPTED = Standing(OutcomeKind.ACCEPTED)
DUPLICATE = Standing(OutcomeKind.DUPLICATE)
REJECTED = Standing(OutcomeKind.REJECTED)
ERASED = Standing(OutcomeKind.CONFLICT, ErrorCode.EVENT_ERASED)


async def claim_standings(
    connection: Connection,
    tenant: TenantSettings,
    deliveries: Sequence[Delivery],
    received_at: datetime,
) -> list[Standing]:
    """Claim the keys of these deliveries, and tell where each one stands, in order.

    Of several with one key the first valid one claims it. A rejected item is looked up as well:
    a retry of what was once accepted is a duplicate, whatever the registry says today.
    cost  1 statement when all keys are new, 2 or 3 otherwise.
    """
    first: dict[bytes, Event] = {}
    for delivery in deliveries:
        if isinstance(delivery.item, Event):
            first.setdefault(delivery.item.event_id, delivery.item)
    ours = (
        await ledger.claim_keys(
            connection,
            tenant.tenant_id,
            {event_id: event.fingerprint for event_id, event in first.items()},
            received_at,
        )
        if first
        else set()
    )
    asked = {d.item.event_id for d in deliveries if d.item.event_id is not None} - ours
    originals = await ledger.read_keys(connection, tenant.tenant_id, sorted(asked)) if asked else {}
    standings = [_standing(delivery.item, first, ours, originals) for delivery in deliveries]
    mismatches = [
        index
        for index, delivery in enumerate(deliveries)
        if standings[index] is DUPLICATE
        and isinstance(delivery.item, Event)
        and delivery.item.fingerprint != _claimed_print(delivery.item, first, originals)
    ]
    if mismatches:
        stored = await _read_stored(connection, tenant, deliveries, mismatches, originals)
        for index in mismatches:
            standings[index] = _mismatch(deliveries[index], first, originals, stored)
    return standings


def _standing(
    item: Judged,
    first: Mapping[bytes, Event],
    ours: set[bytes],
    originals: Mapping[bytes, Original],
) -> Standing:
    original = originals.get(item.event_id) if item.event_id is not None else None
    if isinstance(item, Rejected):
        if original is None or original.fingerprint != item.fingerprint:
            return REJECTED
    elif item.event_id in ours:
        return ACCEPTED if first[item.event_id] is item else DUPLICATE
    return ERASED if original is not None and original.state == ledger.ERASED else DUPLICATE


def _claimed_print(
    event: Event, first: Mapping[bytes, Event], originals: Mapping[bytes, Original]
) -> bytes:
    original = originals.get(event.event_id)
    return original.fingerprint if original else first[event.event_id].fingerprint


async def _read_stored(
    connection: Connection,
    tenant: TenantSettings,
    deliveries: Sequence[Delivery],
    mismatches: Sequence[int],
    originals: Mapping[bytes, Original],
) -> dict[bytes, Stored]:
    received_at = {
        event_id: originals[event_id].received_at
        for index in mismatches
        if (event_id := deliveries[index].item.event_id) is not None and event_id in originals
    }
    if not received_at:
        return {}
    return await events.read_contents(connection, tenant.tenant_id, received_at)


def _mismatch(
    delivery: Delivery,
    first: Mapping[bytes, Event],
    originals: Mapping[bytes, Original],
    stored: Mapping[bytes, Stored],
) -> Standing:
    """Conflict, or duplicate where the source says so or nothing differs by today's rules."""
    event, source = delivery.item, delivery.source
    assert isinstance(event, Event)
    region = source.default_phone_region if source else None
    kept = stored.get(event.event_id)
    if kept is not None:
        original = _content(
            kept.event_type, kept.occurred_at, kept.identity, kept.properties, region
        )
        differing = differing_paths(original, _event_content(event, region))
        paths = tuple(path for path in differing if path not in kept.stripped)
    elif event.event_id in originals:
        paths = ("",)
    else:
        paths = tuple(
            differing_paths(
                _event_content(first[event.event_id], region), _event_content(event, region)
            )
        )
    if not paths:
        return DUPLICATE
    if source and source.duplicate_on_mismatch:
        return Standing(OutcomeKind.DUPLICATE, differing=paths)
    return Standing(OutcomeKind.CONFLICT, ErrorCode.IDEMPOTENCY_CONFLICT, paths)


def _event_content(event: Event, region: str | None) -> Content:
    identity = msgspec.json.decode(event.identity, type=Identity)
    return _content(event.event_type, event.occurred_at, identity, event.properties, region)


def _content(
    event_type: str,
    occurred_at: datetime | None,
    identity: Identity,
    properties: bytes,
    region: str | None,
) -> Content:
    return Content(
        event_type,
        occurred_at,
        fingerprint_identity(identity, identifiers_of(identity, region)),
        decode_properties(properties),
    )
