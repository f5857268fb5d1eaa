"""What a worker does for segments beside requests: fill, drop, measure, forget. One step at a time.

Safe in every worker at once: each step locks its mark's row and passes over those of others.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

from app import clock
from app.db.failures import LOCKED_OUT
from app.db.horizon import read_horizon
from app.db.locks import wait_briefly
from app.db.partitions import first_month
from app.db.pool import Connection, Pool
from app.segments import queries
from app.segments.backfill import backfill_batch
from app.segments.marks import known_everywhere_at

PAUSE = 2.0
"""Times as long as a step took: the job never takes more than a third of one connection."""
AFTER_FAILURE = timedelta(minutes=1)
MEASURE_EVERY = timedelta(minutes=10)
DELETE_STEP = 5_000


async def tend_segments(pool: Pool) -> None:
    """Do whatever there is to do for segments, with pauses."""
    while True:
        started = time.monotonic()
        async with pool.acquire(timeout=2) as connection:
            if not await tend_next(connection):
                return
        await asyncio.sleep(PAUSE * (time.monotonic() - started))


async def tend_next(connection: Connection) -> bool:
    """One step of each kind: a long backfill keeps nothing from being dropped or measured.

    returns  whether there was something to do
    """
    steps = [
        await backfill_next(connection),
        await drop_next(connection),
        await measure_next(connection),
    ]
    return any(steps)


async def backfill_next(connection: Connection) -> bool:
    """One batch; a mark whose batch fails waits, so that it does not hold up all others.

    returns  whether there was something to do
    """
    now = clock.now()
    try:
        return await backfill_batch(connection)
    except Exception:  # a fault of ours too: it must not hold up the others
        await connection.execute(queries.SQL["postpone_building"], now, now + AFTER_FAILURE)
        raise


async def drop_next(connection: Connection) -> bool:
    """Drop the storage of an unmarked property once no flush can write to it any more.

    returns  whether something was dropped; what somebody reads, a dump say, has its turn later
    """
    try:
        async with connection.transaction():
            return await _drop(connection, clock.now())
    except LOCKED_OUT:
        return False


async def _drop(connection: Connection, now: datetime) -> bool:
    row = await connection.fetchrow(queries.SQL["claim_dropping"], now)
    if row is None:
        return False
    tenant_id, mark_id, known_at = row
    if known_at is None:
        await connection.execute(
            queries.SQL["announce_dropping"], tenant_id, mark_id, known_everywhere_at(now)
        )
        return False
    if await read_horizon(connection) < known_at:
        return False
    await wait_briefly(connection)
    await connection.execute(queries.on_values("drop_values", mark_id))
    await connection.execute(queries.SQL["delete_mark"], tenant_id, mark_id)
    return True


async def measure_next(connection: Connection) -> bool:
    """Look at one mark's coverage again; returns whether one was due."""
    async with connection.transaction():
        now = clock.now()
        row = await connection.fetchrow(queries.SQL["claim_unmeasured"], now - MEASURE_EVERY)
        if row is None:
            return False
        mark = queries.mark_of(row)
        share = await queries.read_coverage(connection, row["tenant_id"], mark)
        await connection.execute(
            queries.SQL["set_coverage"], row["tenant_id"], mark.mark_id, share, now
        )
    return True


async def delete_dropped(connection: Connection) -> None:
    """Delete the values of events that retention has dropped."""
    before = await first_month(connection, "event")
    if before is None:
        return
    for row in await connection.fetch(queries.SQL["read_value_tables"]):
        while await _delete_step(connection, row["id"], before) == DELETE_STEP:
            pass


async def _delete_step(connection: Connection, mark_id: int, before: datetime) -> int:
    done = await connection.execute(
        queries.on_values("delete_values_before", mark_id), before, DELETE_STEP
    )
    return int(done.rpartition(" ")[2])
