"""What a machine, a clock or an administrator does to the service, and one tenant to another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app import background, clock
from app.db.embedded import EmbeddedPostgresError, default_data_dir
from app.db.migrate import MigrationError, migrate
from app.db.pool import Share, close_pool, open_reading_pool
from tests.conftest import Databases
from tests.support import Api, Seed, eventually, purchase, seed, service_in_process


@pytest.fixture
def server(databases: Databases) -> str:
    """Another database of the same server."""
    return databases.url("postgres")


async def run(server: str, *statements: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def name_of(database_url: str) -> str:
    return database_url.partition("?")[0].rpartition("/")[2]


def end_connections(database: str) -> str:
    return f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'"


async def takes(api: Api, name: str) -> None:
    async def is_taken() -> bool:
        return (await api.post(purchase(name))).status_code in (200, 202)

    await eventually(is_taken, 30)


async def check_that_nothing_is_refused(api: Api) -> None:
    """Whatever is wrong is not wrong with the events: they are sent again."""
    answers = [await api.post(purchase("one")), await api.batch([purchase("two"), purchase("six")])]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert (await api.client.get("/healthz")).status_code == 200


async def test_a_database_that_lets_nobody_in_refuses_no_event(
    api: Api, database_url: str, server: str
) -> None:
    await takes(api, "before")
    database = name_of(database_url)
    await run(
        server, f"alter database {database} allow_connections false", end_connections(database)
    )
    await check_that_nothing_is_refused(api)
    await run(server, f"alter database {database} allow_connections true")
    await takes(api, "one")


async def test_a_server_that_takes_no_writes_is_left_for_the_next_one(
    api: Api, database_url: str, server: str
) -> None:
    await takes(api, "before")
    database = name_of(database_url)
    setting = f"alter database {database} set default_transaction_read_only"
    await run(server, f"{setting} = on", end_connections(database))
    await check_that_nothing_is_refused(api)

    async def says_no() -> bool:
        return (await api.client.get("/readyz")).status_code == 503

    await eventually(says_no)
    await run(server, f"{setting} = off")
    await takes(api, "one")
    await takes(api, "two")
    assert (await api.client.get("/readyz")).status_code == 200


async def test_events_wait_for_a_partition_that_is_not_there_yet(
    database_url: str, seeded: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a clock that was months behind, or ahead, was set right."""
    monkeypatch.setattr(background, "PARTITION_SECONDS", 1.0)
    async with service_in_process(database_url, seeded) as api:
        await takes(api, "before")
        await api.fetch(f"drop table event_{clock.now():%Y_%m}")
        await check_that_nothing_is_refused(api)
        await takes(api, "one")


async def test_no_tenant_has_all_of_the_queue(database_url: str, seeded: Seed) -> None:
    other = await seed(database_url, "other")
    settings: dict[str, Any] = {"max_queue_events": 40, "max_flush_events": 10, "flush_lanes": 1}
    async with service_in_process(database_url, seeded, **settings) as api:
        await takes(api, "before")
        assert (await api.post(purchase("before"), key=other.key)).status_code == 202
        holder = await asyncpg.connect(database_url)
        try:
            async with holder.transaction():
                await holder.execute("lock table event")
                many = []
                for wave in range(3):  # a flush takes some away, and there is room again
                    many += [
                        asyncio.create_task(api.post(purchase(f"e{wave}_{n}"))) for n in range(60)
                    ]
                    await asyncio.wait(many[-60:], timeout=0.3)
                late = asyncio.create_task(api.post(purchase("late"), key=other.key))
                await asyncio.wait({late}, timeout=0.3)
                assert not late.done()
        finally:
            await holder.close()
        assert (await late).status_code == 202
        codes = [answer.status_code for answer in await asyncio.gather(*many)]
    assert set(codes) == {202, 503}


async def test_no_tenant_has_every_connection_of_readers(database_url: str) -> None:
    pool = await open_reading_pool(database_url, max_size=2, statement_seconds=5)
    greedy, modest = Share(pool), Share(pool)
    try:
        async with greedy.acquire():
            second = asyncio.create_task(hold(greedy))
            await asyncio.wait({second}, timeout=0.2)
            async with asyncio.timeout(5), modest.acquire() as connection:
                assert await connection.fetchval("select 1") == 1
            assert not second.done()
        await second
    finally:
        await close_pool(pool)


async def hold(share: Share) -> None:
    async with share.acquire():
        pass


async def test_a_database_of_a_newer_version_is_not_touched(database_url: str) -> None:
    await run(
        database_url,
        "insert into migration (name, app_name, ran_on)"
        " values ('2999-01-01T00:00:00', 'cdp', now())",
    )
    with pytest.raises(MigrationError, match=r"newer version of the service \(2999-01-01"):
        await migrate(database_url)


@pytest.fixture
def latin(databases: Databases) -> Iterator[str]:
    name = "cdp_test_latin"
    server = databases.url("postgres")
    create = f"create database {name} encoding 'LATIN1' locale 'C' template template0"
    asyncio.run(run(server, f"drop database if exists {name}", create))
    yield databases.url(name)
    databases.drop(name)


async def test_a_database_that_cannot_hold_every_name_is_not_used(latin: str) -> None:
    with pytest.raises(MigrationError, match="its encoding is LATIN1"):
        await migrate(latin)
    await run(latin, "create table migration (id int)")  # nothing of ours was made


def test_data_is_never_kept_where_it_does_not_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDP_DATA_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda *_: False)
    for home in (lambda: Path("/home/nobody"), no_home):
        monkeypatch.setattr(Path, "home", home)
        with pytest.raises(EmbeddedPostgresError, match="CDP_DATA_DIR"):
            default_data_dir()


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")
