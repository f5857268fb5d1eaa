"""Merges are undone while events pour in: none is put where it no longer belongs."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

from app.db.pool import lent_pool
from tests.api.graphql.support import GraphQL
from tests.sql.unmerging import World, identity_of
from tests.support import Api, Seed, purchase, service_in_process

WORKERS = 3
PAIRS = 15
UNMERGE = """
mutation ($profile: ID!) {
  unmergeProfile(profile: $profile, reason: "two people") {
    __typename ... on NotPermitted { reason }
  }
}
"""


async def pour(worker: Api, name: str, stop: asyncio.Event) -> int:
    """Deliver events of people who are joined again and again; returns how many."""
    chooser = random.Random(name)
    sent = 0
    while not stop.is_set():
        items: list[object] = []
        for _ in range(20):
            n = chooser.randrange(PAIRS)
            names = chooser.choice(
                [[f"e{n}"], [f"p{n}"], [f"e{n}", f"p{n}"], [f"p{n}", f"d{chooser.randrange(99)}"]]
            )
            items.append(purchase(f"{name}_{sent}", identity=identity_of(names)))
            sent += 1
        results = await worker.results(items)
        assert {result["status"] for result in results} == {"accepted"}
    return sent


async def test_merges_are_undone_while_events_pour_in(database_url: str, seeded: Seed) -> None:
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(service_in_process(database_url, seeded))
            for _ in range(WORKERS)
        ]
        api, gql = workers[0], GraphQL(workers[0])
        for kind in "ep":
            for n in range(PAIRS):
                await api.post(purchase(f"{kind}{n}", identity=identity_of([f"{kind}{n}"])))
        stop = asyncio.Event()
        pouring = [
            asyncio.create_task(pour(worker, f"w{n}", stop)) for n, worker in enumerate(workers)
        ]
        undone = 0
        while undone < PAIRS:
            rows = await api.fetch("select profile_id from profile where root_id <> profile_id")
            for row in rows:
                profile = f"prf_{row['profile_id'].hex}"
                answer = (await gql.data(UNMERGE, {"profile": profile}))["unmergeProfile"]
                undone += answer["__typename"] == "ProfileUnmerged"
                assert answer.get("reason") in (None, "busy"), answer
            await asyncio.sleep(0.05)
        stop.set()
        sent = sum(await asyncio.gather(*pouring))
        async with lent_pool().acquire() as connection:
            world = World(connection, seeded.tenant_id)
            await world.look()
            await world.check()
        events = await api.fetch("select count(*) as events from event")
        proof = await api.reconciliation()
    assert events[0]["events"] == sent + 2 * PAIRS
    assert proof.balanced
