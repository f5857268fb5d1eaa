"""Finds events for people who ask: by key, and page by page. Never hides a value: the API does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import msgspec

from app import ids
from app.db.pool import Connection
from app.db.scan import EVER, PAGE_BYTES, SCANNED_ROWS, Found, Position, Window, cut, fit, newest
from app.db.sql import load_statements
from app.dedupe import queries as ledger
from app.errors import Violation
from app.identity.identifiers import Identity
from app.ingest.by_property import scan_for_values
from app.ingest.judge import MAX_AHEAD
from app.segments.conditions import Predicate

SQL = load_statements(__file__)

SENT_BYTES = 1 << 20
"""A page that was sent with more is measured before its rows are read: written out, numbers take
up to 60 times as much, for 1e307 has 308 digits."""
_CLOCKS = timedelta(minutes=5)
"""Room between the clock that judged and the one that stamped the receipt."""


class Order(Enum):
    """What "newest first" goes by."""

    RECEIVED = "received"
    OCCURRED = "occurred"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which events of a tenant; None is any. In order of occurrence, `received` has no part."""

    order: Order = Order.RECEIVED
    """OCCURRED needs an event type or people: only they have an index in that order."""
    received: Window = EVER
    occurred: Window = EVER
    source_id: int | None = None
    event_type_id: int | None = None
    version_id: int | None = None
    has_warnings: bool | None = None
    properties: tuple[Predicate, ...] = ()
    """Tests of marked properties of the event type, all of which hold; they need one."""


class Names(msgspec.Struct, frozen=True):
    """What names of a filter stand for; None for one that is not there."""

    source_id: int | None
    event_type_id: int | None
    version_id: int | None


class StoredEvent(msgspec.Struct, frozen=True):
    """An event as it is kept, ids replaced by names."""

    event_id: bytes
    external_event_id: str
    source: str
    event_type: str
    version: int
    version_id: int
    occurred_at: datetime
    occurred_at_sent: bool
    received_at: datetime
    profile_id: bytes | None
    """As it was assigned; it may be an alias by now."""
    size_bytes: int
    identity: Identity
    properties: str
    """JSON, numbers digit by digit as sent."""
    warnings: list[Violation]
    key_id: str
    key_name: str


class EventPage(msgspec.Struct, frozen=True):
    events: list[StoredEvent]
    resume: Position | None
    """Where the next page begins; None: there is none."""


async def find_event_page(
    connection: Connection,
    tenant_id: int,
    selection: Selection,
    *,
    first: int,
    after: Position | None = None,
) -> EventPage:
    """The newest events behind `after`.

    A page may be short, or empty, and still be followed by another: it looks at SCANNED_ROWS
    and holds PAGE_BYTES.
    cost    2 statements: one scan of an index, one look-up of the page's rows, which are measured
            before if they are more than SENT_BYTES. With properties the scan is in a transaction
            of its own, and values may be counted before it
    raises  StorageGone: a property is not marked any more
    """
    by_receipt = selection.order is Order.RECEIVED
    sql = SQL["scan_by_receipt" if by_receipt else "scan_by_type"]
    parameters = [tenant_id, *scan_parameters(selection, SCANNED_ROWS, first, after)]
    if selection.properties:
        rows = await scan_for_values(
            connection, sql, parameters, selection.properties, by_receipt=by_receipt
        )
    else:
        rows = await connection.fetch(sql, *parameters)
    found = cut(rows, first, SCANNED_ROWS)
    [page] = await read_pages(connection, tenant_id, [found], PAGE_BYTES)
    return page


async def find_events(
    connection: Connection, tenant_id: int, event_ids: Sequence[bytes]
) -> dict[bytes, StoredEvent]:
    """Events by id; those that are unknown, erased or past retention are absent.

    cost  2 statements: the ledger knows when each was received
    """
    claimed = await ledger.read_keys(connection, tenant_id, event_ids)
    return await read_events(
        connection, tenant_id, {key: original.received_at for key, original in claimed.items()}
    )


async def read_events(
    connection: Connection, tenant_id: int, received_at_by_event_id: Mapping[bytes, datetime]
) -> dict[bytes, StoredEvent]:
    """Events by id and time of receipt; those that are gone are absent."""
    if not received_at_by_event_id:
        return {}
    keys = list(received_at_by_event_id)
    rows = await connection.fetch(
        SQL["read_events"],
        tenant_id,
        [ids.bucket_of(key) for key in keys],
        keys,
        list(received_at_by_event_id.values()),
    )
    return {row["event_key"]: _stored(row) for row in rows}


async def find_ids(
    connection: Connection,
    tenant_id: int,
    *,
    source: str | None,
    event_type: str | None,
    version: int | None,
) -> Names:
    row = await connection.fetchrow(SQL["find_ids"], tenant_id, source, event_type, version)
    assert row is not None
    return Names(*row)


async def read_documents(
    connection: Connection, tenant_id: int, version_ids: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """The documents of versions, current ones and those of long ago."""
    rows = await connection.fetch(SQL["read_documents"], tenant_id, version_ids)
    return {row["id"]: msgspec.json.decode(row["document"]) for row in rows}


def scan_parameters(
    selection: Selection, scanned: int, first: int, after: Position | None
) -> tuple[object, ...]:
    """The parameters that all scans share, behind the tenant."""
    by_receipt = selection.order is Order.RECEIVED
    return (
        _earliest_receipt(selection),
        *selection.occurred,
        *newest(selection.received if by_receipt else selection.occurred, after),
        scanned,
        first + 1,
        *filters_of(selection),
    )


def filters_of(selection: Selection) -> tuple[int | None, int | None, int | None, bool | None]:
    return (
        selection.source_id,
        selection.event_type_id,
        selection.version_id,
        selection.has_warnings,
    )


async def read_pages(
    connection: Connection, tenant_id: int, found: Sequence[Found], page_bytes: int
) -> list[EventPage]:
    """The events of pages, as much of each as may be held."""
    found = [fit(one, page_bytes) for one in found]
    if sum(row["row_bytes"] for one in found for row in one.rows) > SENT_BYTES:
        text_bytes = await _read_text_sizes(connection, tenant_id, found)
        found = [fit(_measured(one, text_bytes), page_bytes) for one in found]
    received_at = {row["key"]: row["received_at"] for one in found for row in one.rows}
    events = await read_events(connection, tenant_id, received_at)
    return [
        EventPage([events[row["key"]] for row in one.rows if row["key"] in events], one.resume)
        for one in found
    ]


async def _read_text_sizes(
    connection: Connection, tenant_id: int, found: Sequence[Found]
) -> dict[bytes, int]:
    positions = [(row["key"], row["received_at"]) for one in found for row in one.rows]
    rows = await connection.fetch(
        SQL["read_text_sizes"],
        tenant_id,
        [ids.bucket_of(key) for key, _ in positions],
        [key for key, _ in positions],
        [received_at for _, received_at in positions],
    )
    return {row["event_key"]: row["text_bytes"] for row in rows}


def _measured(found: Found, text_bytes: Mapping[bytes, int]) -> Found:
    rows = [{**row, "row_bytes": text_bytes.get(row["key"], 0)} for row in found.rows]
    return Found(rows, found.resume)


def _earliest_receipt(selection: Selection) -> datetime:
    """Nothing is received more than MAX_AHEAD before it occurs; earlier partitions are left out."""
    start = selection.occurred.start
    if start <= EVER.start + MAX_AHEAD + _CLOCKS:
        return selection.received.start
    return max(selection.received.start, start - MAX_AHEAD - _CLOCKS)


def _stored(row: Any) -> StoredEvent:
    return StoredEvent(
        event_id=row["event_key"],
        external_event_id=row["external_event_id"],
        source=row["source"],
        event_type=row["event_type"],
        version=row["version"],
        version_id=row["version_id"],
        occurred_at=row["occurred_at"],
        occurred_at_sent=row["occurred_at_sent"],
        received_at=row["received_at"],
        profile_id=row["profile_id"],
        size_bytes=row["size_bytes"],
        identity=msgspec.json.decode(row["identity"], type=Identity),
        properties=row["properties"],
        warnings=msgspec.json.decode(row["warnings"] or b"[]", type=list[Violation]),
        key_id=row["key_id"],
        key_name=row["key_name"],
    )
