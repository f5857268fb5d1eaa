"""Roll-ups say what the minutes say: after crashes, in two workers, and for late flushes too."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from app import clock
from app.db.horizon import read_horizon
from app.db.pool import Pool, close_pool, open_pool
from app.stats import rollup
from app.stats.freshness import Freshness, State, read_freshness
from app.stats.queries import CountKey, OutcomeKind, add_counts
from app.stats.reading import Group, GroupBy, Which, read_chart
from app.stats.rollup import SQL as ROLLUP
from app.stats.rollup import roll_up
from app.stats.steps import DAY, HOUR, Step, step_starts
from tests.support import Seed, seed

UTC_ZONE = ZoneInfo("UTC")
EVERYTHING = frozenset(GroupBy)
ACCEPTED, REJECTED = OutcomeKind.ACCEPTED, OutcomeKind.REJECTED


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url, max_size=8)
    yield pool
    await close_pool(pool)


def this_hour() -> datetime:
    return clock.now().replace(minute=0, second=0, microsecond=0)


async def count(
    pool: Pool, tenant_id: int, moment: datetime, key: CountKey, events: int = 1, writer: int = 0
) -> None:
    """Counters as a flush of that moment left them."""
    await pool.execute(
        "insert into ingest_stat values (0, $1, $2, $3, $4, $5, $6, $7, $8::bigint, 0)"
        " on conflict (bucket, tenant_id, minute, source_id, event_type_id, outcome, reason,"
        " writer) do update set events = ingest_stat.events + excluded.events",
        tenant_id, moment.replace(second=0, microsecond=0), *key, writer, events,
    )  # fmt: skip


async def sources(pool: Pool, tenant_id: int, *names: str) -> list[int]:
    return [
        await pool.fetchval(
            "insert into source (tenant_id, name, first_seen_at) values ($1, $2, now())"
            " returning id", tenant_id, name,
        )
        for name in names
    ]  # fmt: skip


async def total(pool: Pool, tenant_id: int, start: datetime, end: datetime) -> int:
    async with pool.acquire() as connection:
        chart = await read_chart(
            connection, tenant_id, start, end, Step.WHOLE, UTC_ZONE, frozenset(), Which()
        )
    return chart.total


async def freshness(
    pool: Pool, tenant_id: int, now: datetime, which: Which | None = None, first: int = 50
) -> list[Freshness]:
    async with pool.acquire() as connection:
        return await read_freshness(connection, tenant_id, which or Which(), now, first=first)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu"])
@pytest.mark.parametrize("step", [Step.HOUR, Step.DAY, Step.WHOLE])
@pytest.mark.parametrize("rolled", [False, True], ids=["minutes", "rolled up"])
async def test_every_chart_is_equal_to_counting_the_minutes(
    pool: Pool, seeded: Seed, zone: str, step: Step, rolled: bool
) -> None:
    tenant_id, random_ = seeded.tenant_id, random.Random(7)
    pos, crm = await sources(pool, tenant_id, "brand.pos", "brand.crm")
    type_id, type_name = await pool.fetchrow(
        "select id, name from event_type where tenant_id = $1 order by id", tenant_id
    )
    names = {pos: "brand.pos", crm: "brand.crm", 0: ""}
    end = this_hour() + timedelta(minutes=7)
    counted: list[tuple[datetime, Group, int]] = []
    for _ in range(250):
        moment = end - timedelta(minutes=random_.randrange(4 * 24 * 60))
        source_id = random_.choice([pos, crm, 0])
        outcome = random_.choice(list(OutcomeKind))
        reason = random_.choice(["size", "property_missing"]) if outcome is REJECTED else ""
        key = CountKey(source_id, type_id, outcome, reason)
        await count(pool, tenant_id, moment, key, 3, random_.randrange(2))
        counted.append((moment, Group(names[source_id], type_name, outcome, reason), 3))
    if rolled:
        assert await roll_up(pool) > 0
    start = end - 3 * DAY
    starts = step_starts(start, end, step, ZoneInfo(zone))
    expected: dict[Group, Counter[int]] = {}
    for moment, group, events in counted:
        for number, (begin, stop) in enumerate(pairwise(starts)):
            if begin <= moment.replace(second=0, microsecond=0) < stop:
                expected.setdefault(group, Counter())[number] += events
    async with pool.acquire() as connection:
        chart = await read_chart(
            connection, tenant_id, start, end, step, ZoneInfo(zone), EVERYTHING, Which()
        )
        totals = await read_chart(
            connection, tenant_id, start, end, step, ZoneInfo(zone), frozenset(), Which()
        )
        of_pos = await read_chart(
            connection, tenant_id, start, end, step, ZoneInfo(zone),
            frozenset({GroupBy.OUTCOME}), Which(sources=["brand.pos"]),
        )  # fmt: skip
    steps = range(len(starts) - 1)
    assert {s.group: list(s.events) for s in chart.series} == {
        group: [numbers[n] for n in steps] for group, numbers in expected.items()
    }
    whole = [sum(numbers[n] for numbers in expected.values()) for n in steps]
    assert [list(s.events) for s in totals.series] == [whole]
    assert totals.total == chart.total == sum(whole)
    assert of_pos.total == sum(
        sum(numbers.values()) for group, numbers in expected.items() if group.source == "brand.pos"
    )


async def test_rolling_up_twice_and_in_two_workers_changes_nothing(
    pool: Pool, seeded: Seed
) -> None:
    key = CountKey(0, 0, ACCEPTED, "")
    for hours in range(1, 30):
        await count(pool, seeded.tenant_id, this_hour() - hours * HOUR, key, hours)
    await asyncio.gather(*(roll_up(pool) for _ in range(4)))
    before = await pool.fetch("select * from ingest_stat_hour order by 1, 2, 3, 4, 5")
    assert await roll_up(pool) == 0
    await pool.execute(
        "update ingest_stat_progress set rolled_until = rolled_until - interval '20 hours',"
        " days_until = days_until - interval '1 day'"
    )
    assert await roll_up(pool) > 0
    assert await pool.fetch("select * from ingest_stat_hour order by 1, 2, 3, 4, 5") == before
    assert await total(pool, seeded.tenant_id, this_hour() - 40 * HOUR, clock.now()) == sum(
        range(1, 30)
    )


async def test_a_tenant_whose_sums_fail_holds_up_no_other(
    pool: Pool, database_url: str, seeded: Seed
) -> None:
    other = await seed(database_url, "other")
    for tenant_id, hours in ((seeded.tenant_id, 4), (other.tenant_id, 3)):
        await count(pool, tenant_id, this_hour() - hours * HOUR, CountKey(0, 0, ACCEPTED, ""))
    await pool.execute(
        "alter table ingest_stat_hour add constraint too_much"
        f" check (tenant_id <> {seeded.tenant_id})"
    )
    passed_over: dict[int, datetime] = {}
    with pytest.raises(asyncpg.CheckViolationError):
        await roll_up(pool, passed_over)
    assert await roll_up(pool, passed_over) > 0
    assert list(passed_over) == [seeded.tenant_id]
    behind, ahead = [await rolled_until(pool, one.tenant_id) for one in (seeded, other)]
    assert behind < this_hour() - 4 * HOUR < ahead
    await pool.execute("alter table ingest_stat_hour drop constraint too_much")
    passed_over[seeded.tenant_id] = clock.now()
    assert await roll_up(pool, passed_over) > 0
    assert await rolled_until(pool, seeded.tenant_id) == ahead


async def test_a_clock_that_was_ahead_takes_nothing_from_the_charts(
    pool: Pool, seeded: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, true_now = CountKey(0, 0, ACCEPTED, ""), clock.now()
    ahead = true_now + timedelta(days=1, hours=2)
    with monkeypatch.context() as wrong:
        wrong.setattr(clock, "now", lambda: ahead)
        await count(pool, seeded.tenant_id, ahead - timedelta(hours=1), key)
        await pool.execute(
            "insert into ingest_stat_progress"
            " values (0, $1, $2, date_trunc('day', $2::timestamptz))", seeded.tenant_id, ahead,
        )  # fmt: skip
    await count(pool, seeded.tenant_id, true_now - timedelta(minutes=10), key, 5)
    await roll_up(pool)
    assert await rolled_until(pool, seeded.tenant_id) <= true_now
    assert await total(pool, seeded.tenant_id, true_now - timedelta(days=1), true_now) == 5
    assert await total(pool, seeded.tenant_id, true_now - timedelta(days=1), ahead) == 6


async def rolled_until(pool: Pool, tenant_id: int) -> datetime:
    until: datetime = await pool.fetchval(
        "select rolled_until from ingest_stat_progress where tenant_id = $1", tenant_id
    )
    return until


async def test_the_running_hour_is_summed_up_to_some_minutes_ago_and_counted_to_now(
    pool: Pool, seeded: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id, key = seeded.tenant_id, CountKey(0, 0, ACCEPTED, "")
    hour = this_hour() - 2 * HOUR
    await count(pool, tenant_id, hour - HOUR, key)
    for minutes in range(60):
        moment = hour + timedelta(minutes=minutes)
        await count(pool, tenant_id, moment, key)
        monkeypatch.setattr(clock, "now", lambda moment=moment: moment + timedelta(seconds=30))
        await roll_up(pool)
        if minutes >= 2:
            behind = clock.now() - await rolled_until(pool, tenant_id)
            assert timedelta(minutes=2) <= behind <= timedelta(minutes=7)
        assert await total(pool, tenant_id, hour, hour + HOUR) == minutes + 1
        quarter = hour + timedelta(minutes=minutes - minutes % 15)
        until = quarter + timedelta(minutes=15)
        assert await total(pool, tenant_id, quarter, until) == minutes % 15 + 1


async def test_an_hour_waits_for_a_flush_that_may_still_count_into_it(
    pool: Pool, seeded: Seed
) -> None:
    key = CountKey(0, 0, ACCEPTED, "")
    past = this_hour() - 3 * HOUR
    await count(pool, seeded.tenant_id, past - HOUR, key)
    async with pool.acquire() as connection, connection.transaction():
        await add_counts(connection, seeded.tenant_id, {key: (5, 500)}, past, 1)
        began = await connection.fetchval("select now()")
        async with pool.acquire() as other:
            assert await read_horizon(other, timedelta()) == began
    async with pool.acquire() as other:
        assert await read_horizon(other, timedelta()) > began
    await roll_up(pool)
    assert await total(pool, seeded.tenant_id, past - DAY, clock.now()) == 6


async def test_a_flush_before_the_first_minute_that_is_seen_is_not_lost(
    pool: Pool, seeded: Seed
) -> None:
    key, hour = CountKey(0, 0, ACCEPTED, ""), this_hour() - 3 * HOUR
    await count(pool, seeded.tenant_id, hour, key)
    async with pool.acquire() as connection, connection.transaction():
        await add_counts(connection, seeded.tenant_id, {key: (5, 500)}, hour - HOUR, 1)
        await pool.execute(ROLLUP["start_progress"])
    await roll_up(pool)
    assert await total(pool, seeded.tenant_id, hour - HOUR, hour) == 5
    assert await total(pool, seeded.tenant_id, hour - 2 * DAY, clock.now()) == 6


async def test_a_chart_of_many_groups_takes_up_room_for_what_is_drawn_only(
    pool: Pool, seeded: Seed
) -> None:
    end = this_hour()
    await pool.execute(
        "insert into ingest_stat"
        " select 0, $1, $2::timestamptz - n * interval '1 minute', 0, 0, 4, 'r' || n, 0, n, 1"
        " from generate_series(1, 1900) n",
        seeded.tenant_id, end,
    )  # fmt: skip
    start = end - timedelta(minutes=1900)
    async with pool.acquire() as connection:
        tracemalloc.start()
        try:
            chart = await read_chart(
                connection, seeded.tenant_id, start, end, Step.MINUTE, UTC_ZONE,
                frozenset({GroupBy.REASON}), Which(), 2,
            )  # fmt: skip
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert [(s.group.reason, s.events, s.total) for s in chart.series] == [
        ("r1900", [1900] + [0] * 1899, 1900),
        ("r1899", [0, 1899] + [0] * 1898, 1899),
    ]
    assert (chart.groups, chart.total) == (1900, 1900 * 1901 // 2)
    assert peak_bytes < 8 << 20  # a number a step of each would be 28 MiB


async def test_no_hour_is_taken_up_that_ended_after_the_oldest_transaction_began(
    pool: Pool, seeded: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = CountKey(0, 0, ACCEPTED, "")
    await count(pool, seeded.tenant_id, this_hour() - 3 * HOUR, key)
    tomorrow = clock.now() + DAY
    monkeypatch.setattr(clock, "now", lambda: tomorrow)
    await roll_up(pool)  # Postgres's own clock says that it is today
    assert await rolled_until(pool, seeded.tenant_id) <= tomorrow - DAY


async def test_the_usual_gap_knows_nights_and_forgives_one_outage(pool: Pool, seeded: Seed) -> None:
    tenant_id = seeded.tenant_id
    shop, sensor, new = await sources(pool, tenant_id, "shop", "sensor", "new")
    type_id = await pool.fetchval(
        "select id from event_type where tenant_id = $1 order by id", tenant_id
    )
    start = this_hour() - 8 * DAY
    for hour in range(8 * 24):
        if hour % 24 >= 14:  # open for ten hours
            await count(pool, tenant_id, start + hour * HOUR, CountKey(shop, type_id, ACCEPTED, ""))
        if not 50 <= hour < 55:
            for quarter in range(4):
                moment = start + hour * HOUR + quarter * timedelta(minutes=15)
                await count(pool, tenant_id, moment, CountKey(sensor, type_id, ACCEPTED, ""))
    await count(pool, tenant_id, start + 188 * HOUR, CountKey(new, type_id, ACCEPTED, ""))
    while await roll_up(pool):
        pass
    now = this_hour() + timedelta(minutes=30)
    found = await freshness(pool, tenant_id, now)
    assert [(f.source, f.usual_gap, f.state) for f in found] == [
        ("sensor", timedelta(minutes=15), State.SILENT),
        ("new", None, State.QUIET),
        ("shop", timedelta(hours=15), State.DELIVERING),
    ]
    only = await freshness(pool, tenant_id, now, Which(sources=["shop"]))
    assert [f.source for f in only] == ["shop"]
    assert [f.source for f in await freshness(pool, tenant_id, now, first=1)] == ["sensor"]


async def test_who_is_known_for_less_than_a_week_is_quiet_and_not_silent(
    pool: Pool, seeded: Seed
) -> None:
    (old, young) = await sources(pool, seeded.tenant_id, "old", "young")
    last = this_hour() - HOUR
    for hours in range(8 * 24):
        await count(pool, seeded.tenant_id, last - hours * HOUR, CountKey(old, 0, ACCEPTED, ""))
        if hours <= 6 * 24:
            await count(
                pool, seeded.tenant_id, last - hours * HOUR, CountKey(young, 0, ACCEPTED, "")
            )
    while await roll_up(pool):
        pass
    for later, old_is, young_is in (
        (90, State.DELIVERING, State.DELIVERING),
        (91, State.SILENT, State.QUIET),
    ):
        found = await freshness(pool, seeded.tenant_id, last + timedelta(minutes=later))
        assert {f.source: f.state for f in found} == {"old": old_is, "young": young_is}
        assert {f.source: last - f.known_since for f in found} == {
            "old": 8 * DAY - HOUR,
            "young": 6 * DAY,
        }


@pytest.mark.parametrize("turns", [0, 1, 3], ids=lambda turns: f"rolled up {turns} times")
async def test_of_the_first_hours_the_longest_gap_by_minutes_counts(
    pool: Pool, seeded: Seed, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """The same, whether minutes were rolled up at once, little by little or not at all."""
    start = this_hour() - 3 * HOUR
    minutes = [0, 1, 2, 6, 7, 31, 32, 55, 58]
    for minute in minutes:
        moment = start + timedelta(minutes=minute)
        await count(pool, seeded.tenant_id, moment, CountKey(0, 0, ACCEPTED, ""), writer=1)
        await count(pool, seeded.tenant_id, moment, CountKey(0, 0, ACCEPTED, ""), writer=2)
    for turn in range(turns):
        monkeypatch.setattr(
            clock, "now", lambda turn=turn: start + timedelta(minutes=22 * (turn + 1))
        )
        await roll_up(pool)
    last = start + timedelta(minutes=58)
    for silence, state in ((36, State.DELIVERING), (37, State.QUIET)):
        (found,) = await freshness(pool, seeded.tenant_id, last + timedelta(minutes=silence))
        assert found.state is state
        assert found.usual_gap == timedelta(minutes=24)
        assert (found.known_since, found.last_minute) == (start, last)


async def test_a_source_of_one_minute_is_quiet_after_five_more_and_never_silent(
    pool: Pool, seeded: Seed
) -> None:
    minute = this_hour() - 9 * HOUR
    await count(pool, seeded.tenant_id, minute, CountKey(0, 0, ACCEPTED, ""))
    await roll_up(pool)
    for later, state in (
        (timedelta(minutes=5), State.DELIVERING),
        (timedelta(minutes=6), State.QUIET),
        (90 * DAY, State.QUIET),
    ):
        (found,) = await freshness(pool, seeded.tenant_id, minute + later)
        assert (found.usual_gap, found.state) == (None, state)


@pytest.mark.parametrize("rolled", [False, True], ids=["minutes", "rolled up"])
async def test_who_comes_back_after_a_fortnight_is_new(
    pool: Pool, seeded: Seed, monkeypatch: pytest.MonkeyPatch, rolled: bool
) -> None:
    back, key = this_hour() - HOUR, CountKey(0, 0, ACCEPTED, "")
    for hours in range(4):
        await count(pool, seeded.tenant_id, back - 20 * DAY + hours * HOUR, key)
    with monkeypatch.context() as then:
        then.setattr(clock, "now", lambda: back - 10 * DAY)
        await roll_up(pool)
    await count(pool, seeded.tenant_id, back, key)
    await count(pool, seeded.tenant_id, back + timedelta(minutes=7), key)
    if rolled:
        await roll_up(pool)
    (found,) = await freshness(pool, seeded.tenant_id, back + timedelta(minutes=30))
    assert (found.known_since, found.usual_gap) == (back, timedelta(minutes=7))
    assert found.state is State.QUIET


async def test_a_chart_is_the_same_at_any_moment_of_a_roll_up(
    pool: Pool, seeded: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup, "HOURS_A_TURN", 1)
    start = this_hour() - 40 * HOUR
    await pool.execute(
        "insert into ingest_stat select 0, $1, m, 0, 0, 1, '', 0, 1, 1"
        " from generate_series($2::timestamptz, $3, interval '7 minutes') m",
        seeded.tenant_id, start, this_hour(),
    )  # fmt: skip
    expected = await pool.fetchval("select sum(events) from ingest_stat")

    async def roll_all() -> None:
        while await roll_up(pool):
            pass

    running = asyncio.create_task(roll_all())
    seen = []
    while not running.done():
        seen.append(await total(pool, seeded.tenant_id, start, this_hour() + HOUR))
    await running
    assert len(seen) > 5
    assert set(seen) == {expected}


async def test_freshness_is_of_this_minute(pool: Pool, seeded: Seed) -> None:
    minute = clock.now().replace(second=0, microsecond=0)
    await count(pool, seeded.tenant_id, minute, CountKey(0, 0, ACCEPTED, ""))
    await count(pool, seeded.tenant_id, minute - 9 * HOUR, CountKey(0, 0, ACCEPTED, ""))
    await roll_up(pool)
    (found,) = await freshness(pool, seeded.tenant_id, clock.now())
    assert found.last_minute == minute


async def test_another_tenant_s_counters_are_nowhere(pool: Pool, seeded: Seed) -> None:
    from app.access.queries import create_tenant

    other = await create_tenant("other")
    for hours in (0, 4, 30):
        await count(pool, other, clock.now() - hours * HOUR, CountKey(0, 0, ACCEPTED, ""))
    await roll_up(pool)
    start = datetime(2020, 1, 1, tzinfo=UTC)
    assert await total(pool, seeded.tenant_id, start, clock.now()) == 0
    assert await total(pool, other, start, clock.now()) == 3
    assert await freshness(pool, seeded.tenant_id, clock.now()) == []
