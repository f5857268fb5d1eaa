"""What is read of counters and quarantine is what was asked for, however much there is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app import clock
from app.db.pool import Connection, close_pool, open_pool, open_reading_pool
from app.db.scan import PAGE_BYTES, SCANNED_ROWS
from app.quarantine.reading import SQL as QUARANTINE
from app.replay.queries import SQL as REPLAY
from app.stats.reading import ALL, SQL
from app.stats.rollup import SQL as ROLLUP
from app.stats.steps import DAY, HOUR, Step, cover, step_starts
from tests.sql.test_plans import rows_ahead, walk
from tests.support import Seed

PAIRS = 6
FILLED_HOURS = 40 * 24


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    pool = await open_reading_pool(database_url, max_size=1, statement_seconds=30)
    async with pool.acquire() as connection:
        yield connection
    await close_pool(pool)


@pytest.fixture
async def filled(connection: Connection, seeded: Seed) -> datetime:
    """Roll-ups of 40 days for 6 × 6 sources and types; returns until when."""
    until = clock.now().replace(minute=0, second=0, microsecond=0)
    await connection.execute(
        "insert into ingest_stat_hour"
        " select 0, $1, s, t, h, 1, '', 4, array[1, 1, 1, 1]::bigint[]"
        " from unnest($2::bigint[]) s cross join unnest($2::bigint[]) t"
        " cross join generate_series($3::timestamptz, $4, interval '1 hour') h",
        seeded.tenant_id, [ALL, *range(PAIRS)], until - FILLED_HOURS * HOUR, until - HOUR,
    )  # fmt: skip
    await connection.execute(
        "insert into ingest_stat select 0, $1, m, 0, 0, 1, '', 0, 1, 1"
        " from generate_series($2::timestamptz, $3, interval '1 minute') m",
        seeded.tenant_id, until - 5 * DAY, until + HOUR,
    )  # fmt: skip
    await connection.execute(
        "insert into ingest_stat_progress values (0, $1, $2, date_trunc('day', $2::timestamptz))",
        seeded.tenant_id, until,
    )  # fmt: skip
    await connection.execute("analyze")
    return until


async def explained(connection: Connection, sql: str, *arguments: Any) -> list[dict[str, Any]]:
    text = await connection.fetchval(f"explain (analyze, format json) {sql}", *arguments)
    return list(walk(json.loads(text)[0]["Plan"]))


def counts_of(
    tenant_id: int, starts: Sequence[datetime], days_until: datetime, ids: list[int]
) -> Any:
    parts = cover(starts, days_until)
    bounds = [
        [limits[side] for limits in ranges]
        for ranges in (parts.days, parts.hours, parts.minutes)
        for side in (0, 1)
    ]
    apart = (ids != [ALL], False, True, True)
    outcomes = [1, 2, 3, 4]
    return tenant_id, starts, *bounds, ids, [ALL], outcomes, parts.cuts, *apart, 10_000


def rows_read(nodes: list[dict[str, Any]], table: str) -> int:
    scans = [node for node in nodes if node.get("Relation Name", node.get("Alias")) == table]
    return sum(
        round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in scans
    )


@pytest.mark.parametrize("ids", [[ALL], list(range(PAIRS))], ids=["totals", "by source"])
async def test_a_chart_of_thirty_days_reads_its_own_hours_and_no_others(
    connection: Connection, seeded: Seed, filled: datetime, ids: list[int]
) -> None:
    starts = step_starts(filled - 30 * DAY, filled + HOUR, Step.HOUR, ZoneInfo("UTC"))
    nodes = await explained(
        connection,
        SQL["read_counts"],
        *counts_of(seeded.tenant_id, starts, filled, ids),
    )
    assert rows_read(nodes, "ingest_stat_hour") == 720 * len(ids)
    assert rows_read(nodes, "ingest_stat") == 60
    for node in nodes:
        if node.get("Relation Name") == "ingest_stat_hour":
            for column in ("tenant_id", "source_id", "event_type_id", "hour"):
                assert column in node["Index Cond"], node


async def test_a_total_of_a_month_reads_days_and_the_hours_at_its_ends(
    connection: Connection, seeded: Seed, filled: datetime
) -> None:
    start = (filled - 30 * DAY).replace(hour=22)
    starts = step_starts(start, filled, Step.WHOLE, ZoneInfo("UTC"))
    nodes = await explained(
        connection,
        SQL["read_counts"],
        *counts_of(seeded.tenant_id, starts, filled, [ALL]),
    )
    hours = rows_read(nodes, "ingest_stat_hour")
    # Older ones tell whole rows a loop, rounded.
    assert abs(hours - (2 + filled.hour)) <= rows_ahead(connection)
    assert rows_read(nodes, "ingest_stat") == 0


async def test_of_many_pairs_only_those_with_something_of_it_are_looked_up(
    connection: Connection, seeded: Seed, filled: datetime
) -> None:
    await connection.execute(
        "insert into ingest_stat_hour"
        " select 0, $1, s, t, $2, 4, 'size', 1, array[1, 0, 0, 0]::bigint[]"
        " from unnest('{-1, 2}'::bigint[]) s cross join unnest('{-1, 3}'::bigint[]) t",
        seeded.tenant_id, filled - 2 * HOUR,
    )  # fmt: skip
    parts = cover([filled - 20 * HOUR, filled], filled - DAY)
    bounds = [[filled - 20 * HOUR], [filled]]
    many = list(range(40))
    nodes = await explained(
        connection, SQL["read_counts"], seeded.tenant_id, [filled - 20 * HOUR, filled],
        [], [], *bounds, [], [], many, many, [4], parts.cuts, True, True, False, True, 10,
    )  # fmt: skip
    assert nodes[0]["Actual Rows"] == 1
    probes = sum(
        node["Actual Loops"] for node in nodes if node.get("Relation Name") == "ingest_stat_hour"
    )
    assert probes == 40 + 40 + 1


async def test_rolling_up_reads_what_it_sums_up(
    connection: Connection, seeded: Seed, filled: datetime
) -> None:
    hour = filled - 2 * HOUR
    for name in ("roll_hour", "note_last_minutes"):
        nodes = await explained(connection, ROLLUP[name], seeded.tenant_id, hour, hour + HOUR)
        assert rows_read(nodes, "ingest_stat") == 60, name
    day = (filled - 2 * DAY).replace(hour=0)
    nodes = await explained(connection, ROLLUP["roll_day"], seeded.tenant_id, day)
    assert rows_read(nodes, "ingest_stat_hour") == 24 * (PAIRS + 1) ** 2
    nodes = await explained(connection, ROLLUP["note_usual_gaps"], filled, 50, filled)
    assert rows_read(nodes, "ingest_stat_hour") == 14 * 24


async def test_the_next_hour_is_found_without_reading_the_ones_before(
    connection: Connection, seeded: Seed, filled: datetime
) -> None:
    for name, arguments in (
        ("next_hour", (seeded.tenant_id, filled - 2 * HOUR)),
        ("start_progress", ()),
    ):
        nodes = await explained(connection, ROLLUP[name], *arguments)
        assert rows_read(nodes, "ingest_stat") == 1, name


@pytest.fixture
async def quarantined(connection: Connection, seeded: Seed) -> int:
    """Items of two sources; returns how many."""
    number = 3_000
    await connection.execute(
        "insert into quarantine (bucket, quarantine_id, tenant_id, received_at, expires_at,"
        " api_key_id, source, event_type, error_code, reasons, size_bytes, payload)"
        " select 0, gen_random_uuid(), $1 + n % 2, now() - n * interval '1 second', now(), 1,"
        " 's' || n % 10, 't', 'validation_failed', $3::jsonb, 1, ''"
        " from generate_series(1, $2) n",
        seeded.tenant_id, 2 * number, '[{"path": "/a", "code": "size"}]',
    )  # fmt: skip
    await connection.execute("analyze")
    return number


async def test_a_page_of_quarantine_reads_a_page_and_a_rare_one_a_bounded_scan(
    connection: Connection, seeded: Seed, quarantined: int
) -> None:
    ever = datetime(1, 1, 1, tzinfo=ZoneInfo("UTC")), datetime(9999, 1, 1, tzinfo=ZoneInfo("UTC"))

    async def read(source: str | None, scanned: int) -> int:
        nodes = await explained(
            connection, QUARANTINE["scan_items"], seeded.tenant_id, *ever, bytes(16), scanned, 51,
            None, None, None, source, None, None, PAGE_BYTES,
        )  # fmt: skip
        assert not any(node["Node Type"] == "Seq Scan" for node in nodes)
        return rows_read(nodes, "quarantine")

    ahead = rows_ahead(connection)
    assert await read(None, SCANNED_ROWS) == 51 + ahead
    assert await read("nobody", 500) == 500 + ahead


async def test_groups_and_steps_of_a_replay_are_bounded(
    connection: Connection, seeded: Seed, quarantined: int
) -> None:
    now = clock.now()
    stretch = now - timedelta(days=1), now + timedelta(days=1)
    nobody = (None, None, None, "nobody", None)
    for which in ([None] * 5, nobody):
        nodes = await explained(
            connection, QUARANTINE["list_groups"], seeded.tenant_id, *stretch, *which, 1_000, 10
        )
        assert rows_read(nodes, "quarantine") in (1_000, 1_001)  # Postgres 15 looks one row ahead
    nodes = await explained(
        connection, QUARANTINE["scan_oldest"], seeded.tenant_id, now - timedelta(days=1),
        bytes(16), *stretch, *nobody, 200,
    )  # fmt: skip
    assert rows_read(nodes, "quarantine") == 200


async def test_open_items_are_found_without_reading_those_that_are_resolved(
    connection: Connection, seeded: Seed, quarantined: int
) -> None:
    await connection.execute(
        "update quarantine set resolution = 4, resolved_at = now()"
        " where received_at < now() - interval '100 seconds'"
    )
    await connection.execute("analyze quarantine")
    still_open = await connection.fetchval(
        "select count(*) from quarantine where tenant_id = $1 and resolution is null",
        seeded.tenant_id,
    )
    assert 0 < still_open < quarantined
    nobody = (None, None, None, "nobody", None)
    stretch = clock.now() - timedelta(days=1), clock.now()
    for name, last in (("scan_open", [1_000]), ("list_groups", [1_000, 10])):
        nodes = await explained(
            connection, QUARANTINE[name], seeded.tenant_id, *stretch, *nobody, *last
        )
        assert "quarantine_open" in [node.get("Index Name") for node in nodes], name
        assert rows_read(nodes, "quarantine") == still_open, name


async def test_what_is_under_way_is_found_by_its_index(database_url: str) -> None:
    pool = await open_pool(database_url, max_size=1)
    try:
        async with pool.acquire() as connection, connection.transaction():
            nodes = await explained(connection, REPLAY["claim_replay"])
    finally:
        await close_pool(pool)
    assert "quarantine_replay_running" in [node.get("Index Name") for node in nodes]
