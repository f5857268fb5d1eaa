"""Pages of the read side cost one bounded scan of an index, however deep, on generic plans.

The tables are filled and analysed first: these statements run with the planner's own choices.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from hashlib import md5
from typing import Any

import asyncpg
import pytest

from app.db.partitions import month_starts
from app.db.pool import READING_SETTINGS, prepare_connection
from app.db.scan import SCANNED_ROWS, Position, Window
from app.dedupe.reading import SQL as DEDUPE
from app.identity.reading import SQL as IDENTITY
from app.ingest.by_property import kept_to_indexes
from app.ingest.people import SQL as PEOPLE
from app.ingest.people import find_person_pages
from app.ingest.reading import SQL as EVENTS
from app.ingest.reading import Order, Selection, find_event_page
from tests.sql.test_plans import rows_ahead
from tests.support import Seed

MONTHS = 4
SOURCES = """
insert into source (tenant_id, name, first_seen_at)
select $1, 'source.' || n, $2::timestamptz + n * $3::interval / 20
from generate_series(1, 20) as n
"""
FILL = """
insert into event (bucket, event_key, received_at, tenant_id, source_id, event_type_id, version_id,
                   api_key_id, external_event_id, occurred_at, occurred_at_sent, profile_id,
                   size_bytes, identity, properties, warnings)
select ('x' || left(md5(n::text), 3))::bit(12)::int, md5(n::text)::uuid, t.at, $1,
       known.sources[1 + n % 20], known.types[1 + n % 12], known.versions[1 + n % 12],
       known.key, n::text,
       date_trunc('day', t.at) - (n % 3) * interval '1 day', true, md5((n % 500)::text)::uuid, 100,
       '{}', '{}', case when n % 50 = 0 then '[]'::jsonb end
from generate_series(1, 40000) as n
cross join lateral (select $2::timestamptz + (n - 1) * $3::interval / 40000 as at) t
cross join (
    select (select array_agg(id order by id) from source) as sources,
           (select array_agg(id order by id) from event_type) as types,
           (select array_agg(id order by event_type_id) from event_type_version where version = 1)
           as versions,
           (select min(id) from api_key) as key
) known
"""
OTHERS = [
    """
    insert into delivery
    select n % 4096, md5(n::text)::uuid, $2::timestamptz + (n - 1) * $3::interval / 20000,
           md5('d' || n)::uuid, $1, n % 20, 1, 2 + n % 2, null
    from generate_series(1, 20000) as n
    """,
    """
    insert into profile
    select n % 4096, md5(n::text)::uuid, $1,
           md5((case when n % 10 = 0 then n - 1 else n end)::text)::uuid,
           $2::timestamptz + (n - 1) * $3::interval / 20000, n % 3 > 0, null
    from generate_series(1, 20000) as n
    """,
    """
    insert into identifier
    select n % 4096, md5('i' || n)::uuid, $1, 1 + n % 4, n::text, md5(n::text)::uuid, n % 20,
           md5(n::text)::uuid, $2::timestamptz + (n - 1) * $3::interval / 20000
    from generate_series(1, 20000) as n
    """,
    """
    insert into profile_merge
    select n % 4096, md5('m' || n)::uuid, $1, md5(n::text)::uuid, md5((n + 1)::text)::uuid,
           $2::timestamptz + (n - 1) * $3::interval / 20000, md5(n::text)::uuid, '{}'
    from generate_series(1, 20000) as n
    """,
    """
    insert into identity_conflict
    select n % 4096, md5('c' || n)::uuid, $1, 2, md5('i' || n)::uuid, md5(n::text)::uuid,
           md5((n + 1)::text)::uuid, 'two_customers', md5(n::text)::uuid,
           $2::timestamptz + (n - 1) * $3::interval / 20000
    from generate_series(1, 20000) as n
    """,
]
PLANS: list[tuple[str, str, str, set[str]]] = [
    ("scan_by_receipt", EVENTS["scan_by_receipt"], "event", {"tenant_id", "received_at"}),
    (
        "scan_by_type", EVENTS["scan_by_type"], "event",
        {"tenant_id", "event_type_id", "occurred_at", "event_key"},
    ),
    ("scan_by_person", PEOPLE["scan_by_person"], "event", {"profile_id", "occurred_at"}),
    ("read_events", EVENTS["read_events"], "event", {"bucket", "event_key", "received_at"}),
    ("count_by_type", PEOPLE["count_by_type"], "event", {"profile_id"}),
    ("last_occurrences", PEOPLE["read_last_occurrences"], "event", {"profile_id"}),
    ("scan_deliveries", DEDUPE["scan_deliveries"], "delivery", {"tenant_id", "delivery_id"}),
    ("read_history", DEDUPE["read_history"], "delivery", {"bucket", "event_key", "received_at"}),
    ("scan_profiles", IDENTITY["scan_profiles"], "profile", {"tenant_id", "created_at"}),
    ("read_aliases", IDENTITY["read_aliases"], "profile", {"root_id"}),
    ("read_identifiers_of", IDENTITY["read_identifiers_of"], "identifier", {"profile_id"}),
    ("read_identifiers", IDENTITY["read_identifiers"], "identifier", {"identifier_key"}),
    ("read_merges", IDENTITY["read_merges"], "profile_merge", {"survivor_id"}),
    ("read_conflicts_of", IDENTITY["read_conflicts_of"], "identity_conflict", set()),
    (
        "scan_conflicts", IDENTITY["scan_conflicts"], "identity_conflict",
        {"tenant_id", "first_seen_at", "conflict_key"},
    ),
]  # fmt: skip


@pytest.fixture
async def filled(database_url: str, seeded: Seed) -> AsyncIterator[asyncpg.Connection]:
    """Some months of events in their partitions, and what belongs to them; analysed."""
    starts = month_starts(datetime.now(UTC), MONTHS + 1)
    connection = await asyncpg.connect(database_url, server_settings=READING_SETTINGS)
    await prepare_connection(connection)
    try:
        for sql in (SOURCES, FILL, *OTHERS):
            await connection.execute(sql, seeded.tenant_id, starts[0], starts[-1] - starts[0])
        await connection.execute("analyze")
        yield connection
    finally:
        await connection.close()


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


async def plan_of(connection: asyncpg.Connection, sql: str) -> list[dict[str, Any]]:
    await connection.execute("set plan_cache_mode = force_generic_plan")
    await connection.execute("set enable_partition_pruning = off")  # or nulls would leave none
    await connection.execute(f"prepare tested as {sql}")
    number = max(int(digits) for digits in re.findall(r"\$(\d+)", sql))
    nulls = ", ".join(["null"] * number)
    explained = await connection.fetchval(f"explain (format json) execute tested ({nulls})")
    await connection.execute("deallocate tested")
    return list(walk(json.loads(explained)[0]["Plan"]))


async def test_every_row_is_reached_through_an_index_by_its_key(
    filled: asyncpg.Connection,
) -> None:
    for name, sql, table, keys in PLANS:
        nodes = [
            node
            for node in await plan_of(filled, sql)
            if re.fullmatch(rf"{table}(_\d\d\d\d_\d\d)?", node.get("Relation Name", ""))
        ]
        assert nodes, name
        for node in nodes:
            assert "Index Name" in node or node["Node Type"] == "Bitmap Heap Scan", (name, node)
            condition = node.get("Index Cond", "") + node.get("Recheck Cond", "")
            assert all(key in condition for key in keys), (name, node)


async def test_a_scan_takes_the_order_of_its_index(filled: asyncpg.Connection) -> None:
    """Nothing is sorted before rows are counted, so a scan stops with its page."""
    for sql in (
        EVENTS["scan_by_receipt"],
        EVENTS["scan_by_type"],
        DEDUPE["scan_deliveries"],
        IDENTITY["scan_profiles"],
        IDENTITY["scan_conflicts"],
    ):
        nodes = await plan_of(filled, sql)
        scanned = next(node for node in nodes if node["Node Type"] == "WindowAgg")
        assert not [node for node in walk(scanned) if "Sort" in node["Node Type"]], sql


async def test_a_scan_by_occurrence_begins_at_its_position(filled: asyncpg.Connection) -> None:
    """The end of a window beside it would be where Postgres begins, however deep the page is."""
    nodes = await plan_of(filled, EVENTS["scan_by_type"])
    conditions = [node["Index Cond"] for node in nodes if "Index Cond" in node]
    assert conditions
    for condition in conditions:
        assert "(ROW(occurred_at, event_key) < " in condition
        assert "(occurred_at < " not in condition


async def pages(
    connection: asyncpg.Connection,
    seeded: Seed,
    selection: Selection,
    first: int,
    person: list[bytes] | None = None,
) -> list[list[str]]:
    """External ids, page by page, to the end of the list."""
    found, after = [], None
    while True:
        if person is None:
            page = await find_event_page(
                connection, seeded.tenant_id, selection, first=first, after=after
            )
        else:
            members = {person[0]: person}
            [page] = (
                await find_person_pages(
                    connection, seeded.tenant_id, selection, members, first=first, after=after
                )
            ).values()
        found.append([event.external_event_id for event in page.events])
        after = page.resume
        if after is None:
            return found


async def test_pages_together_are_the_list_and_none_looks_at_more_than_it_may(
    filled: asyncpg.Connection, seeded: Seed
) -> None:
    """Sparse filters and dense ones, in each order, against one plain query."""
    [source_id] = await filled.fetchrow("select id from source where name = 'source.7'")
    [type_id] = await filled.fetchrow("select id from event_type order by id offset 3 limit 1")
    person = [md5(b"%d" % n).digest() for n in (1, 2, 3)]
    middle = await filled.fetchval("select max(received_at) from event where event_key < $1", bytes(
        [128] + [0] * 15))  # fmt: skip
    window = Window(end=middle)
    selections: list[tuple[Selection, int, list[bytes] | None]] = [
        (Selection(), 15_000, None),
        (Selection(source_id=source_id), 150, None),
        (Selection(source_id=source_id, event_type_id=type_id, has_warnings=True), 10, None),
        (Selection(received=window, has_warnings=True), 100, None),
        (Selection(occurred=Window(start=middle), version_id=0), 10, None),
        (Selection(order=Order.OCCURRED, event_type_id=type_id), 1_000, None),
        (Selection(order=Order.OCCURRED, event_type_id=type_id, source_id=source_id), 20, None),
        (Selection(order=Order.OCCURRED, event_type_id=type_id, occurred=window), 1_000, None),
        (
            Selection(
                order=Order.OCCURRED,
            ),
            50,
            person,
        ),
        (Selection(order=Order.OCCURRED, source_id=source_id), 3, person),
    ]
    for selection, first, members in selections:
        order = "received_at" if selection.order is Order.RECEIVED else "occurred_at"
        expected = await filled.fetch(
            f"""
            select external_event_id from event
            where ($1::bigint is null or source_id = $1)
              and ($2::bigint is null or event_type_id = $2)
              and ($3::bigint is null or version_id = $3)
              and ($4::bool is null or (warnings is not null) = $4)
              and ($5::uuid[] is null or profile_id = any ($5))
              and received_at >= $6 and received_at < $7
              and occurred_at >= $8 and occurred_at < $9
            order by {order} desc, event_key desc
            """,
            selection.source_id,
            selection.event_type_id,
            selection.version_id,
            selection.has_warnings,
            members,
            *selection.received,
            *selection.occurred,
        )
        found = await pages(filled, seeded, selection, first, members)
        assert [name for page in found for name in page] == [row[0] for row in expected], selection
        assert all(len(page) <= first for page in found), selection


async def test_pages_of_several_people_are_read_together(
    filled: asyncpg.Connection, seeded: Seed
) -> None:
    """As each would be alone: aliases merged, a page a person, nobody's events among another's."""
    [source_id] = await filled.fetchrow("select id from source where name = 'source.7'")
    ids = [md5(b"%d" % n).digest() for n in range(1, 6)]
    members = {ids[0]: ids[:2], ids[2]: ids[2:4], ids[4]: ids[4:], bytes(16): [bytes(16)]}
    for selection in (
        Selection(order=Order.OCCURRED),
        Selection(order=Order.OCCURRED, source_id=source_id),
    ):
        together = await find_person_pages(filled, seeded.tenant_id, selection, members, first=7)
        for person, all_of in members.items():
            alone = await find_person_pages(
                filled, seeded.tenant_id, selection, {person: all_of}, first=7
            )
            assert together[person].events == alone[person].events
            assert {event.profile_id for event in together[person].events} <= set(all_of)


async def test_a_page_reads_no_more_rows_at_any_depth(
    filled: asyncpg.Connection, seeded: Seed
) -> None:
    """Rows that index scans really returned, and the partitions that were not even opened."""
    asked: list[Any] = []
    await filled.execute("set plan_cache_mode = force_generic_plan")
    filled.add_query_logger(asked.append)
    [type_id] = await filled.fetchrow("select id from event_type order by id offset 3 limit 1")
    depths = [await filled.fetchval(
        "select received_at from event where external_event_id = $1", str(n))
        for n in (39_999, 20_000, 10_000)]  # fmt: skip
    ahead = rows_ahead(filled)
    for at in depths:
        after = Position(at, bytes(16))
        for selection, most in (
            (Selection(), 51 + ahead),
            (Selection(version_id=0), SCANNED_ROWS + ahead),
            (Selection(order=Order.OCCURRED, event_type_id=type_id), 51 + ahead + MONTHS),
        ):
            asked.clear()
            await find_event_page(filled, seeded.tenant_id, selection, first=50, after=after)
            await asyncio.sleep(0)  # statements are logged by the loop
            scan = next(q for q in asked if "s.place" in q.query and "explain (" not in q.query)
            explained = await filled.fetchval(
                f"explain (analyze, format json) {scan.query}", *scan.args
            )
            scans = [n for n in walk(json.loads(explained)[0]["Plan"]) if "Index Name" in n]
            read = sum(node["Actual Rows"] * node["Actual Loops"] for node in scans)
            assert read <= most, (selection, at, explained)
            opened = [node["Relation Name"] for node in scans if node["Actual Loops"]]
            if selection.order is Order.RECEIVED:
                assert max(opened) <= f"event_{at:%Y_%m}", opened


async def test_a_page_of_somebody_with_many_events_reads_no_more_than_it_shows(
    filled: asyncpg.Connection, seeded: Seed
) -> None:
    """As far as what they did at one instant allows; with a plan made for people with few."""
    asked: list[Any] = []
    person, shown = md5(b"1").digest(), 5
    many = await filled.fetchval("select count(*) from event where profile_id = $1", person)
    filled.add_query_logger(asked.append)
    selection = Selection(order=Order.OCCURRED)
    await find_person_pages(filled, seeded.tenant_id, selection, {person: [person]}, first=shown)
    await asyncio.sleep(0)  # statements are logged by the loop
    scan = next(q for q in asked if "s.place" in q.query)
    async with kept_to_indexes(filled):
        explained = await filled.fetchval(
            f"explain (analyze, format json) {scan.query}", *scan.args
        )
    scans = [n for n in walk(json.loads(explained)[0]["Plan"]) if "Index Name" in n]
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in scans)
    assert shown < read <= shown + 1 + 2 * MONTHS < many, explained
