"""A property is marked while events pour in: every value is there once, whoever wrote it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import asyncpg
import pytest

from app.db.pool import close_pool, open_pool
from app.registry.governance.marking import mark_property, unmark_property
from app.registry.governance.outcomes import Actor
from app.registry.queries import lock_registry
from app.segments import marks
from app.segments.backfill import backfill_batch
from app.segments.queries import StoredMark, value_table
from tests.support import Api, Seed, eventually, purchase, service_in_process

ACTOR = Actor("test", may_approve=True)
WORKERS = 3
BATCH = 40


async def pour(worker: Api, name: str, stop: asyncio.Event) -> int:
    """Deliver batches until told to stop; returns how many events that were."""
    sent = 0
    while not stop.is_set():
        items: list[object] = [
            purchase(
                f"{name}_{n}",
                properties={"order_id": f"{name}_{n}", "amount": 1, "currency": "EUR"},
            )
            for n in range(sent, sent + BATCH)
        ]
        results = await worker.results(items)
        assert {result["status"] for result in results} == {"accepted"}
        sent += BATCH
        await asyncio.sleep(0.05)
    return sent


async def test_every_event_has_its_value_once_while_a_property_is_marked(
    database_url: str, seeded: Seed
) -> None:
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(service_in_process(database_url, seeded))
            for _ in range(WORKERS)
        ]
        stop = asyncio.Event()
        pouring = [
            asyncio.create_task(pour(worker, f"w{n}", stop)) for n, worker in enumerate(workers)
        ]
        await asyncio.sleep(1)
        mark = await mark_property(seeded.tenant_id, ACTOR, "purchase_completed", "/order_id")
        assert isinstance(mark, StoredMark)
        table = value_table(mark.mark.mark_id)

        async def is_ready() -> bool:
            rows = await workers[0].fetch(
                "select state from segment_property where id = $1", mark.mark.mark_id
            )
            return rows[0]["state"] == "READY"

        await eventually(is_ready, seconds=120)
        stop.set()
        sent = sum(await asyncio.gather(*pouring))
        counted = await workers[0].fetch(
            f"select count(*) as rows, count(distinct value) as values,"
            f" count(*) filter (where e.properties ->> 'order_id' = v.value) as right"
            f" from {table} v"
            f" join event e using (bucket, event_key, received_at, profile_id, occurred_at)"
        )
    assert tuple(counted[0]) == (sent, sent, sent)


async def test_flushes_go_on_while_a_property_is_unmarked_and_its_storage_goes(
    database_url: str, seeded: Seed
) -> None:
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(service_in_process(database_url, seeded))
            for _ in range(WORKERS)
        ]
        stop = asyncio.Event()
        pouring = [
            asyncio.create_task(pour(worker, f"w{n}", stop)) for n, worker in enumerate(workers)
        ]
        await asyncio.sleep(0.5)
        held = await unmark_property(
            seeded.tenant_id, ACTOR, "purchase_completed", "/amount", "not used"
        )
        assert isinstance(held, StoredMark)
        table = value_table(held.mark.mark_id)

        async def is_gone() -> bool:
            rows = await workers[0].fetch("select to_regclass($1) is null as gone", table)
            return bool(rows[0]["gone"])

        assert not await is_gone()
        await eventually(is_gone, seconds=120)
        stop.set()
        sent = sum(await asyncio.gather(*pouring))
        assert sent > 0
        again = await mark_property(seeded.tenant_id, ACTOR, "purchase_completed", "/amount")
        assert isinstance(again, StoredMark)
        assert again.mark.mark_id != held.mark.mark_id


async def test_a_backfill_begins_while_somebody_changes_the_registry(
    database_url: str, seeded: Seed
) -> None:
    pool = await open_pool(database_url, max_size=4)
    try:
        await mark_property(seeded.tenant_id, ACTOR, "purchase_completed", "/order_id")
        async with pool.acquire() as changing, changing.transaction():
            await lock_registry(changing, seeded.tenant_id)
            async with pool.acquire() as connection, asyncio.timeout(10):
                assert await backfill_batch(connection)
    finally:
        await close_pool(pool)


async def test_a_worker_that_cannot_see_new_marks_takes_no_events(
    database_url: str, seeded: Seed
) -> None:
    async with service_in_process(database_url, seeded, answer_within_seconds=0.5) as api:
        assert (await api.post(purchase("before"))).status_code == 202
        connection = await asyncpg.connect(database_url)
        try:
            async with connection.transaction():
                await connection.execute("lock table tenant")
                await asyncio.sleep(marks.MAX_AGE_SECONDS + 1)
                refused = await api.post(purchase("meanwhile"))
        finally:
            await connection.close()
        assert (refused.status_code, refused.json()["message"]) == (
            503,
            "the database did not answer in time; try again with the same externalEventId",
        )

        async def is_taken() -> bool:
            return (await api.post(purchase("meanwhile"))).status_code in (200, 202)

        await eventually(is_taken)


async def test_a_worker_that_slept_looks_at_the_registry_before_it_takes_events(
    database_url: str, seeded: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "MAX_AGE_SECONDS", 0.2)  # every pause is too long a one
    async with service_in_process(database_url, seeded, refresh_seconds=0.9) as api:
        for number in range(5):
            await asyncio.sleep(0.3)
            assert (await api.post(purchase(f"e{number}"))).status_code == 202
