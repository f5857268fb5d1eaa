"""Pages of events by property read indexes only, no further than they may, at any depth.

The tables are filled and analysed first: these statements run with the planner's own choices.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from app.db.pool import READING_SETTINGS, prepare_connection
from app.db.scan import Position
from app.ingest import by_property, reading
from app.ingest.reading import Order, Selection, find_event_page
from app.segments.conditions import Exists, OneOf, Predicate, Range, Test
from app.segments.queries import StoredMark, find_event_types, read_stored_marks, value_table
from tests.sql.test_plans import rows_ahead, walk
from tests.support import Seed

BOUGHT = "purchase_completed"
EVENTS = 12_000
SCANNED = 400
"""What a page may look at here."""
FIRST = 20
DAYS = 6
"""Events occur at midnight only: many of them at one instant."""

FILL = """
insert into event (bucket, event_key, received_at, tenant_id, source_id, event_type_id, version_id,
                   api_key_id, external_event_id, occurred_at, occurred_at_sent, profile_id,
                   size_bytes, identity, properties)
select ('x' || left(md5(n::text), 3))::bit(12)::int, md5(n::text)::uuid,
       $3::timestamptz + n * interval '1 second', $1, s.id, $2, v.id, k.id, n::text,
       date_trunc('day', $3::timestamptz) - (n % $4::int) * interval '1 day', true,
       md5((n % 500)::text)::uuid, 100, '{}', '{}'
from generate_series(1, $5::int) as n
cross join (select min(id) as id from source) s
cross join (select min(id) as id from api_key) k
cross join (select min(id) as id from event_type_version where event_type_id = $2) v
"""
VALUES = {
    # One value in ten is that of a broad store, the rest are of 3,000 others.
    "store_id": "case when n % 10 = 0 then 'store_0' else 'store_' || n % 3000 end",
    "amount": "n",
    # One event in a hundred has one.
    "channel": "case when n % 100 = 0 then 'web' end",
}


@pytest.fixture
async def filled(database_url: str, seeded: Seed) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url, server_settings=READING_SETTINGS)
    await prepare_connection(connection)
    start = datetime.now(UTC) - timedelta(seconds=EVENTS)
    try:
        await connection.execute(
            "insert into source (tenant_id, name, first_seen_at) values ($1, 'brand.pos', $2)",
            seeded.tenant_id,
            start,
        )
        [type_id] = (await find_event_types(connection, seeded.tenant_id, [BOUGHT])).values()
        await connection.execute(FILL, seeded.tenant_id, type_id, start, DAYS, EVENTS)
        for name, held in (await marks(connection, seeded)).items():
            if name in VALUES:
                await connection.execute(
                    f"insert into {value_table(held.mark.mark_id)} select bucket, received_at,"
                    f" event_key, profile_id, occurred_at, value from event, lateral"
                    f" (select {VALUES[name]} as value"
                    "  from (select external_event_id::int as n) number) v"
                    " where value is not null"
                )
        await connection.execute("analyze")
        yield connection
    finally:
        await connection.close()


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SCANNED_ROWS", SCANNED)
    monkeypatch.setattr(by_property, "SCANNED_ROWS", SCANNED)


async def marks(connection: asyncpg.Connection, seeded: Seed) -> dict[str, StoredMark]:
    """Of purchases, by property."""
    types = await find_event_types(connection, seeded.tenant_id, [BOUGHT])
    held = await read_stored_marks(connection, seeded.tenant_id, list(types.values()))
    return {one.mark.name: one for one in held}


def amount(**bounds: int) -> Range:
    operators = {"at_least": ">=", "below": "<"}
    return Range(tuple((operators[name], Decimal(n)) for name, n in bounds.items()))


CASES: Sequence[tuple[str, list[tuple[str, Test]], int]] = [
    # tests, and how many entries of indexes a page reads at most
    ("equals, many", [("store_id", OneOf(("store_0",)))], FIRST + 1),
    ("equals, few", [("store_id", OneOf(("store_7",)))], FIRST + 1),
    ("in", [("store_id", OneOf(("store_0", "store_7", "store_11", "store_13")))], FIRST + 4),
    ("range, narrow", [("amount", amount(at_least=5_000, below=5_200))], 2 * 200),
    ("range, broad", [("amount", amount(at_least=2_000))], 4 * SCANNED),
    ("range that is rare in time", [("amount", amount(below=500))], 4 * SCANNED),
    ("exists, few", [("channel", Exists(True))], 3 * SCANNED),
    ("exists, many", [("amount", Exists(True))], 4 * SCANNED),
    ("does not exist", [("channel", Exists(False))], 2 * SCANNED),
    (
        "two, one narrow",
        [("store_id", OneOf(("store_0",))), ("amount", amount(below=300))],
        4 * SCANNED,
    ),
    (
        "two, both broad",
        [("store_id", OneOf(("store_0",))), ("amount", amount(below=6_000))],
        5 * SCANNED,
    ),
]


async def selection_of(
    connection: asyncpg.Connection, seeded: Seed, tests: Sequence[tuple[str, Test]], order: Order
) -> Selection:
    held = await marks(connection, seeded)
    return Selection(
        order=order,
        event_type_id=held["amount"].mark.event_type_id,
        properties=tuple(Predicate(held[name].mark, test) for name, test in tests),
    )


async def plans_of_a_page(
    connection: asyncpg.Connection, seeded: Seed, selection: Selection, after: Position | None
) -> list[dict[str, Any]]:
    """The nodes of all plans of a page's scan, and of what is counted before it."""
    asked: list[Any] = []
    connection.add_query_logger(asked.append)
    await find_event_page(connection, seeded.tenant_id, selection, first=FIRST, after=after)
    await asyncio.sleep(0)  # statements are logged by the loop
    connection.remove_query_logger(asked.append)
    scans = [q for q in asked if "segment_value_" in q.query]
    nodes: list[dict[str, Any]] = []
    async with by_property.kept_to_indexes(connection):
        for scan in scans:
            explained = await connection.fetchval(
                f"explain (analyze, format json) {scan.query}", *scan.args
            )
            nodes += walk(json.loads(explained)[0]["Plan"])
    assert nodes
    return nodes


def looked_at(node: dict[str, Any]) -> float:
    rows = float(node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
    return rows * float(node["Actual Loops"])


@pytest.mark.parametrize("order", list(Order))
async def test_a_page_reads_indexes_only_and_no_further_than_it_may(
    filled: asyncpg.Connection, seeded: Seed, order: Order
) -> None:
    at = "received_at" if order is Order.RECEIVED else "occurred_at"
    middle = await filled.fetchrow(
        f"select {at}, event_key from event order by {at} desc, event_key desc offset {EVENTS // 2}"
    )
    assert middle is not None
    for after in (None, Position(*middle)):
        for name, tests, most in CASES:
            selection = await selection_of(filled, seeded, tests, order)
            nodes = await plans_of_a_page(filled, seeded, selection, after)
            assert not [node for node in nodes if node["Node Type"] == "Seq Scan"], (name, nodes)
            scans = [node for node in nodes if "Index Name" in node]
            read = sum(looked_at(node) for node in scans)
            allowed = most if order is Order.OCCURRED else 5 * SCANNED  # no index by receipt
            assert read <= allowed + FIRST + 2 + 3 * rows_ahead(filled), (name, after, read, nodes)


async def test_single_values_are_read_in_the_order_of_the_list(
    filled: asyncpg.Connection, seeded: Seed
) -> None:
    """Whatever occurred at one instant, nothing is sorted, so a scan stops with its page; and it
    begins at its position, as other scans by occurrence do."""
    for name, tests, _ in CASES[:3]:
        selection = await selection_of(filled, seeded, tests, Order.OCCURRED)
        nodes = await plans_of_a_page(filled, seeded, selection, None)
        assert not [node for node in nodes if "Sort" in node["Node Type"]], (name, nodes)
        conditions = [n["Index Cond"] for n in nodes if "_value" in n.get("Index Name", "")]
        assert conditions
        assert all("(ROW(occurred_at, event_key) < " in one for one in conditions), conditions
        assert not any("(occurred_at < " in one for one in conditions), conditions


async def test_pages_together_are_the_list(filled: asyncpg.Connection, seeded: Seed) -> None:
    for order in Order:
        at = "received_at" if order is Order.RECEIVED else "occurred_at"
        for name, tests, _ in CASES:
            selection = await selection_of(filled, seeded, tests, order)
            rows = await filled.fetch(
                f"select external_event_id::int from event order by {at} desc, event_key desc"
            )
            expected = [str(n) for [n] in rows if all(meets(n, *test) for test in tests)]
            found: list[str] = []
            after = None
            while True:
                page = await find_event_page(
                    filled, seeded.tenant_id, selection, first=200, after=after
                )
                found += [event.external_event_id for event in page.events]
                after = page.resume
                if after is None:
                    break
            assert found == expected, (name, order)


def meets(n: int, property: str, test: Test) -> bool:
    """Whether the event of this number passes a test, as VALUES say."""
    store = "store_0" if n % 10 == 0 else f"store_{n % 3000}"
    values: dict[str, Any] = {
        "store_id": store,
        "amount": n,
        "channel": None if n % 100 else "web",
    }
    value = values[property]
    match test:
        case OneOf():
            return value in test.values
        case Exists():
            return (value is not None) == test.present
        case Range():
            return all(value >= end if op == ">=" else value < end for op, end in test.bounds)
