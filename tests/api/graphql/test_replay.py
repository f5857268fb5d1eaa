"""Replaying quarantine: judged again by today's registry, delivered as anything else is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app import clock
from app.access.keys import Scope
from app.access.queries import revoke_key
from app.db.pool import lent_pool
from app.quarantine.filter import Filter
from app.registry.files import read_registry
from app.registry.service import apply_files
from app.replay import job
from app.replay import queries as replays
from tests.api.graphql.support import GraphQL, other_tenant
from tests.support import Api, Seed, eventually, purchase, service_in_process

REPLAY = """
mutation ($filter: QuarantineFilter, $dryRun: Boolean!) {
  replayQuarantine(filter: $filter, dryRun: $dryRun) {
    __typename
    ... on ReplayStarted { replay { id state dryRun } }
    ... on NotPermitted { reason }
  }
}
"""
ONE = """
query ($id: ID!) {
  quarantineReplay(id: $id) {
    state reason total scanned accepted duplicate conflict rejected failed finishedAt
  }
}
"""
STOP = "mutation ($id: ID!) { stopQuarantineReplay(id: $id) { __typename } }"
ITEMS = """
{ quarantine { nodes { externalEventId state eventId event { externalEventId occurredAt } } } }
"""
GIFT = {"eventType": "gift_card_sold", "properties": {"value": 5}}


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


@pytest.fixture
def register(api: Api, tmp_path: Path) -> Callable[[], Awaitable[None]]:
    """Register gift_card_sold, and wait until the worker knows it."""

    async def register() -> None:
        folder = tmp_path / "gift_card_sold"
        folder.mkdir()
        document = {"type": "object", "properties": {"value": {"type": "number"}}}
        document |= {"required": ["value"], "additionalProperties": False}
        (folder / "1.json").write_bytes(msgspec.json.encode(document))
        await apply_files(api.tenant_id, read_registry(tmp_path), actor="test")

        async def is_known() -> bool:
            return (await api.post(purchase("probe", **GIFT))).status_code in (200, 202)

        await eventually(is_known)
        await api.client.post("/v1/cdp/events", content=b"")

    return register


def gift(name: str, value: object = 5, **changes: Any) -> dict[str, Any]:
    return purchase(name, eventType="gift_card_sold", properties={"value": value}, **changes)


async def refuse(api: Api, *items: object) -> None:
    for result in await api.results(list(items)):
        assert result["status"] == "error", result


async def replayed(gql: GraphQL, filter_: Any = None, *, dry_run: bool = False) -> dict[str, Any]:
    """The figures of a replay that ran to its end."""
    answer = await gql.data(REPLAY, {"filter": filter_, "dryRun": dry_run})
    started = answer["replayQuarantine"]
    assert started["__typename"] == "ReplayStarted"
    return await finished(gql, started["replay"]["id"])


async def finished(gql: GraphQL, replay_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def is_over() -> bool:
        found.update((await gql.data(ONE, {"id": replay_id}))["quarantineReplay"])
        return bool(found["state"] != "RUNNING")

    await eventually(is_over, 20)
    assert found.pop("finishedAt") is not None
    return found


def done(**figures: int) -> dict[str, Any]:
    """All that there was to look at was looked at."""
    names = ("scanned", "accepted", "duplicate", "conflict", "rejected", "failed")
    total = {"total": figures["scanned"]}
    return {"state": "DONE", "reason": None} | total | dict.fromkeys(names, 0) | figures


async def test_what_a_missing_schema_rejected_is_accepted_once_it_is_there(
    api: Api, gql: GraphQL, register: Callable[[], Awaitable[None]]
) -> None:
    await refuse(api, *(gift(f"g{n}") for n in range(3)), gift("wrong", "five"))
    await register()
    gifts = {"eventType": "gift_card_sold", "received": {"since": "2020-01-01T00:00:00Z"}}
    probes = len(await api.fetch("select 1 from quarantine where external_event_id = 'probe'"))
    first = await replayed(gql, gifts | {"reason": "event_type_unregistered"})
    assert first == done(scanned=4 + probes, accepted=3, duplicate=probes, rejected=1)
    items = (await gql.data(ITEMS))["quarantine"]["nodes"]
    state = {item["externalEventId"]: item["state"] for item in items}
    assert state["g0"] == state["g1"] == state["g2"] == "ACCEPTED"
    assert state["wrong"] == "OPEN"
    events = {item["externalEventId"]: item["event"] for item in items if item["event"]}
    assert events["g0"]["externalEventId"] == "g0"
    again = await replayed(gql, gifts)
    assert again == done(scanned=4 + probes, rejected=1)
    assert (await api.reconciliation()).balanced


async def test_a_second_replay_of_the_same_items_finds_duplicates_only(
    api: Api, gql: GraphQL, register: Callable[[], Awaitable[None]]
) -> None:
    await refuse(api, *(gift(f"g{n}") for n in range(3)))
    await register()
    which = {"reason": "event_type_unregistered", "source": "brand.pos"}
    await replayed(gql, which)
    # As a crash between a step's commit and its note leaves them.
    await api.fetch(
        "update quarantine set resolution = null, resolved_at = null, event_key = null"
        " where external_event_id like 'g%'"
    )
    second = await replayed(gql, which)
    assert (second["accepted"], second["duplicate"]) == (0, 3)
    assert len(await api.fetch("select 1 from event where external_event_id like 'g%'")) == 3
    assert (await api.reconciliation()).balanced


async def test_a_dry_run_counts_the_same_and_changes_nothing(
    api: Api, gql: GraphQL, register: Callable[[], Awaitable[None]]
) -> None:
    gifts = [gift("g1"), gift("g1"), gift("g2"), gift("g2", 7), gift("wrong", "five")]
    await refuse(api, *gifts, gift("erased"))
    await register()
    assert (await api.post(gift("erased"))).status_code == 202
    await api.fetch(
        "update event_key k set state = 1 from event e"
        " where e.event_key = k.event_key and e.external_event_id = 'erased'"
    )
    which = {"source": "brand.pos", "path": "/eventType"}
    before = await api.fetch("select outcome, sum(events) from ingest_stat group by 1 order by 1")
    foreseen = await replayed(gql, which, dry_run=True)
    after = await api.fetch("select outcome, sum(events) from ingest_stat group by 1 order by 1")
    assert after == before
    assert await api.fetch("select 1 from quarantine where resolution is not null") == []
    real = await replayed(gql, which)
    assert foreseen == real
    assert (real["accepted"], real["conflict"], real["rejected"]) == (2, 2, 1)


async def test_an_event_without_occurred_at_happened_when_it_was_first_received(
    api: Api, gql: GraphQL, register: Callable[[], Awaitable[None]]
) -> None:
    item = gift("g1")
    del item["occurredAt"]
    await refuse(api, item)
    await register()
    await replayed(gql, {"reason": "event_type_unregistered"})
    ((occurred, sent, refused_at),) = await api.fetch(
        "select e.occurred_at, e.occurred_at_sent, q.received_at from event e, quarantine q"
        " where e.external_event_id = 'g1' and q.external_event_id = 'g1'"
    )
    assert (occurred, sent) == (refused_at, False)
    retry = await api.post(item)
    assert (retry.status_code, retry.json()["status"]) == (200, "duplicate")


async def test_what_the_asking_key_may_not_deliver_stays_refused(
    api: Api, gql: GraphQL, register: Callable[[], Awaitable[None]]
) -> None:
    await refuse(api, gift("g1"), gift("g2", source="brand.crm"))
    await register()
    scopes = [Scope.EVENTS_READ, Scope.EVENTS_WRITE]
    crm = await api.new_key(scopes=scopes, sources=["brand.crm"])
    answer = await gql.data(REPLAY, {"dryRun": False}, key=crm)
    replay_id = answer["replayQuarantine"]["replay"]["id"]

    async def is_over() -> bool:
        one = (await gql.data(ONE, {"id": replay_id}))["quarantineReplay"]
        return bool(one["state"] == "DONE")

    await eventually(is_over)
    rows = await api.fetch("select external_event_id from event where external_event_id like 'g%'")
    assert [row[0] for row in rows] == ["g2"]


async def test_what_its_sender_was_not_allowed_is_replayed_only_when_it_is_asked_for_by_name(
    api: Api, gql: GraphQL
) -> None:
    till = await api.new_key(sources=["brand.pos"])
    assert (await api.post(purchase("forged", source="brand.crm"), key=till)).status_code == 403
    for which in (None, {"source": "brand.crm"}, {"reason": "source_not_allowed"}):
        assert await replayed(gql, which) == done(scanned=1)
    assert await api.fetch("select 1 from event") == []
    assert await replayed(gql, {"errorCode": "forbidden"}) == done(scanned=1, accepted=1)


async def test_a_replay_rests_after_each_step_for_as_long_as_it_took() -> None:
    left = [0.01, 0.02, 0.03]
    took: list[float] = []

    async def step() -> bool:
        began = time.monotonic()
        if left:
            await asyncio.sleep(left.pop())
            took.append(time.monotonic() - began)
        return len(took) < 3 or bool(left)

    began = time.monotonic()
    await job.paced(step)
    assert time.monotonic() - began >= sum(took) + sum(took[:-1])


async def test_a_replay_ends_when_its_key_is_revoked(api: Api, gql: GraphQL) -> None:
    await refuse(api, gift("g1"))
    key = await api.new_key(scopes=[Scope.EVENTS_WRITE])
    await revoke_key(api.tenant_id, key.split("_")[2])

    async def is_refused() -> bool:
        return (await api.post(purchase("x"), key=key)).status_code == 401

    await eventually(is_refused)
    async with lent_pool().acquire() as connection:
        await replays.start_replay(
            connection,
            api.tenant_id,
            public_id=key.split("_")[2],
            which=Filter(),
            dry_run=False,
            now=clock.now(),
        )

    async def is_stopped() -> bool:
        rows = await api.fetch("select state, reason from quarantine_replay")
        return [tuple(row) for row in rows] == [("STOPPED", "key_not_valid")]

    await eventually(is_stopped)
    assert await api.fetch("select 1 from event where external_event_id = 'g1'") == []
    assert [tuple(row) for row in await api.fetch("select resolution from quarantine")] == [(None,)]


async def test_a_replay_can_be_stopped_also_when_it_is_over(api: Api, gql: GraphQL) -> None:
    started = (await gql.data(REPLAY, {"dryRun": True}))["replayQuarantine"]["replay"]
    for _ in range(2):
        answer = await gql.data(STOP, {"id": started["id"]})
        assert answer["stopQuarantineReplay"] == {"__typename": "ReplayStopped"}
    for missing in ("rpl_" + "0" * 32, "evt_" + "0" * 32):
        answer = await gql.data(STOP, {"id": missing})
        assert answer["stopQuarantineReplay"] == {"__typename": "NotFound"}


@pytest.mark.parametrize(("bound", "value"), [("STEP_ITEMS", 2), ("STEP_BYTES", 1)])
async def test_a_replay_goes_on_where_another_worker_left_it(
    database_url: str, seeded: Seed, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(job, bound, value)
    async with service_in_process(database_url, seeded) as api:
        await refuse(api, *(purchase(f"n{n}", eventType="nonsense") for n in range(7)))
        gql = GraphQL(api)
        started = (await gql.data(REPLAY, {"dryRun": False}))["replayQuarantine"]["replay"]
        await api.fetch(
            "update quarantine_replay set state = 'RUNNING', finished_at = null, reason = null"
        )
    async with service_in_process(database_url, seeded) as api:
        gql = GraphQL(api)

        assert await finished(gql, started["id"]) == done(scanned=7, rejected=7)


async def test_another_tenant_sees_no_replay_and_replays_none_of_our_items(
    api: Api, gql: GraphQL
) -> None:
    await refuse(api, gift("g1"))
    started = (await gql.data(REPLAY, {"dryRun": True}))["replayQuarantine"]["replay"]
    other = await other_tenant()
    assert (await gql.data(ONE, {"id": started["id"]}, key=other))["quarantineReplay"] is None
    answer = await gql.data(STOP, {"id": started["id"]}, key=other)
    assert answer["stopQuarantineReplay"] == {"__typename": "NotFound"}
    theirs = (await gql.data(REPLAY, {"dryRun": False}, key=other))["replayQuarantine"]["replay"]

    async def is_over() -> bool:
        one = (await gql.data(ONE, {"id": theirs["id"]}, key=other))["quarantineReplay"]
        return bool(one["state"] == "DONE" and one["scanned"] == 0)

    await eventually(is_over)
