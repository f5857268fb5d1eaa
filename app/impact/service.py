"""Starts runs and works on them, a batch at a time, beside ingest and never in its way.

Never changes the registry, and never keeps a value that was sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum

import msgspec
import structlog

from app import clock
from app.access import queries as access
from app.db.pool import Connection, Pool
from app.impact import queries
from app.impact.judging import Rules
from app.impact.queries import StoredEvent, StoredRefusal
from app.impact.run import Asked, Run, Stage, State, first_cursor
from app.registry import queries as registry

MAX_ACTIVE = 5
"""Runs that one tenant may have under way; they take turns with everybody's."""
RETENTION = timedelta(days=7)
"""Figures of last week's traffic; findings hold names that senders chose."""
BATCH_ITEMS = 500
BATCH_BYTES = 4 << 20
"""A batch ends with the item that goes beyond: 256 KiB more at most."""
CLAIM = timedelta(seconds=20)
"""After which a batch is given to another worker; it takes a tenth of a second as a rule."""
MAX_ATTEMPTS = 5
"""Of one batch: then there is something wrong with it."""
WORK_SECONDS = 0.002
REST_SECONDS = 0.004
"""After each stretch of work ingest has the worker for twice as long."""

Rows = Sequence[StoredEvent] | Sequence[StoredRefusal]

log = structlog.get_logger()


class NotStarted(StrEnum):
    """Why there is no run."""

    RETIRED = "event_type_retired"
    """No document lets an event of a retired type pass."""
    TOO_MANY = "too_many_runs"


async def start_run(
    connection: Connection, tenant_id: int, asked: Asked, requested_by: str
) -> Run | NotStarted:
    """Queue a run against what is in force now.

    asked  its document has passed `lint`
    """
    types = await registry.read_catalog(connection, tenant_id)
    entry = next((entry for entry in types if entry.name == asked.event_type), None)
    if entry is not None and entry.status == "RETIRED":
        return NotStarted.RETIRED
    run = await queries.insert_run(
        connection,
        tenant_id,
        asked,
        event_type_id=entry.event_type_id if entry else None,
        version_ids=[version.version_id for version in entry.versions] if entry else [],
        requested_by=requested_by,
        requested_at=clock.now(),
        max_active=MAX_ACTIVE,
    )
    return run or NotStarted.TOO_MANY


async def cancel_run(connection: Connection, tenant_id: int, run_id: bytes) -> Run | None:
    """End a run; the batch under way does not count any more. None: there is no such run."""
    await queries.cancel_run(connection, tenant_id, run_id, clock.now())
    return await queries.find_run(connection, tenant_id, run_id)


async def delete_old_runs(connection: Connection) -> None:
    await queries.delete_runs(connection, clock.now() - RETENTION)


class ImpactWorker:
    """One worker's share of all tenants' runs. Any worker can go on where another stopped."""

    def __init__(self, pool: Pool) -> None:
        """pool  for reading: each statement has an end"""
        self._pool = pool
        self._rules: dict[bytes, Rules] = {}

    async def judge_runs(self) -> None:
        """Batch after batch, runs taking turns, until none is left.

        raises  a driver's error: the batch is judged again later
        """
        while await self.judge_batch():
            pass
        self._rules.clear()

    async def judge_batch(self) -> bool:
        """Move one run on by a batch. False: there is none.

        No transaction is open while it is judged: a claim that ends by itself keeps others away.
        """
        async with self._pool.acquire() as connection:
            now = clock.now()
            run = await queries.claim_run(connection, now, now + CLAIM, MAX_ATTEMPTS)
            if run is None:
                return False
            if run.state is State.FAILED:
                log.warning("impact_failed", run=run.run_id.hex(), attempts=MAX_ATTEMPTS)
                return True
            if run.run_id not in self._rules:
                self._rules[run.run_id] = await _read_rules(connection, run)
            if run.total is None:
                total = await queries.count_items(connection, run)
                run = msgspec.structs.replace(run, total=total)
            rows = await _read_batch(connection, run)
        await _judge_all(run, rows, self._rules[run.run_id])
        advanced = _advanced(run, rows)
        async with self._pool.acquire() as connection:
            is_kept = await queries.save_run(connection, advanced, run.claimed_until)
        if not is_kept or advanced.finished_at is not None:
            del self._rules[run.run_id]
        return True


async def _read_rules(connection: Connection, run: Run) -> Rules:
    return Rules(
        run,
        await queries.read_documents(connection, run.tenant_id, run.version_ids),
        await queries.read_writers(connection, run.tenant_id),
        await access.read_sources(connection, run.tenant_id),
    )


async def _read_batch(connection: Connection, run: Run) -> Rows:
    read = queries.read_events if run.stage is Stage.EVENTS else queries.read_quarantined
    return await read(connection, run, min(BATCH_ITEMS, run.left), BATCH_BYTES)


async def _judge_all(run: Run, rows: Rows, rules: Rules) -> None:
    """Add rows to the run's tally in short stretches; in between the worker is ingest's."""
    rest_at = time.monotonic() + WORK_SECONDS
    for row in rows:
        if isinstance(row, StoredEvent) or row.is_open:
            run.tally.add(rules.judge(row), run.asked.document)
        if time.monotonic() >= rest_at:
            await asyncio.sleep(REST_SECONDS)
            rest_at = time.monotonic() + WORK_SECONDS
    await asyncio.sleep(REST_SECONDS)


def _advanced(run: Run, rows: Rows) -> Run:
    """The run behind these rows, its claim given back; without any its stage has ended."""
    now = clock.now()
    run = msgspec.structs.replace(run, claimed_until=now)
    if rows:
        return msgspec.structs.replace(run, cursor=rows[-1].cursor)
    if run.stage is Stage.EVENTS:
        start = first_cursor(Stage.QUARANTINE, run.requested_at)
        return msgspec.structs.replace(run, stage=Stage.QUARANTINE, cursor=start)
    return msgspec.structs.replace(run, total=run.tally.scanned, finished_at=now)
