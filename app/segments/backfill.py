"""Brings the values of events that were there before a mark into its storage, batch by batch.

An event whose flush knew the mark has its values already; every other one gets them here. Which
of the two it is can be seen: a flush writes event and values in one transaction. So a batch may
be repeated, and nothing depends on how fast a mark becomes known. Never takes more than one batch
a transaction, and leaves its place in the database.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from app import clock
from app.db.horizon import read_horizon
from app.db.partitions import first_month
from app.db.pool import Connection
from app.ids import bucket_of
from app.segments import queries
from app.segments.marks import Mark, known_everywhere_at
from app.segments.queries import ValueRow
from app.segments.values import decode_value, values_of

BATCH_EVENTS = 2_000
"""Looked at in one transaction, of whatever type: some 20 ms."""
ANALYZE_SECONDS = 300.0
WAIT = timedelta(seconds=1)
"""For older transactions to end."""

_FIRST = (datetime(1970, 1, 1, tzinfo=UTC), bytes(16))


class Building(msgspec.Struct, frozen=True):
    """A mark whose row is locked by this transaction."""

    tenant_id: int
    mark: Mark
    known_at: datetime | None
    """From then on every flush feeds it; None: no job has seen it before."""
    cursor: tuple[datetime, bytes]
    """(received_at, event_key) of the last event that was looked at."""


async def backfill_batch(connection: Connection, batch_events: int = BATCH_EVENTS) -> bool:
    """One step of the mark that waited longest, in a transaction of its own.

    returns  False when there is nothing to do for now
    """
    async with connection.transaction():
        now = clock.now()
        building = _building(await connection.fetchrow(queries.SQL["claim_building"], now))
        if building is None:
            return False
        known_at = building.known_at or await _start(connection, building, now)
        horizon = await read_horizon(connection)
        end = await connection.fetchrow(
            queries.SQL["read_scan_end"],
            building.tenant_id,
            *building.cursor,
            min(horizon, known_at),
            batch_events,
        )
        if end is not None:
            written = await _fill(connection, building, (end["received_at"], end["event_key"]))
            await _advance(connection, building, end, now, written)
        elif horizon >= known_at:
            await _finish(connection, building)
        else:
            ready_at = max(known_at + clock.SKEW, now + WAIT)
            await _advance(connection, building, None, ready_at, 0)
    return True


async def _start(connection: Connection, building: Building, now: datetime) -> datetime:
    """The mark is committed: it can be said from when on every flush knows it."""
    known_at = known_everywhere_at(now)
    since = await first_month(connection, "event") or now
    await connection.execute(
        queries.SQL["start_building"], building.tenant_id, building.mark.mark_id, known_at, since
    )
    return known_at


async def _fill(connection: Connection, building: Building, end: tuple[datetime, bytes]) -> int:
    """Write what is missing up to `end`; returns how many values that were."""
    mark = building.mark
    await queries.share_graph(connection, building.tenant_id)
    events = await connection.fetch(
        queries.on_values("read_unfed", mark.mark_id),
        building.tenant_id,
        mark.event_type_id,
        mark.name,
        *building.cursor,
        *end,
    )
    rows: list[ValueRow] = [
        (
            bucket_of(event["event_key"]),
            event["received_at"],
            event["event_key"],
            event["profile_id"],
            event["occurred_at"],
            value,
        )
        for event in events
        for value in values_of(mark, decode_value(event["value"]))
    ]
    if rows:
        await queries.insert_values(connection, mark.mark_id, rows)
    return len(rows)


async def _advance(
    connection: Connection, building: Building, end: Any, next_at: datetime, written: int
) -> None:
    await connection.execute(
        queries.SQL["advance"],
        building.tenant_id,
        building.mark.mark_id,
        end and end["received_at"],
        end and end["event_key"],
        next_at,
        end["number"] if end else 0,
        written,
    )


async def _finish(connection: Connection, building: Building) -> None:
    mark = building.mark
    await connection.execute(
        queries.on_values("analyze_values", mark.mark_id), timeout=ANALYZE_SECONDS
    )
    await connection.execute(
        queries.SQL["finish_building"],
        building.tenant_id,
        mark.mark_id,
        clock.now(),
        await queries.read_coverage(connection, building.tenant_id, mark),
    )


def _building(row: Any) -> Building | None:
    if row is None:
        return None
    started = row["cursor_at"] is not None
    return Building(
        tenant_id=row["tenant_id"],
        mark=queries.mark_of(row),
        known_at=row["known_at"],
        cursor=(row["cursor_at"], row["cursor_key"]) if started else _FIRST,
    )
