"""Impact runs go on in batches: from where they stopped, in turns, until told to end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from app import clock
from app.db.pool import Pool, close_pool, open_reading_pool
from app.impact import queries, service
from app.impact.run import Asked, Run, Stage, State
from app.impact.service import BATCH_BYTES, BATCH_ITEMS, CLAIM, MAX_ATTEMPTS, ImpactWorker
from tests.support import Seed

DOCUMENT: dict[str, Any] = {
    "type": "object",
    "properties": {"order_id": {}, "currency": {}, "amount": {"maximum": 100}},
}
FILL = """
    insert into event (bucket, event_key, received_at, tenant_id, source_id, event_type_id,
                       version_id, api_key_id, external_event_id, occurred_at, occurred_at_sent,
                       size_bytes, identity, properties)
    select n % 4096, gen_random_uuid(), now(), 1, s.id, t.id, 1, 1, n::text,
           now() - n / 7 * interval '1 minute', true, $2, '{}',
           jsonb_build_object('order_id', repeat('x', $2), 'currency', 'EUR', 'amount', n)
    from generate_series(1, $1) n, source s, event_type t
    where t.name = 'purchase_completed'
"""


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_reading_pool(database_url, max_size=4, statement_seconds=5)
    await pool.execute(
        "insert into source (tenant_id, name, first_seen_at) values (1, 'pos', now())"
    )
    yield pool
    await close_pool(pool)


async def start(pool: Pool, max_events: int = 100_000) -> Run:
    async with pool.acquire() as connection:
        asked = Asked("purchase_completed", DOCUMENT, None, max_events)
        run = await service.start_run(connection, 1, asked, "key")
    assert isinstance(run, Run)
    return run


async def read(pool: Pool, run: Run) -> Run:
    async with pool.acquire() as connection:
        found = await queries.find_run(connection, 1, run.run_id)
    assert found is not None
    return found


async def claim(pool: Pool, lasting: timedelta = CLAIM) -> Run | None:
    now = clock.now()
    async with pool.acquire() as connection:
        return await queries.claim_run(connection, now, now + lasting, MAX_ATTEMPTS)


async def test_another_worker_goes_on_where_one_stopped(pool: Pool, seeded: Seed) -> None:
    await pool.execute(FILL, 2 * BATCH_ITEMS + 100, 10)
    run = await start(pool)
    await ImpactWorker(pool).judge_batch()
    halfway = await read(pool, run)
    assert (halfway.state, halfway.tally.scanned) == (State.RUNNING, BATCH_ITEMS)
    assert halfway.total == 2 * BATCH_ITEMS + 100
    lost = await claim(pool)
    await ImpactWorker(pool).judge_runs()
    assert (await read(pool, run)).tally == halfway.tally, "it belongs to another worker"
    await pool.execute("update impact_run set claimed_until = now()")
    await ImpactWorker(pool).judge_runs()
    done = await read(pool, run)
    assert lost is not None
    assert (done.state, done.tally.events.scanned) == (State.DONE, 2 * BATCH_ITEMS + 100)
    assert done.tally.events.newly_failing == 2 * BATCH_ITEMS
    assert done.tally.by_source["pos"].newly_failing == 2 * BATCH_ITEMS
    async with pool.acquire() as connection:
        assert not await queries.save_run(connection, lost, lost.claimed_until)
    assert await read(pool, run) == done


async def test_a_batch_that_is_under_way_when_a_run_is_cancelled_does_not_count(
    pool: Pool, seeded: Seed
) -> None:
    await pool.execute(FILL, 2 * BATCH_ITEMS, 10)
    run = await start(pool)
    worker = ImpactWorker(pool)
    await worker.judge_batch()
    before = await read(pool, run)
    under_way = await claim(pool)
    assert under_way is not None
    async with pool.acquire() as connection:
        cancelled = await service.cancel_run(connection, 1, run.run_id)
        assert not await queries.save_run(connection, under_way, under_way.claimed_until)
    assert cancelled is not None
    assert (cancelled.state, cancelled.tally) == (State.CANCELLED, before.tally)
    assert not await worker.judge_batch()


async def test_runs_take_turns(pool: Pool, seeded: Seed) -> None:
    await pool.execute(FILL, 2 * BATCH_ITEMS, 10)
    runs = [await start(pool), await start(pool)]
    worker = ImpactWorker(pool)
    for _ in range(2):
        await worker.judge_batch()
    assert [(await read(pool, run)).tally.scanned for run in runs] == [BATCH_ITEMS, BATCH_ITEMS]


async def test_a_batch_of_large_events_ends_at_so_many_bytes(pool: Pool, seeded: Seed) -> None:
    size = 200_000
    await pool.execute(FILL, 50, size)
    run = await start(pool)
    await ImpactWorker(pool).judge_batch()
    scanned = (await read(pool, run)).tally.scanned
    assert scanned == BATCH_BYTES // size + 1 < 50
    await ImpactWorker(pool).judge_runs()
    assert (await read(pool, run)).tally.scanned == 50


async def test_what_comes_in_after_a_run_was_asked_for_is_not_judged(
    pool: Pool, seeded: Seed
) -> None:
    await pool.execute(FILL, 10, 10)
    run = await start(pool)
    await pool.execute(FILL, 20, 10)
    await ImpactWorker(pool).judge_runs()
    done = await read(pool, run)
    assert (done.tally.scanned, done.total) == (10, 10)


async def test_the_newest_so_many_are_judged(pool: Pool, seeded: Seed) -> None:
    await pool.execute(FILL, 3 * BATCH_ITEMS, 10)
    run = await start(pool, max_events=BATCH_ITEMS + 200)
    await ImpactWorker(pool).judge_runs()
    done = await read(pool, run)
    assert (done.tally.scanned, done.tally.events.newly_failing) == (
        BATCH_ITEMS + 200,
        BATCH_ITEMS + 100,
    )


async def test_a_run_whose_batch_never_ends_fails_and_holds_nobody_up(
    pool: Pool, seeded: Seed
) -> None:
    run = await start(pool)
    for _ in range(MAX_ATTEMPTS):
        assert await claim(pool, lasting=timedelta(0)) is not None
    other = await start(pool)
    await ImpactWorker(pool).judge_runs()
    assert [(await read(pool, r)).state for r in (run, other)] == [State.FAILED, State.DONE]
    assert (await read(pool, run)).finished_at is not None


async def test_figures_do_not_depend_on_what_is_published_meanwhile(
    pool: Pool, seeded: Seed
) -> None:
    await pool.execute(FILL, 150, 10)
    run = await start(pool)
    await pool.execute(
        "insert into event_type_version (tenant_id, event_type_id, version, document, checksum,"
        " published_at, published_by) select 1, id, 9, $1, '', now(), 'test' from event_type"
        " where name = 'purchase_completed'",
        '{"type": "object"}',
    )
    await ImpactWorker(pool).judge_runs()
    done = await read(pool, run)
    assert (done.stage, done.tally.events.newly_failing) == (Stage.QUARANTINE, 50)


async def test_old_runs_are_deleted_once_they_have_ended(pool: Pool, seeded: Seed) -> None:
    runs = [await start(pool), await start(pool)]
    async with pool.acquire() as connection:
        await service.cancel_run(connection, 1, runs[0].run_id)
        await connection.execute("update impact_run set requested_at = now() - interval '8 days'")
        await service.delete_old_runs(connection)
        left = await connection.fetch("select run_id from impact_run")
    assert [row["run_id"] for row in left] == [runs[1].run_id]


async def test_a_state_and_its_end_belong_together(pool: Pool, seeded: Seed) -> None:
    await start(pool)
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute("update impact_run set state = 'DONE'")
