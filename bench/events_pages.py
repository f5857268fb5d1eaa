"""Measures pages of events on many of them: `python -m bench.events_pages`.

Fills an embedded Postgres of its own (`bench.many_events`), then reads pages as the GraphQL API
does, the first one and one at the far end. Prints the index that was read, entries and blocks
looked at, and the median of warm runs.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal
from typing import Any

from app.db.pool import Connection, Pool
from app.db.scan import Position
from app.ingest import by_property
from app.ingest.people import find_person_pages
from app.ingest.reading import Order, Selection, find_event_page
from app.segments import queries
from app.segments.conditions import Exists, OneOf, Predicate, Range, Test
from bench.many_events import BOUGHT, PERSON, beginning, fill
from bench.scratch import main

RUNS = 11
FIRST = 50


async def selections(connection: Connection, tenant_id: int) -> Mapping[str, Selection]:
    """What is asked for, and how frequent it is."""
    row = await connection.fetchrow(
        "select t.id as type_id, (select min(id) from source) as source_id,"
        " (select min(id) from event_type_version v where v.event_type_id = t.id) as version_id"
        " from event_type t where t.tenant_id = $1 and t.name = $2",
        tenant_id,
        BOUGHT,
    )
    assert row is not None
    type_id, source_id, version_id = row
    held = await queries.read_stored_marks(connection, tenant_id, [type_id])
    marks = {one.mark.name: one.mark for one in held}

    def having(*tests: tuple[str, Test]) -> Selection:
        predicates = tuple(Predicate(marks[name], test) for name, test in tests)
        return Selection(order=Order.OCCURRED, event_type_id=type_id, properties=predicates)

    def stores(*numbers: int) -> tuple[str, Test]:
        return "store_id", OneOf(tuple(f"store_{n}" for n in numbers))

    def amount(at_least: str, below: str) -> tuple[str, Test]:
        return "amount", Range(((">=", Decimal(at_least)), ("<", Decimal(below))))

    return {
        "newest": Selection(),
        "of a frequent source": Selection(source_id=source_id),
        "of a source with one event in 50,000": Selection(source_id=source_id + 7),
        "with warnings, one in 1,000": Selection(has_warnings=True),
        "of one type, by occurrence": Selection(order=Order.OCCURRED, event_type_id=type_id),
        "… of its older version, one in 10": Selection(
            order=Order.OCCURRED, event_type_id=type_id, version_id=version_id
        ),
        "of a person with many": Selection(order=Order.OCCURRED),
        "store, one in 5": having(stores(0)),
        "store, one in 2,500": having(stores(7)),
        "20 stores": having(stores(*range(20))),
        "200 stores": having(stores(*range(200))),
        "amount, one in 500": having(amount("120", "121")),
        "amount, 4 in 5": having(amount("100", "500")),
        "amount, one in 25, most of them": having(amount("10", "30")),
        "has a coupon, one in 250": having(("coupon_codes", Exists(True))),
        "has no coupon": having(("coupon_codes", Exists(False))),
        "store and amount, one in 125": having(stores(0), amount("10", "30")),
        "4 tests": having(
            stores(0),
            amount("10", "400"),
            ("channel", OneOf(("web",))),
            ("coupon_codes", Exists(False)),
        ),
    }


async def measure(pool: Pool, tenant_id: int) -> None:
    async with pool.acquire() as connection:
        version = await connection.fetchval("show server_version")
        mine = await connection.fetchval(
            "select count(*) from event where tenant_id = $1", tenant_id
        )
        asked = await selections(connection, tenant_id)
        print(f"\nPostgres {version}; {mine:,} events of the tenant\n")
        print("| events | index | entries | blocks | ms | at the far end: entries | blocks | ms |")
        print("|---|---|---|---|---|---|---|---|")
        for name, selection in asked.items():
            cells = []
            for after in (None, Position(beginning() + timedelta(days=2), bytes(16))):
                cells += await _measure_page(connection, tenant_id, selection, after)
            index, *first = cells[:4]
            print(f"| {name} | {index} | {' | '.join([*first, *cells[5:]])} |", flush=True)


async def _measure_page(
    connection: Connection, tenant_id: int, selection: Selection, after: Position | None
) -> list[str]:
    """[index, entries, blocks, ms]"""
    person = selection == Selection(order=Order.OCCURRED)
    heavy = await connection.fetchval(f"select {PERSON}")
    logged: list[Any] = []
    seconds = []
    for _ in range(RUNS):
        logged.clear()
        with connection.query_logger(logged.append):
            started = time.perf_counter()
            if person:
                await find_person_pages(
                    connection, tenant_id, selection, {heavy: [heavy]}, first=FIRST, after=after
                )
            else:
                await find_event_page(connection, tenant_id, selection, first=FIRST, after=after)
            seconds.append(time.perf_counter() - started)
            await asyncio.sleep(0)  # statements are logged by the loop
    scans = [q for q in logged if "limit" in q.query and "$" in q.query]
    nodes: list[dict[str, Any]] = []
    blocks = 0
    by_index = selection.properties or person
    async with by_property.kept_to_indexes(connection) if by_index else nullcontext():
        for scan in scans:
            plan = await connection.fetchval(
                f"explain (analyze, buffers, format json) {scan.query}", *scan.args
            )
            root = json.loads(plan)[0]["Plan"]
            blocks += root["Shared Hit Blocks"] + root["Shared Read Blocks"]
            nodes += walk(root)
    read: dict[str, int] = {}
    for node in nodes:
        if "Index Name" in node and node["Actual Loops"]:
            rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node[
                "Actual Loops"
            ]
            name = _plain(node["Index Name"])
            read[name] = read.get(name, 0) + round(rows)
    main = max(read, key=lambda name: read[name])
    return [
        f"`{main}`",
        f"{sum(read.values()):,}",
        f"{blocks:,}",
        f"{statistics.median(seconds) * 1000:.1f}",
    ]


def _plain(index: str) -> str:
    """Of a partition's index, and of a mark's table: what every one of them is called."""
    plain = re.sub(r"^event_\d{4}_\d\d_(.*)_idx\d*$", r"event (\1)", index)
    return re.sub(r"^segment_value_\d+_", "segment_value_…_", plain)


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


if __name__ == "__main__":
    main(__doc__, 5_000_000, fill, measure)
