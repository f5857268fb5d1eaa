"""A service that is killed in a replay has lost nothing and delivered nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec

from app.db.pool import close_pool, open_pool
from app.registry.files import read_registry
from app.registry.service import apply_files
from tests.support import Seed, eventually, purchase, reconciliation, service_process

ITEMS = 3_000


async def register_gift(database_url: str, tenant_id: int, folder: Path) -> None:
    (folder / "gift_card_sold").mkdir()
    document = {
        "type": "object",
        "properties": {"value": {"type": "number"}},
        "additionalProperties": False,
    }
    (folder / "gift_card_sold" / "1.json").write_bytes(msgspec.json.encode(document))
    pool = await open_pool(database_url, max_size=2)
    try:
        await apply_files(tenant_id, read_registry(folder), actor="test")
    finally:
        await close_pool(pool)


def post(url: str, key: str, body: object) -> Any:
    answer = httpx.post(
        url,
        content=msgspec.json.encode(body),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_killed_replay_goes_on_after_the_restart(
    database_url: str, seeded: Seed, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(database_url)
    environment = {"CDP_DATABASE_URL": database_url}
    try:
        with service_process(environment, "--workers", "2") as process:
            for start in range(0, ITEMS, 1_000):
                items = [
                    purchase(f"g{n}", eventType="gift_card_sold", properties={"value": n})
                    for n in range(start, start + 1_000)
                ]
                post(f"{process.url}/v1/cdp/events/batch", seeded.key, {"items": items})
            await register_gift(database_url, seeded.tenant_id, tmp_path)
            probe = purchase("g0", eventType="gift_card_sold", properties={"value": 0})

            async def is_known() -> bool:
                body = {"items": [probe]}
                answer = post(f"{process.url}/v1/cdp/events/batch", seeded.key, body)
                return bool(answer["results"][0]["status"] != "error")

            await eventually(is_known)
            asked = {"query": "mutation { replayQuarantine(dryRun: false) { __typename } }"}
            post(f"{process.url}/graphql", seeded.key, asked)

            async def is_under_way() -> bool:
                return bool(await connection.fetchval("select scanned > 0 from quarantine_replay"))

            await eventually(is_under_way, 20)
            process.kill()
        with service_process(environment, "--workers", "2"):

            async def is_done() -> bool:
                return bool(
                    await connection.fetchval("select state = 'DONE' from quarantine_replay")
                )

            await eventually(is_done, 60)
        left = await connection.fetchval(
            "select count(*) from quarantine where resolution is null and external_event_id <> 'g0'"
        )
        events = await connection.fetchval("select count(*) from event")
    finally:
        await connection.close()
    assert (left, events) == (0, ITEMS)
    assert (await reconciliation(database_url, seeded.tenant_id)).balanced
