"""What stands still: Postgres, another worker, a long reader. Callers hear of it soon, or never."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from app import ids
from app.db import pool as pools
from app.db.embedded import EmbeddedPostgres
from app.db.failures import DRIVER_ERRORS, Failure, failure_of
from app.db.migrate import migrate
from app.db.partitions import drop_partitions, make_partitions
from app.db.pool import close_pool, lent_pool, open_flush_pool
from app.segments import marks
from tests.conftest import FAST
from tests.support import Api, Seed, eventually, purchase, seed, service_in_process

HANGS = 10
"""Seconds after which something surely waits for what stands still."""
CLAIM = (
    "insert into event_key (bucket, event_key, tenant_id, fingerprint, received_at, state)"
    " values ($1, $2, $3, $2, now(), 0)"
)


@pytest.fixture
def postgres(data_folder: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(data_folder, FAST) as postgres:
        yield postgres


@asynccontextmanager
async def standing_still(postgres: EmbeddedPostgres, data_folder: Path) -> AsyncIterator[None]:
    """Postgres with every process of its own: connections are made, nothing is answered."""
    main = int((data_folder / "data" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    processes = [main, *map(int, children)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def test_no_valid_key_is_called_wrong_while_postgres_is_away(
    postgres: EmbeddedPostgres,
) -> None:
    await migrate(postgres.dsn())
    seeded = await seed(postgres.dsn())
    postgres.stop()
    async with service_in_process(postgres.dsn(), seeded) as api:
        answers = await asyncio.gather(*(api.post(purchase(f"e{n}")) for n in range(10)))
    assert {answer.status_code for answer in answers} == {503}


@pytest.mark.contract("4.21: 503 while Postgres is away, whatever is waited for")
async def test_nobody_waits_for_a_postgres_that_stands_still(
    postgres: EmbeddedPostgres, data_folder: Path
) -> None:
    await migrate(postgres.dsn())
    seeded = await seed(postgres.dsn())
    async with service_in_process(postgres.dsn(), seeded, answer_within_seconds=2.0) as api:
        assert (await api.post(purchase("before"))).status_code == 202
        unknown = f"cdp_test_{'a' * 10}_{'b' * 32}"
        async with standing_still(postgres, data_folder), asyncio.timeout(HANGS):
            answers = await asyncio.gather(
                api.post(purchase("known")),
                api.post(purchase("source", source="brand.new")),
                api.post(purchase("other", source="brand.new")),
                *(api.post(purchase(f"key{n}"), key=unknown) for n in range(3)),
            )
        assert {answer.status_code for answer in answers} == {503}

        async def is_taken() -> bool:
            return (await api.post(purchase("source", source="brand.new"))).status_code in (
                200,
                202,
            )

        await eventually(is_taken, 60)


async def test_a_tenant_whose_flushes_wait_for_a_lock_leaves_lanes_to_others(
    database_url: str, seeded: Seed
) -> None:
    other = await seed(database_url, "other")
    async with service_in_process(database_url, seeded, answer_within_seconds=4.0) as api:
        assert (await api.post(purchase("before"))).status_code == 202
        assert (await api.post(purchase("before"), key=other.key)).status_code == 202
        [tenant] = await api.fetch("select hash_key from tenant where id = $1", seeded.tenant_id)
        holder = await asyncpg.connect(database_url)
        flush = holder.transaction()  # of a worker that stands still
        await flush.start()
        for name in ("e0", "e1", "e2"):
            key = ids.event_key(tenant["hash_key"], "brand.pos", name)
            await holder.execute(CLAIM, ids.bucket_of(key), uuid.UUID(bytes=key), seeded.tenant_id)
        waiting = []
        for name in ("e0", "e1", "e2"):  # more than there are lanes
            waiting.append(asyncio.create_task(api.post(purchase(name))))
            await asyncio.sleep(0.1)
        answer = await api.post(purchase("meanwhile"), key=other.key)
        refused = await asyncio.gather(*waiting)
        await flush.rollback()
        await holder.close()
        assert answer.status_code == 202
        assert {answer.status_code for answer in refused} == {503}
        assert (await api.post(purchase("e0"))).status_code == 202


async def test_postgres_ends_the_flush_of_a_worker_that_stands_still(
    database_url: str, seeded: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "IDLE_SECONDS", 1)
    pool = await open_flush_pool(database_url, lanes=1, lock_seconds=0.2)
    other = await asyncpg.connect(database_url)
    lock = "select 1 from tenant where id = $1 for update"
    try:
        async with pool.acquire() as connection:
            flush = connection.transaction()
            await flush.start()
            await connection.execute(lock, seeded.tenant_id)
            async with asyncio.timeout(HANGS):
                await other.execute(lock, seeded.tenant_id)
            with pytest.raises(DRIVER_ERRORS) as ended:
                await connection.execute("select 1")
    finally:
        await other.close()
        await close_pool(pool)
    assert failure_of(ended.value) is Failure.AWAY


async def test_events_go_on_while_other_work_has_every_connection(
    database_url: str, seeded: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "MAX_AGE_SECONDS", 0.5)
    async with service_in_process(database_url, seeded, pool_size=2) as api:
        assert (await api.post(purchase("before"))).status_code == 202
        async with lent_pool().acquire(), lent_pool().acquire():
            await asyncio.sleep(1)
            assert (await api.post(purchase("meanwhile"))).status_code == 202
            assert (await api.client.get("/readyz")).status_code == 200


async def test_partitions_wait_for_a_long_reader_and_events_do_not(api: Api) -> None:
    for table in ("event", "delivery"):
        await api.fetch(
            f"create table {table}_2020_01 partition of {table}"
            " for values from ('2020-01-01 00:00+00') to ('2020-02-01 00:00+00')"
        )
    reader = await asyncpg.connect(api.database_url)
    try:
        async with lent_pool().acquire() as connection:
            async with reader.transaction(isolation="repeatable_read", readonly=True):
                await reader.fetch("select from event limit 1")  # a dump, say
                async with asyncio.timeout(HANGS):
                    made = await make_partitions(connection, 5)
                    dropped = await drop_partitions(connection, 365)
                assert (await api.post(purchase("meanwhile"))).status_code == 202
            assert {name.rsplit("_", 2)[0] for name in made} == {"delivery"}
            assert dropped == ["delivery_2020_01"]
            made = await make_partitions(connection, 5)
            assert {name.rsplit("_", 2)[0] for name in made} == {"event"}
            assert await drop_partitions(connection, 365) == ["event_2020_01"]
    finally:
        await reader.close()
