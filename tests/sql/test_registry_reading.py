"""What governance reads is served by an index, and what was there before it is taken over."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.db.pool import prepare_connection
from app.registry.audit.queries import SQL as AUDIT
from app.registry.senders.queries import SQL as SENDERS
from app.registry.senders.queries import read_senders
from tests.support import Api, Seed, purchase, service_in_process

MIGRATION = Path(__file__).parents[2] / "migrations" / "cdp_2026_11_24t10_00_00_000000.py"
EVER = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    await prepare_connection(connection)
    yield connection
    await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def conditions(connection: Any, sql: str, *arguments: Any) -> dict[str, str]:
    """Index → what is looked up in it, in the plan for a table that is worth an index."""
    await connection.execute("set enable_seqscan = off")
    plan = await connection.fetchval(f"explain (format json) {sql}", *arguments)
    found = nodes(json.loads(plan)[0]["Plan"])
    return {
        node["Index Name"]: node.get("Index Cond", "") for node in found if "Index Name" in node
    }


async def test_a_subject_s_changes_are_looked_up_by_subject(connection: Any, seeded: Seed) -> None:
    await connection.execute(
        "insert into registry_change (tenant_id, changed_at, actor, action, subject)"
        " select $1, now(), 'test', 'event_type_created', 'type_' || n"
        " from generate_series(1, 20000) n",
        seeded.tenant_id,
    )
    await connection.execute("analyze registry_change")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    arguments = (tomorrow, 2**63 - 1, EVER, tomorrow, "type_7", None, None, True, 50)
    used = await conditions(connection, AUDIT["list_changes"], seeded.tenant_id, *arguments)
    assert used.keys() == {"registry_change_subject"}


async def test_senders_are_looked_up_by_event_type(
    database_url: str, connection: Any, seeded: Seed
) -> None:
    async with service_in_process(database_url, seeded) as api:
        await api.post(purchase("a"))
    type_id = await connection.fetchval("select event_type_id from ingest_stat limit 1")
    used = await conditions(
        connection, SENDERS["read_sending_sources"], seeded.tenant_id, [type_id], EVER, 50
    )
    assert "event_type_id" in used["ingest_stat_event_type"]
    used = await conditions(
        connection, SENDERS["read_sending_keys"], seeded.tenant_id, [type_id], EVER, 1000
    )
    by_type = [name for name in used if "event_type_id" in used[name]]
    assert any("tenant_id_event_type_id_occurred_at" in name for name in by_type), used
    assert any("quarantine_received" in name for name in used), used


async def test_keys_of_senders_are_looked_for_in_so_many_rows_and_no_more(
    api: Api, connection: Any
) -> None:
    rare = await api.new_key(name="rare")
    await api.post(purchase("old", occurredAt="2020-01-01T00:00:00Z"), key=rare)
    await api.batch([purchase(f"n{n}") for n in range(5)])
    type_id = await connection.fetchval("select event_type_id from event limit 1")
    for sample, names in ((5, {"test"}), (6, {"test", "rare"})):
        found = await read_senders(
            connection, api.tenant_id, [type_id], since=EVER, max_sources=10, sample=sample
        )
        [sender] = found[type_id]
        assert sender.events == 6
        assert {key.name for key in sender.keys} == names


async def test_versions_that_were_forced_before_the_migration_are_known_as_forced(
    connection: Any, seeded: Seed
) -> None:
    spec = importlib.util.spec_from_file_location("migration", MIGRATION)
    assert spec is not None and spec.loader is not None
    migration = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(migration)
    for statement in migration.UNDO:
        await connection.execute(statement)
    await connection.execute(
        "insert into registry_change (tenant_id, changed_at, actor, action, subject, reason)"
        " values ($1, now(), 'cli', 'version_forced', 'purchase_completed/2', 'tills')",
        seeded.tenant_id,
    )
    for statement in migration.STATEMENTS:
        await connection.execute(statement)
    rows = await connection.fetch(
        "select t.name, v.version, v.reason from event_type_version v"
        " join event_type t on t.id = v.event_type_id where v.forced"
    )
    assert [tuple(row) for row in rows] == [("purchase_completed", 2, "tills")]
    said = await connection.fetchval(
        "select settings_in_files->>'compatibility' from event_type where name = 'app_opened'"
    )
    assert said == "BACKWARD_TRANSITIVE"
