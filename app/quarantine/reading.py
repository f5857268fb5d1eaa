"""Reads rejected items and notes what became of them. Never judges and never deletes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from app import ids
from app.db.pool import Connection
from app.db.scan import PAGE_BYTES, SCANNED_ROWS, Position, cut, fit, newest
from app.db.sql import load_statements
from app.errors import Violation
from app.quarantine.filter import Filter, ItemState

SQL = load_statements(__file__)

MAX_GROUPED = 20_000
"""Open items that groups are looked for in."""


class Entry(msgspec.Struct, frozen=True):
    """One rejected item, and what became of it."""

    quarantine_id: bytes
    received_at: datetime
    expires_at: datetime
    source: str | None
    external_event_id: str | None
    event_type: str | None
    error_code: str
    reasons: Sequence[Violation]
    size_bytes: int
    payload: bytes | None
    state: ItemState
    resolved_at: datetime | None
    event_id: bytes | None
    """Of the event that its replay made, or was a duplicate of."""


class Group(msgspec.Struct, frozen=True):
    """Open items that were refused for the same first reason."""

    error_code: str
    reason: str | None
    path: str | None
    source: str | None
    event_type: str | None
    count: int
    first_received_at: datetime
    last_received_at: datetime


class Scanned(msgspec.Struct, frozen=True):
    """One item that a step went over."""

    quarantine_id: bytes
    received_at: datetime
    payload: bytes | None
    is_meant: bool
    """Open, and the filter holds."""

    @property
    def position(self) -> Position:
        return Position(self.received_at, self.quarantine_id)


async def find_page(
    connection: Connection,
    tenant_id: int,
    which: Filter,
    *,
    state: ItemState | None,
    first: int,
    after: Position | None,
) -> tuple[list[Entry], Position | None]:
    """(a page, newest first; where the next one begins). state None: whatever became of them.

    A page may be short, or empty, and still be followed by another: it looks at SCANNED_ROWS
    and holds PAGE_BYTES.
    """
    rows = await connection.fetch(
        SQL["scan_items"],
        tenant_id,
        which.received.start,
        *newest(which.received, after),
        SCANNED_ROWS,
        first + 1,
        *_conditions(which),
        state,
        PAGE_BYTES,
    )
    found = fit(cut(rows, first, SCANNED_ROWS), PAGE_BYTES)
    return [_entry(row) for row in found.rows], found.resume


async def find_item(connection: Connection, tenant_id: int, quarantine_id: bytes) -> Entry | None:
    row = await connection.fetchrow(
        SQL["find_item"], tenant_id, ids.bucket_of(quarantine_id), quarantine_id
    )
    return _entry(row) if row else None


async def list_groups(
    connection: Connection, tenant_id: int, which: Filter, limit: int
) -> tuple[list[Group], int]:
    """(the greatest groups, how many items were looked at): the newest MAX_GROUPED open ones."""
    rows = await connection.fetch(
        SQL["list_groups"],
        tenant_id,
        *which.received,
        *_conditions(which),
        MAX_GROUPED,
        limit,
    )
    names = Group.__struct_fields__
    groups = [Group(*(row[name] for name in names)) for row in rows if row["count"] is not None]
    return groups, rows[0]["items"]


async def scan_oldest(
    connection: Connection,
    tenant_id: int,
    which: Filter,
    after: Position,
    limit: int,
) -> list[Scanned]:
    """A replay's next items behind this position, oldest first, meant or not; none: that was all.

    What was refused as forbidden is meant only when the filter names that error code: the key that
    replays may be allowed what its sender was not.
    """
    rows = await connection.fetch(
        SQL["scan_oldest"],
        tenant_id,
        *after,
        *which.received,
        *_conditions(which),
        limit,
    )
    return [Scanned(r["key"], r["at"], r["payload"], r["is_meant"]) for r in rows]


async def scan_open(
    connection: Connection, tenant_id: int, which: Filter, limit: int
) -> list[Scanned]:
    """The oldest open items, meant or not, without their payload."""
    rows = await connection.fetch(
        SQL["scan_open"], tenant_id, *which.received, *_conditions(which), limit
    )
    return [Scanned(r["key"], r["at"], None, r["is_meant"]) for r in rows]


async def resolve(
    connection: Connection,
    tenant_id: int,
    answers: Sequence[tuple[bytes, ItemState, bytes]],
    now: datetime,
) -> None:
    """Note (item, what its replay was answered, event id); the first answer to an item stands."""
    await connection.executemany(
        SQL["resolve"],
        [
            (tenant_id, ids.bucket_of(item), item, resolution, now, event_id)
            for item, resolution, event_id in sorted(answers)
        ],
    )


async def discard(
    connection: Connection, tenant_id: int, items: Sequence[bytes], now: datetime
) -> int:
    """Drop what open items held; returns how many were open."""
    keys = sorted(items)  # a bucket is the top of an id: sorted by (bucket, id) as well
    buckets = [ids.bucket_of(key) for key in keys]
    done = await connection.execute(SQL["discard"], tenant_id, buckets, keys, now)
    return int(done.split()[-1])


def _conditions(which: Filter) -> tuple[str | None, ...]:
    return (which.error_code, which.reason, which.path, which.source, which.event_type)


def _entry(row: Any) -> Entry:
    return Entry(
        quarantine_id=row["key"],
        received_at=row["at"],
        expires_at=row["expires_at"],
        source=row["source"],
        external_event_id=row["external_event_id"],
        event_type=row["event_type"],
        error_code=row["error_code"],
        reasons=msgspec.json.decode(row["reasons"], type=list[Violation]),
        size_bytes=row["size_bytes"],
        payload=row["payload"],
        state=ItemState(row["resolution"] or 0),
        resolved_at=row["resolved_at"],
        event_id=row["event_key"],
    )
