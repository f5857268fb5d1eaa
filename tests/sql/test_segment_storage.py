"""Values of marked properties: backfilled, fed, dropped, forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, NoReturn

import asyncpg
import pytest

from app.access.queries import create_tenant
from app.db.pool import Connection, close_pool, open_pool
from app.db.transaction import transaction
from app.registry.governance.marking import mark_property, unmark_property
from app.registry.governance.outcomes import Actor, Invalid, NotFound, NotPermitted
from app.registry.governance.queries import insert_event_type
from app.registry.queries import insert_version
from app.registry.segmentable import mark_published, surplus_marks, unmarked_personal_data
from app.registry.type_settings import TypeSettings
from app.segments import backfill, queries
from app.segments.backfill import backfill_batch
from app.segments.marks import MAX_MARKS
from app.segments.queries import StoredMark, value_table
from app.segments.upkeep import backfill_next, delete_dropped, drop_next, measure_next, tend_next
from tests.support import Seed, purchase, service_in_process

ACTOR = Actor("test", may_approve=True)
BOUGHT = "purchase_completed"


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Connection]:
    """A connection as the service's own; no worker is there that could come in between."""
    pool = await open_pool(url, max_size=3)
    try:
        async with pool.acquire() as connection:
            yield connection
    finally:
        await close_pool(pool)


async def buy(url: str, seeded: Seed, name: str, *given: dict[str, Any]) -> None:
    """One purchase for each of these properties, by a worker that stops then."""
    items: list[object] = [
        purchase(f"{name}{n}", properties={"order_id": "o", "amount": 1, "currency": "EUR"} | own)
        for n, own in enumerate(given)
    ]
    async with service_in_process(url, seeded) as api:
        results = await api.results(items)
    assert {result["status"] for result in results} == {"accepted"}, results


async def mark(seeded: Seed, path: str) -> StoredMark:
    held = await mark_property(seeded.tenant_id, ACTOR, BOUGHT, path)
    assert isinstance(held, StoredMark), held
    return held


async def unmark(seeded: Seed, path: str) -> StoredMark:
    held = await unmark_property(seeded.tenant_id, ACTOR, BOUGHT, path, "a test")
    assert isinstance(held, StoredMark), held
    return held


async def age_events(connection: Connection) -> None:
    """As if everything had been received a minute ago: no clock can be that wrong."""
    await connection.execute("update event set received_at = received_at - interval '1 minute'")


async def set_known(connection: Connection, mark_id: int) -> None:
    """As if the mark's state had been there for a while."""
    await connection.execute(
        "update segment_property set known_at = now() - interval '10 seconds',"
        " next_at = now() - interval '1 second' where id = $1",
        mark_id,
    )


async def build(connection: Connection, held: StoredMark, batch_events: int = 2_000) -> int:
    """Backfill to the end; returns the batches that it took."""
    mark_id, batches = held.mark.mark_id, 0
    while (await state(connection, mark_id)) == "BUILDING":
        batches += await backfill_batch(connection, batch_events)
        await set_known(connection, mark_id)
    return batches


async def state(connection: Connection, mark_id: int) -> str | None:
    found: str | None = await connection.fetchval(
        "select state from segment_property where id = $1", mark_id
    )
    return found


async def values(connection: Connection, held: StoredMark) -> list[object]:
    rows = await connection.fetch(
        f"select value from {value_table(held.mark.mark_id)} order by value"
    )
    return [row["value"] for row in rows]


async def test_events_that_were_there_are_backfilled_in_batches_and_new_ones_are_fed(
    database_url: str, seeded: Seed
) -> None:
    await buy(database_url, seeded, "a", *({"discount": n} for n in range(5)), {"discount": None})
    async with database(database_url) as connection:
        await age_events(connection)
        held = await mark(seeded, "/discount")
        assert await build(connection, held, batch_events=2) == 4
    await buy(database_url, seeded, "b", {"discount": 7.25}, {})
    async with database(database_url) as connection:
        assert await values(connection, held) == [0, 1, 2, 3, 4, Decimal("7.25")]
        *_, now = await queries.read_stored_marks(
            connection, seeded.tenant_id, [held.mark.event_type_id]
        )
    assert (now.state, now.events_scanned, now.events_total) == ("READY", 6, 6)
    assert (now.values_written, now.coverage) == (5, 5 / 6)


async def test_an_event_that_was_fed_is_not_backfilled(database_url: str, seeded: Seed) -> None:
    async with database(database_url) as connection:
        held = await mark(seeded, "/discount")
    await buy(database_url, seeded, "a", {"discount": 1}, {"discount": 2})
    async with database(database_url) as connection:
        await age_events(connection)
        await connection.execute(
            f"update {value_table(held.mark.mark_id)} set received_at = received_at"
            " - interval '1 minute'"
        )
        await build(connection, held)
        assert await values(connection, held) == [1, 2]


async def test_it_waits_for_transactions_that_could_still_bring_an_earlier_event(
    database_url: str, seeded: Seed
) -> None:
    await buy(database_url, seeded, "a", {"discount": 1})
    async with database(database_url) as connection, database(database_url) as other:
        await age_events(connection)
        held = await mark(seeded, "/discount")
        assert await backfill_batch(connection)
        async with other.transaction():
            began = await other.fetchval("select now()")
            await connection.execute(
                "update segment_property set known_at = $2::timestamptz - interval '4 seconds',"
                " next_at = '2020-01-01' where id = $1",
                held.mark.mark_id,
                began,
            )
            await asyncio.sleep(1.2)
            assert await backfill_batch(connection)
            assert await state(connection, held.mark.mark_id) == "BUILDING"
        await connection.execute("update segment_property set next_at = '2020-01-01'")
        assert await backfill_batch(connection)
        assert await state(connection, held.mark.mark_id) == "READY"


async def test_a_backfill_that_was_killed_in_a_batch_goes_on_where_it_was(
    database_url: str, seeded: Seed
) -> None:
    await buy(database_url, seeded, "a", *({"discount": n} for n in range(9)))
    async with database(database_url) as connection:
        await age_events(connection)
        held = await mark(seeded, "/discount")
        for _ in range(2):
            assert await backfill_batch(connection, 2)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            async with connection.transaction():
                assert await backfill_batch(connection, 2)
                assert len(await values(connection, held)) == 6
                await connection.execute("select pg_terminate_backend(pg_backend_pid())")
    async with database(database_url) as connection:
        assert len(await values(connection, held)) == 4
        await build(connection, held, batch_events=2)
        assert await values(connection, held) == list(range(9))


async def test_a_mark_that_fails_does_not_hold_up_the_next(database_url: str, seeded: Seed) -> None:
    await buy(database_url, seeded, "a", {"discount": 1})
    async with database(database_url) as connection:
        await age_events(connection)
        broken = await mark(seeded, "/order_id")
        held = await mark(seeded, "/discount")
        await connection.execute(f"drop table {value_table(broken.mark.mark_id)}")
        with pytest.raises(asyncpg.UndefinedTableError):
            await backfill_next(connection)
        assert await backfill_next(connection)
        assert await values(connection, held) == [1]


async def test_a_mark_that_fails_by_a_fault_of_ours_waits_too(
    database_url: str, seeded: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> NoReturn:
        raise ZeroDivisionError

    await buy(database_url, seeded, "a", {"discount": 1})
    async with database(database_url) as connection:
        await age_events(connection)
        await mark(seeded, "/discount")
        monkeypatch.setattr(backfill, "values_of", broken)
        with pytest.raises(ZeroDivisionError):
            await backfill_next(connection)
        assert not await backfill_next(connection)


async def test_a_backfill_keeps_nothing_from_being_dropped_or_measured(
    database_url: str, seeded: Seed
) -> None:
    await buy(database_url, seeded, "a", {"discount": 1, "store_id": "one"})
    async with database(database_url) as connection:
        await age_events(connection)
        gone = await unmark(seeded, "/store_id")
        await set_known(connection, gone.mark.mark_id)
        await connection.execute("update segment_property set measured_at = '2020-01-01'")
        held = await mark(seeded, "/discount")
        assert await tend_next(connection)
        assert await state(connection, held.mark.mark_id) == "BUILDING"
        assert await state(connection, gone.mark.mark_id) is None
        measured = await connection.fetchval(
            "select count(*) from segment_property where measured_at > '2020-01-01'"
        )
    assert measured == 1


async def test_only_one_worker_fills_a_mark_at_a_time(database_url: str, seeded: Seed) -> None:
    async with database(database_url) as connection, database(database_url) as other:
        await mark(seeded, "/discount")
        async with connection.transaction():
            assert await backfill_batch(connection)
            assert not await backfill_batch(other)
        assert (
            await connection.fetchval(
                "select count(*) from segment_property where name = 'discount'"
            )
            == 1
        )


async def test_arrays_long_texts_and_exact_numbers_are_kept_as_they_were_sent(
    database_url: str, seeded: Seed
) -> None:
    numbers = [b"0.1234567890123456789012345", b"1E5", b"1e-300", b"-0.0", b"9" * 300, b"120.50"]
    items = [
        (
            b'{"source":"s","externalEventId":"n%d","eventType":"purchase_completed",'
            b'"identity":{"email":"a@x.io"},"properties":{"order_id":"o","currency":"EUR",'
            b'"amount":%b,"coupon_codes":["A","B","A%d"],"store_id":"%b"}}'
        )
        % (n, number, n, b"x" * 10_000)
        for n, number in enumerate(numbers)
    ]
    async with service_in_process(database_url, seeded) as api:
        response = await api.batch(b'{"items":[%b]}' % b",".join(items))
        assert {r["status"] for r in response.json()["results"]} == {"accepted"}, response.text
    async with database(database_url) as connection:
        marks = {
            held.mark.name: value_table(held.mark.mark_id)
            for held in await queries.list_marks(
                connection, seeded.tenant_id, event_type=BOUGHT, after_id=0, limit=99
            )
        }
        exact = await connection.fetchval(
            f"select count(*) from {marks['amount']} v join event e using (event_key)"
            " where (e.properties ->> 'amount')::numeric = v.value"
        )
        assert exact == len(numbers)
        codes = await connection.fetch(
            f"select value from {marks['coupon_codes']} group by value order by value"
        )
        assert [row["value"] for row in codes] == ["A", *(f"A{n}" for n in range(6)), "B"]
        longest = await connection.fetchval(f"select max(length(value)) from {marks['store_id']}")
        assert longest == 255
        assert await connection.fetchval(f"select count(*) from {marks['payment_method']}") == 0


async def test_unmarking_drops_the_storage_and_marking_again_fills_a_new_one(
    database_url: str, seeded: Seed
) -> None:
    await buy(database_url, seeded, "a", {"store_id": "one"}, {"store_id": "two"})
    async with database(database_url) as connection:
        await age_events(connection)
        held = await unmark(seeded, "/store_id")
        assert not await drop_next(connection), "it has not been announced"
        assert not await drop_next(connection), "a flush may still feed it"
        again = await mark(seeded, "/store_id")
        await set_known(connection, held.mark.mark_id)
        assert await drop_next(connection)
        table = value_table(held.mark.mark_id)
        assert await connection.fetchval("select to_regclass($1)::text", table) is None
        assert await state(connection, held.mark.mark_id) is None
        await build(connection, again)
        assert await values(connection, again) == ["one", "two"]
        trail = await connection.fetch(
            "select action, actor, reason from registry_change"
            " where subject = 'purchase_completed/store_id' order by id"
        )
    assert [tuple(row) for row in trail] == [
        ("property_marked", "test", None),
        ("property_unmarked", "test", "a test"),
        ("property_marked", "test", None),
    ]


async def test_marking_is_refused_with_a_reason(database_url: str, seeded: Seed) -> None:
    async with database(database_url):
        tenant_id = seeded.tenant_id
        anybody = Actor("test", may_approve=False)
        assert await mark_property(tenant_id, ACTOR, "no_such_type", "/amount") == NotFound(
            "there is no such event type"
        )
        other = await create_tenant("other")
        assert await mark_property(other, ACTOR, BOUGHT, "/amount") == NotFound(
            "there is no such event type"
        )
        assert isinstance(await mark_property(tenant_id, ACTOR, BOUGHT, "/nothing"), NotFound)
        for path in ("/line_items", "/line_items/*/sku", "amount", ""):
            refused = await mark_property(tenant_id, ACTOR, BOUGHT, path)
            assert isinstance(refused, Invalid)
            assert [finding.rule for finding in refused.findings] == ["segmentable_place"]
        personal = await mark_property(tenant_id, anybody, "profile_updated", "/first_name")
        assert personal == NotPermitted(
            "scope_missing", "it needs a key with the scope schema:approve"
        )
        held = await mark(seeded, "/amount")
        assert (await mark_property(tenant_id, anybody, BOUGHT, "/amount")) == held
        assert isinstance(
            await unmark_property(tenant_id, ACTOR, BOUGHT, "/currency", None), NotFound
        )


async def test_values_go_with_the_events_that_retention_drops(
    database_url: str, seeded: Seed
) -> None:
    await buy(database_url, seeded, "a", {"store_id": "one"}, {"store_id": "two"})
    async with database(database_url) as connection:
        held = next(
            m
            for m in await queries.list_marks(
                connection, seeded.tenant_id, event_type=BOUGHT, after_id=0, limit=99
            )
            if m.mark.name == "store_id"
        )
        await delete_dropped(connection)
        assert await values(connection, held) == ["one", "two"]
        await connection.execute(
            f"update {value_table(held.mark.mark_id)} set received_at = '2020-01-15'"
            " where value = 'one'"
        )
        await delete_dropped(connection)
        assert await values(connection, held) == ["two"]


async def test_coverage_is_measured_again_by_one_worker(database_url: str, seeded: Seed) -> None:
    await buy(database_url, seeded, "a", {"store_id": "one"}, {}, {}, {})
    async with database(database_url) as connection:
        await connection.execute("update segment_property set measured_at = now()")
        assert not await measure_next(connection)
        await connection.execute(
            "update segment_property p set measured_at = '2020-01-01' from event_type t"
            " where t.id = p.event_type_id and t.name = $1 and p.name = 'store_id'",
            BOUGHT,
        )
        assert await measure_next(connection)
        assert not await measure_next(connection)
        share = await connection.fetchval(
            "select coverage from segment_property where name = 'store_id' and coverage is not null"
        )
    assert share == 0.25


async def test_a_published_document_marks_what_it_declares_and_unmarks_nothing(
    database_url: str, seeded: Seed
) -> None:
    tenant_id = seeded.tenant_id
    text = {"type": "string"}
    document = {
        "properties": {
            "amount": text,
            "order_id": text | {"x-segmentable": True},
            "store_id": text | {"x-pii": "direct"},
            "buyer": text | {"x-pii": "direct", "x-segmentable": True},
        }
    }
    async with database(database_url), transaction() as connection:
        ids = await queries.find_event_types(connection, tenant_id, [BOUGHT])
        before = await queries.read_stored_marks(connection, tenant_id, list(ids.values()))
        personal = await unmarked_personal_data(connection, tenant_id, ids[BOUGHT], document)
        await mark_published(connection, tenant_id, ids[BOUGHT], BOUGHT, document, "cli")
        after = await queries.read_stored_marks(connection, tenant_id, list(ids.values()))
        going = await connection.fetch("select name from segment_property where state = 'DROPPING'")
    assert personal == ["/store_id", "/buyer"]
    assert [row["name"] for row in going] == ["amount"]
    was = {held.path: held for held in before}
    now = {held.path: held for held in after}
    assert now.keys() == was.keys() | {"/order_id", "/buyer"}
    assert (now["/amount"].mark.value_type, now["/amount"].state) == ("TEXT", "BUILDING")
    assert (now["/store_id"].pii, now["/store_id"].mark) == ("direct", was["/store_id"].mark)
    assert now["/channel"] == was["/channel"]


async def test_the_class_of_a_mark_is_the_strongest_that_any_version_or_its_items_said(
    database_url: str, seeded: Seed
) -> None:
    text = {"type": "string"}
    tags = {"type": "array", "items": text | {"x-pii": "indirect"}, "x-segmentable": True}
    said = [text | {"x-pii": "direct"}, text, text | {"x-segmentable": True}]
    async with database(database_url), transaction() as connection:
        event_type_id = await insert_event_type(seeded.tenant_id, "gift_sold", TypeSettings())
        for number, buyer in enumerate(said, 1):
            document = {"type": "object", "properties": {"tags": tags, "buyer": buyer}}
            personal = await unmarked_personal_data(
                connection, seeded.tenant_id, event_type_id, document
            )
            assert personal == (["/buyer"] if number == 3 else [])
            await insert_version(
                seeded.tenant_id, event_type_id, number, document, str(number), "cli"
            )
            await mark_published(
                connection, seeded.tenant_id, event_type_id, "gift_sold", document, "cli"
            )
        marks = await queries.read_stored_marks(connection, seeded.tenant_id, [event_type_id])
    assert {held.path: held.pii for held in marks} == {"/tags": "indirect", "/buyer": "direct"}


async def test_a_mark_gets_a_stronger_class_on_the_record_and_never_a_weaker_one(
    database_url: str, seeded: Seed
) -> None:
    async with database(database_url), transaction() as connection:
        ids = await queries.find_event_types(connection, seeded.tenant_id, [BOUGHT])
        for pii in ("direct", "none"):
            document = {"properties": {"store_id": {"type": "string", "x-pii": pii}}}
            await mark_published(connection, seeded.tenant_id, ids[BOUGHT], BOUGHT, document, "cli")
        marks = await queries.read_stored_marks(connection, seeded.tenant_id, [ids[BOUGHT]])
        trail = await connection.fetch(
            "select before::text, after::text from registry_change"
            " where action = 'property_classed' and subject = 'purchase_completed/store_id'"
        )
    assert [held.pii for held in marks if held.path == "/store_id"] == ["direct"]
    assert [tuple(row) for row in trail] == [('{"pii": "none"}', '{"pii": "direct"}')]


@pytest.mark.parametrize(
    ("document", "pii"),
    [
        ({"properties": {}}, "none"),
        ({"properties": {}, "x-unknown-properties": "strip"}, "none"),
        ({"properties": {}, "x-unknown-properties": "allow"}, "indirect"),
    ],
)
async def test_values_that_come_in_unnamed_are_hidden_and_so_is_their_mark(
    database_url: str, seeded: Seed, document: dict[str, object], pii: str
) -> None:
    async with database(database_url), transaction() as connection:
        ids = await queries.find_event_types(connection, seeded.tenant_id, [BOUGHT])
        for published in ({"properties": {"store_id": {"type": "string"}}}, document):
            await mark_published(
                connection, seeded.tenant_id, ids[BOUGHT], BOUGHT, published, "cli"
            )
        marks = await queries.read_stored_marks(connection, seeded.tenant_id, [ids[BOUGHT]])
    assert {held.pii for held in marks if held.path == "/store_id"} == {pii}


async def test_publishing_keeps_the_limit_of_marks_with_those_that_are_still_to_go(
    database_url: str, seeded: Seed
) -> None:
    async with database(database_url):
        held = await mark(seeded, "/discount")
        await unmark(seeded, "/discount")
        async with transaction() as connection:
            count = await queries.count_marks(connection, seeded.tenant_id, held.mark.event_type_id)
            text = {"type": "string", "x-segmentable": True}
            members = {f"p{n}": text for n in range(MAX_MARKS - count)}
            for more, surplus in (({}, 0), ({"another": text}, 1)):
                document = {"type": "object", "properties": members | more}
                found = await surplus_marks(
                    connection, seeded.tenant_id, held.mark.event_type_id, document
                )
                assert found == surplus


async def test_a_name_is_marked_and_unmarked_by_either_spelling_of_its_pointer(
    database_url: str, seeded: Seed
) -> None:
    async with database(database_url):
        async with transaction():
            event_type_id = await insert_event_type(seeded.tenant_id, "gift_sold", TypeSettings())
            document = {"type": "object", "properties": {"a~b": {"type": "string"}}}
            await insert_version(seeded.tenant_id, event_type_id, 1, document, "1", "cli")
        for path in ("/a~b", "/a~0b"):
            held = await mark_property(seeded.tenant_id, ACTOR, "gift_sold", path)
            assert isinstance(held, StoredMark)
            assert (held.path, held.mark.name) == ("/a~0b", "a~b")
            gone = await unmark_property(seeded.tenant_id, ACTOR, "gift_sold", path, None)
            assert gone == held


async def test_a_batch_of_a_backfill_reads_its_own_events_and_no_others(
    database_url: str, seeded: Seed
) -> None:
    await buy(database_url, seeded, "a", *({"discount": n} for n in range(9)))
    range_of = "'2000-01-01', '00000000-0000-0000-0000-000000000000', '2100-01-01'"
    key = "'ffffffff-ffff-ffff-ffff-ffffffffffff'"
    asked = [
        (queries.SQL["read_scan_end"], f"1, {range_of}, 5"),
        (queries.on_values("read_unfed", 1), f"1, 1, 'discount', {range_of}, {key}"),
    ]
    async with database(database_url) as connection:
        await connection.execute("set plan_cache_mode = force_generic_plan")
        for sql, arguments in asked:
            await connection.execute(f"prepare tested as {sql}")
            lines = await connection.fetch(f"explain (costs off) execute tested ({arguments})")
            await connection.execute("deallocate tested")
            plan = "\n".join(row[0] for row in lines)
            scans = [line.strip() for line in plan.splitlines() if " on event_" in line]
            assert scans, plan
            assert all("tenant_id_received_at_event_key" in scan for scan in scans), plan
            assert plan.count("received_at < ") + plan.count("received_at >= ") >= 2, plan
            assert "Seq Scan" not in plan
