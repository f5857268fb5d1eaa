"""Batches of an impact run read what they return, in the order of an index, and sort nothing.

With the planner's own choices, as on the connections that run them, and some rows to choose by.
"""

from __future__ import annotations

import json
import re

import asyncpg
import pytest

from app import clock
from app.db.pool import READING_SETTINGS
from app.impact.queries import SQL
from tests.sql.test_plans import walk
from tests.support import Seed

FILL = [
    "insert into source (tenant_id, name, first_seen_at) values (1, 'pos', now())",
    """
    insert into event (bucket, event_key, received_at, tenant_id, source_id, event_type_id,
                       version_id, api_key_id, external_event_id, occurred_at, occurred_at_sent,
                       size_bytes, identity, properties)
    select n % 4096, gen_random_uuid(), now(), 1,
           (select id from source), 1 + n % 5, 1, 1, n::text, now() - n * interval '1 minute', true,
           200, '{}', '{"amount": 1}'
    from generate_series(1, 20000) n
    """,
    """
    insert into quarantine (bucket, quarantine_id, tenant_id, received_at, expires_at, api_key_id,
                            source, event_type, error_code, reasons, size_bytes, payload)
    select n % 4096, gen_random_uuid(), 1, now() - n * interval '1 minute', now(), 1, 'pos',
           't' || n % 5, 'validation_failed', '[]', 2, '{}'
    from generate_series(1, 20000) n
    """,
    """
    insert into impact_run (run_id, tenant_id, event_type, version_ids, document, max_events,
                            requested_by, requested_at, state, cursor_at, cursor_id, result,
                            claimed_until, finished_at)
    select gen_random_uuid(), 1, 't' || n % 5, '{}', '{}', 1, 'x', now() - n * interval '1 minute',
           'DONE', now(), gen_random_uuid(), '{}', now(), now()
    from generate_series(1, 2000) n
    """,
    "analyze",
]

DAY = "now() - interval '1 day'"
LAST = "now() - interval '3 hours', 'ffffffff-ffff-ffff-ffff-ffffffffffff'"

CALLS: list[tuple[str, str, set[str]]] = [
    ("read_events", f"1, 2, {LAST}, {DAY}, now(), 500, 4194304", {"event"}),
    ("read_quarantined", f"1, 't2', {LAST}, {DAY}, now(), 500, 4194304", {"quarantine"}),
    ("count_items", f"1, 2, 't2', {DAY}, 100000", {"event", "quarantine"}),
    ("list_runs", f"1, 't2', {LAST}, 50", {"impact_run_type"}),
    ("claim_run", "now(), now(), 5", {"impact_run_unfinished", "impact_run_pkey"}),
    ("delete_runs", "now() - interval '1 year'", {"impact_run_requested"}),
]
"""Statement, arguments, what it is read by; `event` and `quarantine`: by tenant, type and time."""

BY_TYPE_AND_TIME = {
    "quarantine_type_received": "quarantine",
    f"event_{clock.now():%Y_%m}_tenant_id_event_type_id_occurred_at_event_key_idx": "event",
}


@pytest.fixture
async def connection(database_url: str, seeded: Seed):  # type: ignore[no-untyped-def]
    assert seeded.tenant_id == 1
    connection = await asyncpg.connect(database_url, server_settings=READING_SETTINGS)
    for statement in FILL:
        await connection.execute(statement)
    yield connection
    await connection.close()


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_batches_and_lists_come_from_their_indexes_in_order(
    connection: asyncpg.Connection, mode: str
) -> None:
    await connection.execute(f"set plan_cache_mode = {mode}")
    for name, arguments, expected in CALLS:
        await connection.execute(f"prepare {name} as {SQL[name]}")
        explained = await connection.fetchval(f"explain (format json) execute {name} ({arguments})")
        nodes = list(walk(json.loads(explained)[0]["Plan"]))
        indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
        assert {BY_TYPE_AND_TIME.get(index, index) for index in indexes} == expected, explained
        for node in nodes:
            assert "Sort" not in node["Node Type"], explained
            if node.get("Index Name") in BY_TYPE_AND_TIME:
                assert re.search(r"tenant_id = .* AND \(event_type", node["Index Cond"]), explained
                assert re.search(r"(occurred|received)_at >= ", node["Index Cond"]), explained
