"""What a feed reads, in which order, and how much it remembers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from app import clock, ids
from app.db.pool import Pool, close_pool, open_reading_pool
from app.db.scan import Position
from app.live import feed as feeds
from app.live.feed import Feed
from app.live.outcome import Outcome, Which
from app.live.queries import SQL, scan_outcomes
from app.live.subscription import Ending, Pace, Subscription
from tests.sql.test_reading_plans import filled as filled
from tests.sql.test_reading_plans import plan_of
from tests.support import Api, Seed, purchase


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_reading_pool(database_url, max_size=2, statement_seconds=5)
    yield pool
    await close_pool(pool)


REFUSED = """
insert into quarantine (bucket, quarantine_id, tenant_id, received_at, expires_at, api_key_id,
                        error_code, reasons, size_bytes)
select n % 4096, md5('q' || n)::uuid, $1, t.at, t.at, 1, 'validation_failed', '[]', 1
from generate_series(1, 20000) as n
cross join (select min(received_at) as first, max(received_at) as last from event) e
cross join lateral (select e.first + (n - 1) * (e.last - e.first) / 20000 as at) t
"""


@pytest.fixture
async def all_filled(filled: asyncpg.Connection, seeded: Seed) -> asyncpg.Connection:
    await filled.execute(REFUSED, seeded.tenant_id)
    await filled.execute("analyze quarantine")
    return filled


class Ear:
    """A subscription, and what it was told."""

    def __init__(self, most: int = 1_000) -> None:
        self.endings: list[Ending] = []
        self.subscription = Subscription(Which(), Pace(1e6), most, self.endings.append)

    async def told(self, number: int) -> list[str | None]:
        found: list[Outcome] = []
        async with asyncio.timeout(5):
            while len(found) < number:
                found += await self.subscription.take(number - len(found))
        return [outcome.external_event_id for outcome in found]


async def test_outcomes_of_all_kinds_are_told_in_the_order_of_their_receipt(
    api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "SCANNED", 3)  # flushes are larger than a page
    monkeypatch.setattr(feeds, "READ", 2)
    feed, ear = Feed(pool, api.tenant_id), Ear()
    await api.post(purchase("before"))
    await feed.join(ear.subscription)
    expected = []
    for turn in range(3):
        items = [purchase(f"{turn}{letter}") for letter in "abc"]
        await api.results([*items, items[0], purchase(f"{turn}bad", identity={})])
        expected += sorted([f"{turn}a", f"{turn}a", f"{turn}b", f"{turn}c", f"{turn}bad"])
        await feed.look()
        await feed.look()
    told = await ear.told(len(expected))
    assert [name for turn in range(3) for name in sorted(told[5 * turn : 5 * turn + 5])] == expected
    await feed.look()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await ear.subscription.take(1)


async def test_who_has_no_room_is_sent_away_and_holds_nothing(api: Api, pool: Pool) -> None:
    feed, narrow, roomy = Feed(pool, api.tenant_id), Ear(most=10), Ear()
    await feed.join(narrow.subscription)
    await feed.join(roomy.subscription)
    for turn in range(3):
        await api.results([purchase(f"{turn}_{number}") for number in range(9)])
        await feed.look()
    assert (narrow.endings, roomy.endings) == ([Ending.TOO_SLOW], [])
    assert len(await roomy.told(27)) == 27
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await narrow.subscription.take(1)


async def test_subscriptions_share_a_pace(api: Api, pool: Pool) -> None:
    feed, pace, endings = Feed(pool, api.tenant_id), Pace(100), list[Ending]()
    much = Subscription(Which(), pace, 1_000, endings.append)
    little = Subscription(
        Which(event_types=frozenset(["product_viewed"])), pace, 10, endings.append
    )
    await feed.join(much)
    await feed.join(little)
    viewed = purchase("v", eventType="product_viewed", properties={"product_id": "sku-1"})
    await api.results([*(purchase(f"e{number}") for number in range(99)), viewed])
    await feed.look()
    began = time.monotonic()
    told, (view,) = await asyncio.gather(much.take(50), little.take(50))
    assert (len(told), view.external_event_id) == (50, "v")
    assert time.monotonic() - began >= 0.5
    assert endings == []


async def test_who_leaves_before_its_turn_takes_nothing_from_the_others() -> None:
    pace = Pace(100)
    await pace.turn(1)
    leaving = asyncio.create_task(pace.turn(1_000_000))
    await asyncio.sleep(0)
    leaving.cancel()
    others = [asyncio.create_task(pace.turn(1)) for _ in range(2)]
    _, waiting = await asyncio.wait([leaving, *others], timeout=20)
    assert waiting == set()
    assert leaving.cancelled()


async def test_a_clock_that_is_put_back_sends_everybody_away(
    api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, first, second = Feed(pool, api.tenant_id), Ear(), Ear()
    with monkeypatch.context() as ahead:
        ahead.setattr(clock, "SKEW", timedelta(hours=-1))
        await feed.join(first.subscription)
    await api.post(purchase("meanwhile"))
    await feed.look()
    assert first.endings == [Ending.CANNOT_TELL]
    await feed.join(second.subscription)
    await api.post(purchase("after"))
    await feed.look()
    assert await second.told(1) == ["after"]


async def test_a_feed_that_would_remember_too_much_sends_everybody_away(
    api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MAX_SEEN", 5)
    feed, first, second, third = Feed(pool, api.tenant_id), Ear(), Ear(), Ear()
    flush = await asyncpg.connect(api.database_url, server_settings={"application_name": "cdp"})
    try:
        async with flush.transaction():
            await feed.join(first.subscription)
            await api.results([purchase(f"e{number}") for number in range(9)])
            await feed.look()
            assert first.endings == [Ending.CANNOT_TELL]
            await asyncio.sleep(0)
            await feed.join(second.subscription)
            assert second.endings == [Ending.CANNOT_TELL]
    finally:
        await flush.close()

    async def begins_anew() -> bool:
        await feed.join(third.subscription)
        return third.endings == []

    deadline = datetime.now(UTC) + timedelta(seconds=5)
    while not await begins_anew():
        assert datetime.now(UTC) < deadline
        third = Ear()
        await asyncio.sleep(0.1)
    await api.post(purchase("after"))
    await feed.look()
    assert await third.told(1) == ["after"]


async def test_a_scan_reads_three_indexes_in_their_order(all_filled: asyncpg.Connection) -> None:
    nodes = await plan_of(all_filled, SQL["scan_outcomes"])
    reads = [node for node in nodes if "Relation Name" in node]
    assert {node["Relation Name"].split("_")[0] for node in reads} == {
        "event", "delivery", "quarantine",
    }  # fmt: skip
    for node in reads:
        assert "Index Name" in node, node
        assert "tenant_id" in node["Index Cond"] and "received_at" in node["Index Cond"], node


async def test_a_scan_reads_a_page_whatever_lies_behind_it(all_filled: asyncpg.Connection) -> None:
    await all_filled.execute("reset plan_cache_mode")
    tenant_id = await all_filled.fetchval("select min(id) from tenant")
    start = await all_filled.fetchval("select min(received_at) + interval '10 days' from event")
    found = await scan_outcomes(all_filled, tenant_id, Position(start, bytes(ids.ID_BYTES)), 500)
    assert len(found) == 500
    explained = await all_filled.fetchval(
        f"explain (analyze, format json) {SQL['scan_outcomes']}",
        tenant_id,
        start,
        bytes(ids.ID_BYTES),
        500,
    )

    def rows(node: dict[str, object]) -> int:
        own = node["Actual Rows"] * node["Actual Loops"] if "Relation Name" in node else 0
        return own + sum(rows(child) for child in node.get("Plans", ()))

    assert rows(json.loads(explained)[0]["Plan"]) <= 3 * 501 + 20
