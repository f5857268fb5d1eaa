"""Who did or did not do something: counted from indexed values, each person once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.access.queries import create_tenant
from app.db.pool import Pool, close_pool, open_pool, open_reading_pool
from app.segments.asking import NeedsPersonalData, NotReady
from app.segments.audience.definition import Definition, Did, Either, Every, Total, Without
from app.segments.audience.preview import TooSlow, preview_audience, resolve_definition
from app.segments.audience.queries import Audience, audience_statement
from app.segments.conditions import Condition, Limits, Problem
from app.segments.marks import State
from tests.support import Seed, purchase, service_in_process

BOUGHT = "purchase_completed"
SPRING = datetime(2026, 3, 1, tzinfo=UTC)
SUMMER = datetime(2026, 6, 1, tzinfo=UTC)

DEEDS: Sequence[tuple[str, str, dict[str, Any]]] = [
    # who, when, what
    ("ann", "2026-01-10", {"amount": 10, "store_id": "north", "coupon_codes": ["A", "B"]}),
    ("ann", "2026-04-10", {"amount": 30.5, "store_id": "south"}),
    ("ann", "2026-07-10", {"amount": 100, "store_id": "south"}),
    ("bob", "2026-04-11", {"amount": 99.99, "store_id": "north", "coupon_codes": ["B", "C"]}),
    ("cid", "2026-04-12", {"amount": 5}),
    ("cid", "2026-04-13", {"amount": 5, "store_id": "n" * 10_000}),
]


def bought(*where: Condition, **given: Any) -> Did:
    return Did(BOUGHT, where, **given)


def amount(**limits: object) -> Condition:
    return Condition("/amount", limits=Limits(**limits))


def store(name: str) -> Condition:
    return Condition("/store_id", equals=name)


def coupon(*names: str) -> Condition:
    return Condition("/coupon_codes", one_of=names)


QUESTIONS: Sequence[tuple[str, Definition, str]] = [
    ("did it", bought(), "ann bob cid"),
    ("did not do it", Without(bought()), "dan"),
    ("in a window", bought(after=SUMMER), "ann"),
    ("in another window", bought(after=SPRING, before=SUMMER), "ann bob cid"),
    ("equals", bought(store("north")), "ann bob"),
    ("equals nothing there", bought(store("west")), ""),
    ("equals a long text", bought(store("n" * 10_000)), "cid"),
    ("but not a longer one", bought(store("n" * 10_001)), ""),
    ("in", bought(Condition("/store_id", one_of=["south", "west"])), "ann"),
    ("range", bought(amount(at_least=30, below=100)), "ann bob"),
    ("range is exact", bought(amount(above=Decimal("99.99"))), "ann"),
    ("exists", bought(Condition("/store_id", exists=True)), "ann bob cid"),
    ("does not exist", bought(Condition("/store_id", exists=False)), "cid"),
    ("not in one event", Without(bought(Condition("/store_id", exists=False))), "ann bob dan"),
    ("two of one event", bought(store("north"), amount(at_least=50)), "bob"),
    ("and a window", bought(store("south"), amount(below=50), after=SPRING), "ann"),
    (
        "with and without",
        bought(store("north"), Condition("/coupon_codes", exists=True)),
        "ann bob",
    ),
    ("an item of an array", bought(coupon("C")), "bob"),
    ("two items of one array", bought(coupon("A"), coupon("B")), "ann"),
    ("items that two events have", bought(coupon("A"), coupon("C")), ""),
    ("any of several items", bought(coupon("A", "B"), at_least=2), ""),
    ("often", bought(at_least=2), "ann cid"),
    ("exactly as often", bought(at_least=2, at_most=2), "cid"),
    ("often, with a condition", bought(store("south"), at_least=2), "ann"),
    ("seldom", bought(at_most=1), "bob"),
    ("seldom or never", bought(at_least=0, at_most=1), "bob dan"),
    ("never", bought(at_least=0, at_most=0), "dan"),
    ("sum", bought(total=Total("/amount", at_least=Decimal(100))), "ann"),
    ("sum is exact", bought(total=Total("/amount", at_most=Decimal("99.99"))), "bob cid"),
    (
        "sum of some",
        bought(store("south"), total=Total("/amount", at_least=Decimal("130.5"))),
        "ann",
    ),
    ("sum in a window", bought(after=SUMMER, total=Total("/amount", Decimal(101))), ""),
    ("all", Every([bought(store("north")), bought(store("south"))]), "ann"),
    ("all but", Every([bought(), Without(bought(store("north")))]), "cid"),
    ("all of nots", Every([Without(bought(coupon("A"))), Without(bought(coupon("C")))]), "cid dan"),
    ("any", Either([bought(coupon("C")), bought(after=SUMMER)]), "ann bob"),
    ("any with a not", Either([Without(bought()), bought(coupon("C"))]), "bob dan"),
    ("not of all", Without(Every([bought(store("north")), bought(amount(above=50))])), "cid dan"),
]


@pytest.fixture
async def pool(database_url: str, seeded: Seed) -> AsyncIterator[Pool]:
    """Four people; ann was two profiles that became one, dan never bought."""
    people: dict[str, dict[str, str]] = {
        "ann": {"email": "ann@x.io"},
        "bob": {"externalUserId": "bob"},
        "cid": {"externalUserId": "cid"},
    }
    items: list[object] = [
        purchase(
            f"e{n}",
            occurredAt=f"{day}T12:00:00Z",
            identity={"phone": "+491511234567"} if (who, n) == ("ann", 0) else people[who],
            properties={"order_id": f"o{n}", "currency": "EUR"} | properties,
        )
        for n, (who, day, properties) in enumerate(DEEDS)
    ]
    async with service_in_process(database_url, seeded) as api:
        results = await api.results(items)
        assert {r["status"] for r in results} == {"accepted"}, results
        for identity in (
            {"email": "ann@x.io", "phone": "+491511234567"},
            {"externalUserId": "dan"},
        ):
            event = purchase(str(identity), eventType="app_opened", identity=identity)
            response = await api.post(
                event | {"properties": {"platform": "ios", "app_version": "1.0"}}
            )
            assert response.status_code == 202, response.text
    pool = await open_reading_pool(database_url, max_size=2, statement_seconds=10)
    yield pool
    await pool.close()


async def names(pool: Pool, profile_ids: Sequence[bytes]) -> str:
    rows = await pool.fetch(
        "select split_part(i.value, '@', 1) as name from identifier i"
        " join profile p on p.profile_id = i.profile_id"
        " where p.root_id = any ($1) and i.kind < 3",
        profile_ids,
    )
    return " ".join(sorted(row["name"] for row in rows))


async def ask(pool: Pool, tenant_id: int, definition: Definition, sample: int = 10) -> Any:
    return await preview_audience(pool, tenant_id, definition, sample, may_read_personal_data=True)


async def test_an_audience_is_who_the_definition_says(pool: Pool, seeded: Seed) -> None:
    answers = {}
    for name, definition, _ in QUESTIONS:
        found = await ask(pool, seeded.tenant_id, definition)
        assert isinstance(found, Audience), (name, found)
        answers[name] = (await names(pool, found.sample), found.profiles)
    assert answers == {name: (who, len(who.split())) for name, _, who in QUESTIONS}


async def test_another_tenant_sees_nobody_and_no_event_type(pool: Pool, database_url: str) -> None:
    writing = await open_pool(database_url, max_size=1)
    try:
        other = await create_tenant("other")
    finally:
        await close_pool(writing)
    assert await ask(pool, other, bought()) == [
        Problem("/did/eventType", "event_type_unregistered", "there is no such event type")
    ]


async def test_the_sample_is_no_longer_than_asked_for(pool: Pool, seeded: Seed) -> None:
    found = await ask(pool, seeded.tenant_id, bought(), sample=2)
    assert (found.profiles, len(found.sample)) == (3, 2)
    found = await ask(pool, seeded.tenant_id, bought(), sample=0)
    assert (found.profiles, len(found.sample)) == (3, 0)


async def test_properties_without_complete_storage_are_refused_by_name(
    pool: Pool, seeded: Seed
) -> None:
    tenant_id = seeded.tenant_id
    not_marked = bought(Condition("/order_id", equals="o1"))
    assert await ask(pool, tenant_id, not_marked) == NotReady(BOUGHT, "/order_id", None)
    await pool.execute("update segment_property set state = 'BUILDING' where name = 'amount'")
    total = bought(total=Total("/amount", at_least=Decimal(1)))
    assert await ask(pool, tenant_id, total) == NotReady(BOUGHT, "/amount", State.BUILDING)


async def test_a_sum_needs_a_number_and_a_condition_values_of_its_type(
    pool: Pool, seeded: Seed
) -> None:
    total = Either([bought(total=Total("/store_id", at_least=Decimal(1)))])
    (problem,) = await ask(pool, seeded.tenant_id, total)
    assert (problem.path, problem.rule) == ("/any/0/did/sum/property", "sum_of_no_number")
    (problem,) = await ask(pool, seeded.tenant_id, bought(Condition("/amount", equals="1")))
    assert (problem.path, problem.rule) == ("/did/where/0/equals", "value_type")


async def test_direct_personal_data_is_counted_only_for_who_may_read_it(
    pool: Pool, seeded: Seed
) -> None:
    await pool.execute("update segment_property set pii = 'direct' where name = 'store_id'")
    definition = bought(store("north"))
    refused = await preview_audience(
        pool, seeded.tenant_id, definition, 0, may_read_personal_data=False
    )
    assert refused == NeedsPersonalData("/store_id")
    assert (await ask(pool, seeded.tenant_id, definition)).profiles == 2


async def test_what_takes_too_long_is_a_refusal(
    pool: Pool, database_url: str, seeded: Seed
) -> None:
    impatient = await open_reading_pool(database_url, max_size=1, statement_seconds=0.2)
    table = await pool.fetchval(
        "select 'segment_value_' || p.id from segment_property p"
        " join event_type t on t.id = p.event_type_id where t.name = $1 and p.name = 'store_id'",
        BOUGHT,
    )
    try:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(f"lock table {table}")
            assert await ask(impatient, seeded.tenant_id, bought(store("north"))) == TooSlow()
        assert (await ask(impatient, seeded.tenant_id, bought(store("north")))).profiles == 2
    finally:
        await impatient.close()


@pytest.mark.parametrize(
    ("definition", "conditions"),
    [
        (bought(store("north")), ["value"]),
        (bought(store("north"), after=SPRING), ["value", "occurred_at"]),
        (bought(amount(at_least=90)), ["value"]),
        (bought(store("north"), amount(at_least=90)), ["value"]),
        (bought(store("north"), total=Total("/amount", Decimal(1))), ["value"]),
        (bought(after=SUMMER), ["tenant_id", "event_type_id", "occurred_at"]),
    ],
)
async def test_a_condition_is_served_by_an_index(
    pool: Pool, database_url: str, seeded: Seed, definition: Did, conditions: list[str]
) -> None:
    """On a table of a few rows as well, once reading it whole is ruled out."""
    hot = await open_pool(database_url, max_size=1)
    try:
        async with hot.acquire() as connection:
            await connection.execute("set plan_cache_mode = force_custom_plan")
            node = await resolve_definition(
                connection, seeded.tenant_id, definition, may_read_personal_data=True
            )
            sql, arguments = audience_statement(seeded.tenant_id, node, 10)
            explained = await connection.fetchval(f"explain (format json) {sql}", *arguments)
    finally:
        await close_pool(hot)
    nodes = list(walk(json.loads(explained)[0]["Plan"]))
    scans = [node for node in nodes if node["Node Type"] in SCANS]
    assert scans, explained
    assert all(node.get("Index Cond") for node in scans if "Index Name" in node), explained
    assert not any(node["Node Type"] == "Seq Scan" for node in nodes), explained
    assert any(
        all(name in node["Index Cond"] for name in conditions)
        for node in scans
        if "Index Cond" in node
    )


SCANS = ("Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan")


def walk(node: dict[str, Any]) -> Any:
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)
