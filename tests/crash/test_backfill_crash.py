"""Killed while a property's values are backfilled: the next start ends with each value once."""

from __future__ import annotations

import time
from typing import Any

import asyncpg
import httpx

from tests.support import Seed, ServiceProcess, eventually, purchase

EVENTS = 8_000
BATCH = 2_000
MARK = (
    'mutation { markSegmentable(eventType: "purchase_completed", path: "/order_id")'
    " { __typename } }"
)


def deliver(client: httpx.Client) -> None:
    for start in range(0, EVENTS, BATCH):
        items = [
            purchase(f"e{n}", properties={"order_id": f"order_{n}", "amount": 1, "currency": "EUR"})
            for n in range(start, start + BATCH)
        ]
        answer = client.post("/v1/cdp/events/batch", json={"items": items})
        assert {result["status"] for result in answer.json()["results"]} == {"accepted"}


async def test_a_backfill_survives_kill_9(database_url: str, seeded: Seed) -> None:
    environment = {"CDP_DATABASE_URL": database_url}
    first = ServiceProcess(environment)
    headers = {"Authorization": f"Bearer {seeded.key}"}
    try:
        first.wait_until_ready()
        with httpx.Client(base_url=first.url, headers=headers, timeout=30) as client:
            deliver(client)
            time.sleep(6)  # older than clocks may differ: the backfill takes them at once
            marked = client.post("/graphql", json={"query": MARK}).json()
            assert marked["data"]["markSegmentable"]["__typename"] == "PropertyMarked"
        connection = await asyncpg.connect(database_url)

        async def progress() -> Any:
            return await connection.fetchrow(
                "select id, state, events_scanned from segment_property where name = 'order_id'"
            )

        async def has_begun() -> bool:
            return bool((await progress())["events_scanned"] > 0)

        await eventually(has_begun, seconds=30)
    finally:
        first.kill()
    assert (await progress())["state"] == "BUILDING"
    second = ServiceProcess(environment)
    try:
        second.wait_until_ready()

        async def is_ready() -> bool:
            return bool((await progress())["state"] == "READY")

        await eventually(is_ready, seconds=120)
    finally:
        second.stop()
    mark = await progress()
    counted = await connection.fetchrow(
        f"select count(*) as rows, count(distinct value) as values from segment_value_{mark['id']}"
    )
    await connection.close()
    assert (mark["events_scanned"], *counted) == (EVENTS, EVENTS, EVENTS)
