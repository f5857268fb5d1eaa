"""Migrations, Piccolo's tables and the rules of a schema that can grow past one machine agree."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import asyncpg
import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards

from app.db import tables
from app.db.migrate import migrate, pending_migrations
from app.db.partitions import drop_partitions, make_partitions, partition_names
from app.db.pool import close_pool, open_pool
from app.db.transaction import transaction

EVENT_SIDE = [
    "event_key", "event", "delivery", "identifier", "profile", "profile_merge",
    "identity_conflict", "quarantine", "ingest_stat", "ingest_stat_hour", "ingest_stat_day",
    "ingest_stat_progress", "ingest_freshness",
]  # fmt: skip

MANAGED = [
    tables.Tenant, tables.ApiKey, tables.Source, tables.EventType, tables.EventTypeVersion,
    tables.EventTypeDraft, tables.Property, tables.RegistryChange,
]  # fmt: skip


@pytest.fixture
async def connection(database_url: str):  # type: ignore[no-untyped-def]
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("table", MANAGED, ids=lambda table: table._meta.tablename)
async def test_piccolo_s_tables_are_those_of_the_migrations(
    connection: asyncpg.Connection, table: type[tables.Table]
) -> None:
    rows = await connection.fetch(
        "select column_name, is_nullable = 'YES' as nullable from information_schema.columns"
        " where table_name = $1",
        table._meta.tablename,
    )
    in_database = {row["column_name"]: row["nullable"] for row in rows}
    in_piccolo = {c._meta.db_column_name: c._meta.null for c in table._meta.columns}
    assert in_piccolo == in_database


@pytest.mark.parametrize("table", EVENT_SIDE)
async def test_every_event_side_table_is_keyed_by_bucket_first(
    connection: asyncpg.Connection, table: str
) -> None:
    rows = await connection.fetch(
        "select i.indisprimary, (select attname from pg_attribute a where a.attrelid = i.indrelid"
        " and a.attnum = i.indkey[0]) as first"
        " from pg_index i where i.indrelid = $1::text::regclass and i.indisunique",
        table,
    )
    assert [(row["indisprimary"], row["first"]) for row in rows] == [(True, "bucket")]


@pytest.mark.parametrize("table", EVENT_SIDE)
async def test_event_side_tables_have_no_foreign_keys_and_no_triggers(
    connection: asyncpg.Connection, table: str
) -> None:
    foreign = await connection.fetchval(
        "select count(*) from pg_constraint where contype = 'f' and conrelid = $1::text::regclass",
        table,
    )
    triggers = await connection.fetchval(
        "select count(*) from pg_trigger where tgrelid = $1::text::regclass", table
    )
    assert (foreign, triggers) == (0, 0)


async def test_a_second_migration_has_nothing_to_do(
    connection: asyncpg.Connection, database_url: str
) -> None:
    assert await pending_migrations(connection) == []
    assert await migrate(database_url) == []


async def test_every_migration_can_be_undone_and_made_again(
    database_url: str, connection: asyncpg.Connection
) -> None:
    """With marked properties, whose tables are not in any migration."""
    definitions = (
        "select tablename, indexdef from pg_indexes where schemaname = 'public'"
        " and tablename !~ '_\\d{4}_\\d\\d$' and tablename not like 'segment_value_%' order by 1, 2"
    )
    before = await connection.fetch(definitions)
    assert await connection.fetchval("select count(*) from segment_property") > 0
    pool = await open_pool(database_url, max_size=1)
    try:
        async with transaction():
            with contextlib.redirect_stdout(io.StringIO()) as said:
                result = await run_backwards("cdp", "all", auto_agree=True)
    finally:
        await close_pool(pool)
    assert result.success, said.getvalue()
    left = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
    assert [row["tablename"] for row in left] == ["migration"]
    assert await migrate(database_url)
    assert await connection.fetch(definitions) == before


async def test_migrations_run_from_three_places_at_once_run_once(empty_database_url: str) -> None:
    import asyncio
    import sys

    code = "import asyncio, sys; from app.db.migrate import migrate;"
    code += " print(len(asyncio.run(migrate(sys.argv[1]))))"
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, empty_database_url, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    printed = [(await process.communicate())[0].decode().strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    there = len(list((Path(__file__).parents[2] / "migrations").glob("cdp_*.py")))
    assert sorted(printed, key=int) == ["0", "0", str(there)]


async def test_partitions_are_made_ahead_once(connection: asyncpg.Connection) -> None:
    assert await make_partitions(connection, 3) == []
    assert len(await partition_names(connection, "event")) == 4
    made = await make_partitions(connection, 5)
    assert len(made) == 4
    assert {name.rsplit("_", 2)[0] for name in made} == {"event", "delivery"}


@pytest.mark.contract("4.8: the dedupe window is for ever")
async def test_retention_drops_whole_months_and_leaves_the_ledger(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        "create table event_2020_01 partition of event"
        " for values from ('2020-01-01 00:00+00') to ('2020-02-01 00:00+00')"
    )
    await connection.execute(
        "insert into event_key values (1, gen_random_uuid(), 1, gen_random_uuid(),"
        " '2020-01-15 00:00+00', 0)"
    )
    assert await drop_partitions(connection, 0) == []
    assert await drop_partitions(connection, 365) == ["event_2020_01"]
    assert await connection.fetchval("select count(*) from event_key") == 1
    assert len(await partition_names(connection, "event")) == 4
