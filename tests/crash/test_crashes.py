"""Killed in mid-load: whatever was acknowledged is there, and a full retry counts nothing twice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import Api, Seed, ServiceProcess, purchase, reconciliation

EVENTS = 1_500
BATCH = 25
KILL_AFTER = 300


def items() -> list[dict[str, Any]]:
    return [
        purchase(f"crash_{n}", identity={"email": f"c{n // 3}@example.com"}) for n in range(EVENTS)
    ]


async def deliver_all(
    url: str, key: str, acknowledged: dict[str, str], kill: Any, again: Any
) -> None:
    """Deliver everything, again until there is a verdict; kill once in the middle."""
    events = items()
    batches = [events[start : start + BATCH] for start in range(0, EVENTS, BATCH)]
    queue = iter(batches)
    killed = False
    headers = {"Authorization": f"Bearer {key}"}
    deadline = time.monotonic() + 90

    async def caller(client: httpx.AsyncClient) -> None:
        nonlocal killed
        for batch in queue:
            while True:
                assert time.monotonic() < deadline
                try:
                    response = await client.post("/v1/cdp/events/batch", json={"items": batch})
                except httpx.TransportError:
                    response = None
                if response is not None and response.status_code == 200:
                    break
                assert response is None or response.status_code == 503, response.text
                await asyncio.sleep(0.05)
            for event, result in zip(batch, response.json()["results"], strict=True):
                assert result["status"] in ("accepted", "duplicate"), result
                acknowledged[event["externalEventId"]] = (
                    result.get("event_id") or result["original_event_id"]
                )
            if not killed and len(acknowledged) >= KILL_AFTER:
                killed = True
                kill()
                again()

    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as client:
        await asyncio.gather(*(caller(client) for _ in range(6)))
    assert killed


async def check(database_url: str, tenant_id: int, url: str, key: str, acknowledged: Any) -> None:
    """Every acknowledged id is there, a full retry gives duplicates of them, counters agree."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        api = Api(client, database_url, Seed(tenant_id, key))
        results = [
            r
            for start in range(0, EVENTS, 500)
            for r in await api.results(items()[start : start + 500])
        ]
        rows = await api.fetch("select external_event_id, event_key from event")
    assert [result["status"] for result in results] == ["duplicate"] * EVENTS
    stored = {row["external_event_id"]: "evt_" + row["event_key"].hex for row in rows}
    assert len(rows) == EVENTS
    assert stored == acknowledged
    proof = await reconciliation(database_url, tenant_id)
    assert proof.balanced
    assert proof.accepted == EVENTS


@pytest.mark.contract("4.1: accepted is committed: no kill loses or doubles it")
async def test_killing_the_service_in_mid_load_loses_and_doubles_nothing(
    database_url: str, seeded: Seed
) -> None:
    environment = {"CDP_DATABASE_URL": database_url}
    service = ServiceProcess(environment, "--workers", "2")
    service.wait_until_ready()
    services = [service]

    def again() -> None:
        services.append(ServiceProcess(environment, "--workers", "2", port=service.port))

    acknowledged: dict[str, str] = {}
    try:
        await deliver_all(service.url, seeded.key, acknowledged, service.kill, again)
        services[-1].wait_until_ready()
        await check(database_url, seeded.tenant_id, service.url, seeded.key, acknowledged)
    finally:
        services[-1].stop()


@pytest.mark.contract("4.1: accepted is committed: no kill loses or doubles it")
async def test_killing_postgres_in_mid_load_loses_and_doubles_nothing(data_folder: Path) -> None:
    environment = {"CDP_DATA_DIR": str(data_folder)}
    service = ServiceProcess(environment, "--dev")
    try:
        service.wait_until_ready()
        key = (data_folder / "demo.key").read_text().strip()
        from app.db.embedded import running_dsn

        database_url = running_dsn(data_folder)
        assert database_url is not None
        pid = int((data_folder / "data" / "postmaster.pid").read_text().split()[0])
        acknowledged: dict[str, str] = {}
        await deliver_all(
            service.url, key, acknowledged, lambda: os.kill(pid, signal.SIGKILL), lambda: None
        )
        service.wait_until_ready()
        from app.access.queries import find_tenant
        from app.db.pool import close_pool, open_pool

        pool = await open_pool(database_url, max_size=1)
        tenant_id = await find_tenant("demo")
        await close_pool(pool)
        assert tenant_id is not None
        await check(database_url, tenant_id, service.url, key, acknowledged)
    finally:
        service.stop()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_stop_answers_what_is_under_way(data_folder: Path, workers: str) -> None:
    service = ServiceProcess({"CDP_DATA_DIR": str(data_folder)}, "--dev", "--workers", workers)
    try:
        service.wait_until_ready()
        key = (data_folder / "demo.key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30) as client:
            under_way = [
                asyncio.create_task(
                    client.post(
                        "/v1/cdp/events/batch",
                        json={"items": [purchase(f"s{n}_{i}") for i in range(400)]},
                    )
                )
                for n in range(6)
            ]
            await asyncio.sleep(0.15)
            service.process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*under_way, return_exceptions=True)
        printed = service.stop()
    finally:
        service.stop()
    assert service.process.returncode == 0, printed
    assert "stopped" in printed
    answered = [a for a in answers if isinstance(a, httpx.Response)]
    assert answered, "what had arrived before the stop is answered"
    assert {answer.status_code for answer in answered} <= {200, 503}
    assert not (data_folder / "data" / "postmaster.pid").exists(), "Postgres is stopped as well"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_closed_terminal_stops_the_service(data_folder: Path, workers: str) -> None:
    service = ServiceProcess({"CDP_DATA_DIR": str(data_folder)}, "--workers", workers)
    try:
        service.wait_until_ready()
        service.process.send_signal(signal.SIGHUP)
        service.process.wait(60)
        printed = service.printed()
    finally:
        service.stop()
    assert service.process.returncode == 0, printed
    assert "stopped" in printed
    assert not (data_folder / "data" / "postmaster.pid").exists(), "Postgres is stopped as well"
