"""Many callers at once, on several workers' worth of pools and on real worker processes."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import AsyncExitStack
from typing import Any

import httpx
import msgspec
import pytest

from tests.support import (
    EXAMPLE,
    Api,
    Seed,
    purchase,
    reconciliation,
    service_in_process,
    service_process,
)


@pytest.mark.contract("4.9: two requests in flight with one key are no conflict")
async def test_of_200_identical_posts_over_4_workers_one_is_accepted(
    database_url: str, seeded: Seed
) -> None:
    patient = {"CDP_DATABASE_URL": database_url, "CDP_ANSWER_WITHIN_SECONDS": "30"}
    with service_process(patient, "--workers", "4") as service:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=service.url, limits=limits, timeout=30) as client:
            api = Api(client, database_url, seeded)
            responses = await asyncio.gather(*(api.post(EXAMPLE) for _ in range(200)))
    bodies = [response.json() for response in responses]
    event_ids = {body.get("event_id") or body.get("original_event_id") for body in bodies}
    statuses = sorted(body["status"] for body in bodies)
    assert statuses == ["accepted"] + ["duplicate"] * 199
    assert len(event_ids) == 1
    proof = await reconciliation(database_url, seeded.tenant_id)
    assert (proof.accepted, proof.duplicate, proof.balanced) == (1, 199, True)


async def test_overlapping_batches_on_three_workers_count_every_event_once(
    database_url: str, seeded: Seed
) -> None:
    names = [f"e{n}" for n in range(120)]
    chooser = random.Random(7)
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(service_in_process(database_url, seeded))
            for _ in range(3)
        ]
        batches = [chooser.sample(names, 60) for _ in range(24)]
        answers = await asyncio.gather(
            *(
                workers[index % 3].results([purchase(name) for name in batch])
                for index, batch in enumerate(batches)
            )
        )
    accepted = [
        (name, result["event_id"])
        for batch, results in zip(batches, answers, strict=True)
        for name, result in zip(batch, results, strict=True)
        if result["status"] == "accepted"
    ]
    assert sorted(name for name, _ in accepted) == sorted(set().union(*batches))
    proof = await reconciliation(database_url, seeded.tenant_id)
    assert proof.balanced
    assert proof.received == 24 * 60


def identities(seed: int, people: int) -> list[dict[str, str]]:
    """Pieces of what is known of some people, shuffled: joined, each person is one group."""
    chooser = random.Random(seed)
    pieces: list[dict[str, str]] = []
    for person in range(people):
        parts = {
            "externalUserId": f"C{person}",
            "email": f"c{person}@example.com",
            "phone": f"+4915110000{person:03}",
            "deviceKey": f"device-{person}",
        }
        names = list(parts)
        for one, other in itertools.pairwise(names):
            pieces += [{one: parts[one], other: parts[other]}] * 2
        pieces += [{name: parts[name]} for name in names]
    chooser.shuffle(pieces)
    return pieces


async def groups(api: Api) -> set[frozenset[str]]:
    """Identifiers by the root of their profile."""
    rows = await api.fetch(
        "select p.root_id, array_agg(i.value) as identifiers"
        " from identifier i join profile p on p.profile_id = i.profile_id group by p.root_id"
    )
    return {frozenset(row["identifiers"]) for row in rows}


@pytest.mark.contract("4.17: who is who does not depend on the order of arrival")
async def test_the_graph_does_not_depend_on_concurrency(database_url: str, seeded: Seed) -> None:
    people = 12
    pieces = identities(3, people)
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(service_in_process(database_url, seeded))
            for _ in range(4)
        ]
        responses = await asyncio.gather(
            *(
                workers[index % 4].post(purchase(f"e{index}", identity=identity))
                for index, identity in enumerate(pieces)
            )
        )
        assert {response.status_code for response in responses} == {202}
        found = await groups(workers[0])
        roots = await workers[0].fetch(
            "select count(*) as wrong from profile p join profile r on r.profile_id = p.root_id"
            " where r.root_id <> r.profile_id"
        )
        events = await workers[0].fetch(
            "select count(distinct p.root_id) as people from event e"
            " join profile p on p.profile_id = e.profile_id"
        )
        conflicts = await workers[0].fetch("select * from identity_conflict")
    assert found == {
        frozenset({f"C{n}", f"c{n}@example.com", f"+4915110000{n:03}", f"device-{n}"})
        for n in range(people)
    }
    assert roots[0]["wrong"] == 0, "chains are one step long"
    assert events[0]["people"] == people
    assert conflicts == []


async def test_one_hot_profile_takes_no_deadlock_and_no_second_profile(
    database_url: str, seeded: Seed
) -> None:
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(service_in_process(database_url, seeded))
            for _ in range(3)
        ]
        answers = await asyncio.gather(
            *(workers[n % 3].post(purchase(f"hot{n}")) for n in range(150))
        )
        assert {answer.status_code for answer in answers} == {202}
        rows = await workers[0].fetch("select count(*) as profiles from profile")
    assert rows[0]["profiles"] == 1


@pytest.mark.contract(
    "4.17: two known customers are never merged, the clash is recorded, the event accepted"
)
async def test_two_customers_that_clash_in_a_race_never_share_a_profile(
    database_url: str, seeded: Seed
) -> None:
    events: list[dict[str, Any]] = [
        purchase(
            f"e{n}", identity={"externalUserId": f"C{n % 4}", "email": f"shared{n % 3}@example.com"}
        )
        for n in range(60)
    ]
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(service_in_process(database_url, seeded))
            for _ in range(3)
        ]
        answers = await asyncio.gather(
            *(workers[n % 3].post(event) for n, event in enumerate(events))
        )
        assert {answer.status_code for answer in answers} == {202}
        found = await groups(workers[0])
        rows = await workers[0].fetch(
            "select e.identity, p.root_id from event e join profile p using (profile_id)"
        )
    assert sorted(len([v for v in group if v.startswith("C")]) for group in found) == [1, 1, 1, 1]
    customer_of_root: dict[bytes, set[str]] = {}
    for row in rows:
        customer = msgspec.json.decode(row["identity"])["externalUserId"]
        customer_of_root.setdefault(row["root_id"], set()).add(customer)
    assert all(len(customers) == 1 for customers in customer_of_root.values())


@pytest.mark.contract("4.21: rate limits count events, before any work")
async def test_rate_limits_hold_across_workers(database_url: str, seeded: Seed) -> None:
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(service_in_process(database_url, seeded))
            for _ in range(2)
        ]
        key = await workers[0].new_key(events_per_minute=100)
        assert (await workers[0].batch([purchase(f"a{n}") for n in range(90)], key=key)).is_success
        assert (await workers[1].post(purchase("b"), key=key)).status_code == 202
        await asyncio.sleep(2.2)
        over = await workers[1].batch([purchase(f"c{n}") for n in range(20)], key=key)
        assert over.status_code in (200, 429)
        if over.status_code == 200:  # a new minute has begun in between
            return
        assert int(over.headers["ratelimit-remaining"]) <= 10
