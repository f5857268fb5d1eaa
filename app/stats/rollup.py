"""Sums counters up by hour and day, once nobody can count into those minutes any more.

Never deletes counters and never adds to a sum: a sum is made again from the minutes, so doing it
twice, in two workers or after a crash, changes nothing.

Minutes are taken up when they are over for ROLL_AFTER and every flush that began before then has
ended. It looks at the clock after its BEGIN, so one that counts into them has either committed by
then, and is seen, or is still under way, and is waited for. The running hour is summed up as far as
that: what is left for readers to add is some minutes (decision 19).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from app import clock
from app.db.failures import DRIVER_ERRORS
from app.db.horizon import read_horizon
from app.db.pool import Connection, Pool
from app.db.sql import load_statements
from app.stats.steps import DAY, HOUR, floor

SQL = load_statements(__file__)

ROLL_AFTER = timedelta(minutes=2)
"""How far the clocks of workers and of Postgres may differ."""
ROLL_STEP = timedelta(minutes=5)
HOURS_A_TURN = 100
"""A backlog is worked off in turns, so that one connection is not held for long."""
GAPS_A_TURN = 50
"""Usual gaps that are looked at again: some milliseconds each."""
GAP_AGE = timedelta(hours=6)
AFTER_FAILURE = timedelta(minutes=10)


async def roll_up(pool: Pool, passed_over: dict[int, datetime] | None = None) -> int:
    """Sum up what is due; returns how many hours it touched. For all workers at once.

    passed_over  tenants that failed, and until when: kept by the caller from turn to turn, so that
                 one whose sums take too long holds up no other
    raises       a driver's error
    """
    passed_over = {} if passed_over is None else passed_over
    async with pool.acquire(timeout=2) as connection:
        await connection.execute(SQL["start_progress"])
        now = clock.now()
        await connection.execute(SQL["pull_back"], now, floor(now - HOUR, DAY))
        horizon = await read_horizon(connection, ROLL_AFTER)
        due = floor(min(horizon, now - ROLL_AFTER), ROLL_STEP)
        rolled = 0
        while rolled < HOURS_A_TURN and await _roll_next(connection, due, passed_over):
            rolled += 1
        now = clock.now()
        await connection.execute(SQL["note_usual_gaps"], now - GAP_AGE, GAPS_A_TURN, now)
        return rolled


async def _roll_next(
    connection: Connection, due: datetime, passed_over: dict[int, datetime]
) -> bool:
    """One hour of whichever tenant is furthest behind; whether there was one."""
    now = clock.now()
    not_now = [tenant_id for tenant_id, until in passed_over.items() if until > now]
    async with connection.transaction():
        claimed = await connection.fetchrow(SQL["claim_due"], due, not_now)
        if claimed is None:
            return False
        try:
            await _roll_hour(connection, due, *claimed)
        except DRIVER_ERRORS:
            passed_over[claimed["tenant_id"]] = now + AFTER_FAILURE
            raise
    return True


async def _roll_hour(
    connection: Connection,
    due: datetime,
    tenant_id: int,
    rolled_until: datetime,
    days_until: datetime,
) -> None:
    hour = await connection.fetchval(SQL["next_hour"], tenant_id, rolled_until)
    until = due
    if hour is not None and hour < due:
        until = min(due, hour + HOUR)
        await connection.execute(SQL["roll_hour"], tenant_id, hour, until)
        await connection.execute(
            SQL["note_last_minutes"], tenant_id, max(hour, rolled_until), until
        )
    day = days_until
    while day + DAY <= until:
        await connection.execute(SQL["roll_day"], tenant_id, day)
        day += DAY
    await connection.execute(SQL["advance"], tenant_id, until, day)
