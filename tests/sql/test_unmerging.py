"""Merges undone: everybody is who he was, and whatever happens leaves one consistent graph."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

import asyncpg
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from app import clock
from app.db.pool import close_pool, lent_pool, open_pool
from app.identity.resolution import profile_id_of
from app.identity.unmerging import queries, service
from app.identity.unmerging.service import NotUnmerged, Unmerged
from app.segments.backfill import backfill_batch
from app.segments.queries import share_graph
from tests.sql.unmerging import World, later
from tests.support import Seed

HOUR = timedelta(hours=1)


@asynccontextmanager
async def opened(database_url: str, seeded: Seed) -> AsyncIterator[World]:
    pool = await open_pool(database_url, max_size=2)
    try:
        async with pool.acquire() as connection:
            world = World(connection, seeded.tenant_id)
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(clock, "now", lambda: world.time)
                await world.open()
                yield world
    finally:
        await close_pool(pool)


@contextmanager
def in_world(database_url: str, seeded: Seed) -> Iterator[tuple[asyncio.Runner, World]]:
    """One database for all examples of a property."""
    with asyncio.Runner() as runner:
        context = opened(database_url, seeded)
        try:
            yield runner, runner.run(context.__aenter__())
        finally:
            runner.run(context.__aexit__(None, None, None))


@pytest.fixture
async def world(database_url: str, seeded: Seed) -> AsyncIterator[World]:
    async with opened(database_url, seeded) as world:
        yield world


NAME = st.sampled_from(["x1", "x2", *(f"{kind}{n}" for kind in "epd" for n in (1, 2, 3))])
"""Customers are few: two of them cannot be merged, so there would be nothing to undo."""


def names(least: int, most: int) -> st.SearchStrategy[list[str]]:
    return st.lists(NAME, min_size=least, max_size=most, unique_by=lambda name: name[0])


NAMES = st.one_of(names(1, 1), names(1, 3))
DELIVER = st.tuples(st.lists(NAMES, min_size=1, max_size=3), st.booleans())
UNMERGE = st.tuples(st.integers(0, 3), st.booleans())
HISTORY = st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=2, max_size=6)
STEPS = st.lists(st.one_of(DELIVER, UNMERGE), min_size=8, max_size=20)


async def run(world: World, steps: list[tuple[list[list[str]] | int, bool]]) -> int:
    """returns  the number of merges undone"""
    undone = 0
    await world.open()
    for stranger in ("e1", "p1", "d1", "e2", "p2", "x1"):
        await world.deliver([stranger])
    for what, is_later in steps:
        if isinstance(what, list):
            await world.deliver(*what, later=later(is_later))
            continue
        merged = await world.merged()
        if merged:
            done = await world.unmerge(merged[what % len(merged)], later(is_later))
            assert isinstance(done, Unmerged)
            event("unmerged")
            undone += 1
            await world.check()
    await world.check()
    return undone


async def undo_at_once(world: World, history: list[list[list[str]]], joins: list[str]) -> int:
    """Deliver a history, then one event; undo whatever it has merged.

    returns  the number of merges undone
    """
    await world.open()
    for flush in history:
        await world.deliver(*flush)
    before, merged = await world.assignment(), await world.merged()
    await world.deliver(joins)
    fresh = [profile_id for profile_id in await world.merged() if profile_id not in merged]
    for profile_id in fresh:
        event("undone at once")
        assert isinstance(await world.unmerge(profile_id), Unmerged)
    after = await world.assignment()
    assert {key: after[key] for key in before} == before
    for _ in range(2):
        await world.deliver(joins, later=HOUR)
        assert await world.merged() == merged
    await world.check()
    return len(fresh)


@pytest.mark.contract("4.17: who is who stays one consistent graph, whatever is undone")
def test_merges_and_unmerges_in_any_order_leave_one_consistent_graph(
    database_url: str, seeded: Seed
) -> None:
    undone = 0
    with in_world(database_url, seeded) as (runner, world):

        @settings(max_examples=150)
        @given(STEPS)
        def holds(steps: list[tuple[list[list[str]] | int, bool]]) -> None:
            nonlocal undone
            undone += runner.run(run(world, steps))

        holds()
    assert undone > 0


@pytest.mark.contract("4.17: an unmerge restores the assignment from before")
def test_a_merge_undone_at_once_leaves_everybody_as_before_and_stays_undone(
    database_url: str, seeded: Seed
) -> None:
    undone = 0
    with in_world(database_url, seeded) as (runner, world):

        @settings(max_examples=150)
        @given(HISTORY, names(2, 4))
        def holds(history: list[list[list[str]]], joins: list[str]) -> None:
            nonlocal undone
            undone += runner.run(undo_at_once(world, history, joins))

        holds()
    assert undone > 0


async def test_what_came_since_goes_where_its_identifiers_lead(world: World) -> None:
    await world.deliver(["e1"])
    await world.deliver(["p1"])
    await world.deliver(["e1", "p1"])
    mail, phone, both = (
        await world.deliver(["e1", "d1"], later=HOUR),
        await world.deliver(["p1", "d2"]),
        await world.deliver(["e1", "p1", "x1"]),
    )
    [merged] = await world.merged()
    done = await world.unmerge(merged)
    assert isinstance(done, Unmerged)
    assert (done.events_moved, done.identifiers_moved) == (1, 1)
    assert await world.people() == {frozenset({"e1", "d1", "x1"}), frozenset({"p1", "d2"})}
    people = await world.assignment()
    assert people[phone[0]] == merged
    assert people[mail[0]] == people[both[0]] != merged
    assert await world.conflicts() == {("p1", "separated")}
    await world.check()


async def test_an_identifier_follows_through_others_that_came_since(world: World) -> None:
    """e2 leads to p1 only over d1, all of it of after the merge and partly of one flush."""
    await world.deliver(["e1"])
    await world.deliver(["p1"])
    await world.deliver(["e1", "p1"])
    await world.deliver(["d1"], ["p1", "d1"])
    await world.deliver(["e2", "p1"], later=HOUR)
    await world.deliver(["e2"], later=HOUR)
    [merged] = await world.merged()
    await world.unmerge(merged)
    assert await world.people() == {frozenset({"e1"}), frozenset({"p1", "d1", "e2"})}
    await world.check()


async def test_a_device_of_somebody_else_s_leads_nobody_to_him(world: World) -> None:
    """e2 came with the device of e1 before it was known to be p1's, all of it of one flush."""
    await world.deliver(["e1", "d1"])
    await world.deliver(["p1"])
    await world.deliver(["e1", "p1"])
    [device, _] = await world.deliver(["e2", "d1"], ["e2", "p1"], later=HOUR)
    [merged] = await world.merged()
    await world.unmerge(merged)
    assert await world.people() == {frozenset({"e1", "d1"}), frozenset({"p1", "e2"})}
    assert (await world.assignment())[device] == merged
    await world.check()


async def test_a_device_that_was_adopted_is_nobody_s_again(world: World) -> None:
    await world.deliver(["e1"])
    [device] = await world.deliver(["d1"])
    await world.deliver(["e1", "d1"])
    [merged] = await world.merged()
    [since] = await world.deliver(["d1"], later=HOUR)
    await world.unmerge(merged)
    people = await world.assignment()
    assert people[device] == people[since] == merged
    await world.deliver(["e1", "d1"])
    assert await world.merged() == []
    await world.deliver(["e2", "d1"])
    assert await world.people() == {frozenset({"e1"}), frozenset({"e2", "d1"})}
    await world.check()


async def test_an_event_of_after_the_merge_may_seem_to_be_from_before(world: World) -> None:
    await world.deliver(["e1"], later=HOUR)
    await world.deliver(["p1"])
    await world.deliver(["e1", "p1"])
    world.time -= timedelta(seconds=50)  # another worker's clock is behind
    [since] = await world.deliver(["p1", "d1"])
    [merged] = await world.merged()
    await world.unmerge(merged)
    assert (await world.assignment())[since] == merged
    assert await world.people() == {frozenset({"e1"}), frozenset({"p1", "d1"})}
    await world.check()


async def test_who_linked_an_identifier_comes_before_whoever_names_it(world: World) -> None:
    await world.deliver(["e1"], later=HOUR)
    await world.deliver(["p1"])
    await world.deliver(["e1", "p1"])
    [linked] = await world.deliver(["p1", "d1"], later=HOUR)
    world.time -= timedelta(seconds=50)  # another worker's clock is behind
    await world.deliver(["e1", "d1"])
    [merged] = await world.merged()
    await world.unmerge(merged)
    assert (await world.assignment())[linked] == merged
    assert await world.people() == {frozenset({"e1"}), frozenset({"p1", "d1"})}
    await world.check()


async def test_an_identifier_goes_with_its_event_though_it_is_read_otherwise_today(
    world: World,
) -> None:
    await world.deliver(["e1"])
    await world.deliver(["p1"])
    await world.deliver(["e1", "p1"])
    [since] = await world.deliver(["p1", "d1"], later=HOUR)
    await world.connection.execute(
        "update event set identity = identity - 'deviceKey' where event_key = $1", since
    )
    [merged] = await world.merged()
    await world.unmerge(merged)
    assert await world.people() == {frozenset({"e1"}), frozenset({"p1", "d1"})}
    await world.check()


async def test_the_middle_of_a_chain_takes_what_was_merged_into_it_along(world: World) -> None:
    for name in ("e1", "p1", "d1"):
        await world.deliver([name], later=HOUR)
    await world.deliver(["p1", "d1"], later=HOUR)
    await world.deliver(["e1", "p1"], later=HOUR)
    middle, youngest = await world.merged()
    await world.unmerge(middle)
    assert await world.people() == {frozenset({"e1"}), frozenset({"p1", "d1"})}
    await world.unmerge(youngest)
    assert await world.people() == {frozenset({"e1"}), frozenset({"p1"}), frozenset({"d1"})}
    await world.check()


async def test_whoever_is_separated_from_a_person_is_so_from_all_that_it_falls_into(
    world: World,
) -> None:
    for name in ("e1", "p1", "d1"):
        await world.deliver([name])
    await world.deliver(["e1", "p1"])
    await world.deliver(["e1", "d1"])
    phone, device = await world.merged()
    await world.unmerge(device)
    await world.unmerge(phone)
    await world.deliver(["p1", "d1"])
    assert await world.merged() == []
    await world.check()


@pytest.mark.parametrize("order", ["e1 p1 p2", "p1 p2 e1"])
async def test_each_of_several_separations_is_remembered(world: World, order: str) -> None:
    """Of whoever stays, and of whoever leaves."""
    for name in order.split():
        await world.deliver([name])
    for other in ("p1", "p2"):
        await world.deliver(["e1", other], later=HOUR)
        [merged] = await world.merged()
        await world.unmerge(merged)
    for other in ("p1", "p2"):
        await world.deliver(["e1", other], later=HOUR)
    assert await world.merged() == []
    await world.check()


async def test_a_separation_stays_with_its_profile_alone(world: World) -> None:
    """e1 and p1 are apart; that d1 was with p1 for a while says nothing about e1 and d1."""
    for name in ("e1", "p1", "d1"):
        await world.deliver([name])
    await world.deliver(["e1", "p1"])
    [phone] = await world.merged()
    await world.unmerge(phone)
    await world.deliver(["p1", "d1"], later=HOUR)
    [device] = await world.merged()
    await world.unmerge(device)
    await world.deliver(["e1", "d1"], later=HOUR)
    assert await world.people() == {frozenset({"e1", "d1"}), frozenset({"p1"})}
    await world.check()


async def test_separated_people_do_not_come_together_over_a_third(world: World) -> None:
    await world.deliver(["e1"])
    await world.deliver(["p1"])
    await world.deliver(["e1", "p1"])
    [merged] = await world.merged()
    await world.unmerge(merged)
    await world.deliver(["e1", "d1"], ["e2", "p1"], later=HOUR)
    await world.deliver(["e2", "p1", "d1"], ["x1", "e1"], ["x1", "p1"])
    assert await world.people() == {frozenset({"e1", "d1", "x1"}), frozenset({"p1", "e2"})}
    await world.check()


async def test_an_event_that_moves_is_looked_up_by_key_in_its_partition(world: World) -> None:
    await world.connection.execute("set plan_cache_mode = force_generic_plan")
    await world.connection.execute(f"prepare tested as {queries.SQL['move_event']}")
    plan = await world.connection.fetch(
        "explain execute tested (1, 1, gen_random_uuid(), now(), gen_random_uuid())"
    )
    text = "\n".join(row[0] for row in plan)
    assert text.count("Index Scan using event_") == 1, text
    [condition] = [line for line in text.splitlines() if "Index Cond" in line]
    assert "(event_key = $3)" in condition, text
    assert "(received_at = $4)" in condition, text


async def test_what_cannot_be_undone_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [first] = await world.deliver(["e1"])
    await world.deliver(["p1"])
    await world.deliver(["e1", "p1"])
    await world.deliver(["e1", "p1"])
    [merged] = await world.merged()
    assert await world.unmerge(bytes(16)) is NotUnmerged.NO_PROFILE
    assert await world.unmerge(profile_id_of(first)) is NotUnmerged.NOT_MERGED
    for limit, refusal in (
        ("MAX_EVENTS", NotUnmerged.TOO_MANY_EVENTS),
        ("MAX_IDENTIFIERS", NotUnmerged.TOO_MANY_IDENTIFIERS),
        ("MAX_SEPARATIONS", NotUnmerged.TOO_MANY_SEPARATIONS),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(service, limit, 0)
            assert await world.unmerge(merged) is refusal
    assert await world.merged() == [merged]
    assert isinstance(await world.unmerge(merged), Unmerged)
    assert await world.unmerge(merged) is NotUnmerged.NOT_MERGED
    rows = await world.connection.fetch(
        "select actor, action, reason from registry_change order by id"
    )
    assert [tuple(row) for row in rows] == [("test", "profile_unmerged", "two people")]


async def test_a_backfill_reads_no_profiles_while_a_merge_is_undone(world: World) -> None:
    world.time -= HOUR
    await world.deliver(["e1"])
    await world.connection.execute(
        "update segment_property set state = 'BUILDING', next_at = $1, known_at = $1",
        world.time + timedelta(seconds=1),
    )
    world.time += HOUR
    await world.connection.execute("set lock_timeout = '100ms'")
    async with lent_pool().acquire() as other, other.transaction():
        await queries.hold_graph(other, world.tenant.tenant_id)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await backfill_batch(world.connection)
    assert await backfill_batch(world.connection)


async def test_while_a_flush_is_under_way_it_waits_and_then_gives_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.deliver(["e1"])
    await world.deliver(["p1"])
    await world.deliver(["e1", "p1"])
    [merged] = await world.merged()
    monkeypatch.setattr(service, "WAIT_SECONDS", 0.1)
    async with world.connection.transaction():
        await share_graph(world.connection, world.tenant.tenant_id + 1)
        assert isinstance(await world.unmerge(merged), Unmerged), "another tenant's"
        await share_graph(world.connection, world.tenant.tenant_id)
        assert await world.unmerge(merged) is NotUnmerged.NOT_MERGED
    await world.deliver(["e3"])
    await world.deliver(["p3"])
    await world.deliver(["e3", "p3"])
    [merged] = await world.merged()
    async with world.connection.transaction():
        await share_graph(world.connection, world.tenant.tenant_id)
        assert await world.unmerge(merged) is NotUnmerged.BUSY
        with monkeypatch.context() as patched:
            patched.setattr(service, "WAIT_SECONDS", 60)
            patched.setattr(service, "STATEMENT_SECONDS", 0.1)
            assert await world.unmerge(merged) is NotUnmerged.TOO_SLOW
    assert isinstance(await world.unmerge(merged), Unmerged)
