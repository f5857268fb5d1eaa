"""What an operator relies on: readiness, overload, metrics, logs, changes on every worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.access.queries import revoke_key
from app.db.embedded import EmbeddedPostgres
from app.db.migrate import migrate
from app.registry.files import read_registry
from app.registry.service import apply_files
from tests.api.test_cli import NUMBER, TEXT, write_type
from tests.conftest import FAST
from tests.support import (
    Api,
    Seed,
    ServiceProcess,
    eventually,
    purchase,
    seed,
    service_in_process,
)

rule = pytest.mark.contract


@pytest.fixture
def postgres(data_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, to stop and to hold up."""
    with EmbeddedPostgres(data_folder, FAST) as postgres:
        yield postgres


async def is_ready(api: Api) -> bool:
    return (await api.client.get("/readyz")).status_code == 200


@rule("3: 5xx is transient, the same key can be sent again")
@rule("4.21: 503 while Postgres is away, nothing is accepted into memory")
async def test_while_postgres_is_away_events_get_503_and_readyz_says_no(
    postgres: EmbeddedPostgres,
) -> None:
    await migrate(postgres.dsn())
    seeded = await seed(postgres.dsn())
    async with service_in_process(postgres.dsn(), seeded) as api:
        assert (await api.post(purchase("before"))).status_code == 202
        postgres.stop()
        async with asyncio.timeout(20):
            refused = await api.post(purchase("away"))
            many = await api.batch([purchase("away1"), purchase("away2")])
            alive = await api.client.get("/healthz")
            ready = await api.client.get("/readyz")
        assert (refused.status_code, refused.json()["error_code"]) == (503, "unavailable")
        assert refused.headers["retry-after"] == "1"
        assert many.status_code == 503
        assert (alive.status_code, ready.status_code) == (200, 503)
        postgres.start()
        await eventually(lambda: is_ready(api), 20)
        assert (await api.post(purchase("away"))).status_code == 202
        assert (await api.post(purchase("before"))).status_code == 200


@rule("4.21: 503 when Postgres hangs; a retry finds out what became of it")
async def test_while_postgres_hangs_callers_are_not_kept_waiting(
    postgres: EmbeddedPostgres,
) -> None:
    await migrate(postgres.dsn())
    seeded = await seed(postgres.dsn())
    settings: dict[str, Any] = {"answer_within_seconds": 0.5}
    async with service_in_process(postgres.dsn(), seeded, **settings) as api:
        assert (await api.post(purchase("before"))).status_code == 202
        pids = await api.fetch("select pid from pg_stat_activity where application_name='cdp'")
        for row in pids:
            os.kill(row["pid"], signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*(api.post(purchase(f"h{n}")) for n in range(8)))
        finally:
            for row in pids:
                os.kill(row["pid"], signal.SIGCONT)
        assert {answer.status_code for answer in answers} <= {202, 503}
        assert 503 in {answer.status_code for answer in answers}

        async def all_have_verdicts() -> bool:
            again = await asyncio.gather(*(api.post(purchase(f"h{n}")) for n in range(8)))
            return {answer.status_code for answer in again} == {200}

        await eventually(all_have_verdicts, 20)
        proof = await api.reconciliation()
        assert proof.balanced
        assert proof.accepted == 9


@rule("4.21: the queue is bounded")
async def test_a_full_queue_answers_503_and_loses_nothing_that_was_accepted(
    database_url: str, seeded: Seed
) -> None:
    settings: dict[str, Any] = {"max_queue_events": 50, "max_flush_events": 10, "flush_lanes": 1}
    async with service_in_process(database_url, seeded, **settings) as api:
        await api.post(purchase("first"))  # its source is known from here on
        answers = await asyncio.gather(*(api.post(purchase(f"q{n}")) for n in range(300)))
        codes = {answer.status_code for answer in answers}
        assert codes == {202, 503}
        stored = await api.fetch("select count(*) as events from event")
        accepted = 1 + sum(answer.status_code == 202 for answer in answers)
        assert stored[0]["events"] == accepted
        assert all("retry-after" in a.headers for a in answers if a.status_code == 503)


@rule("4.22: a publish is enforced on every worker")
async def test_a_publish_is_enforced_on_every_worker(
    database_url: str, seeded: Seed, tmp_path: Path
) -> None:
    folder = write_type(tmp_path, "gift_card_sold", [{"value": NUMBER}])
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(service_in_process(database_url, seeded))
            for _ in range(3)
        ]
        event = {"eventType": "gift_card_sold", "properties": {"value": 5}}
        before = [await worker.post(purchase("a", **event)) for worker in workers]
        assert [answer.status_code for answer in before] == [422] * 3
        await apply_files(seeded.tenant_id, read_registry(folder), actor="test")

        async def all_know() -> bool:
            answers = [await w.post(purchase(f"w{n}", **event)) for n, w in enumerate(workers)]
            return all(answer.is_success for answer in answers)

        await eventually(all_know)


@rule("4.20: revocation is effective on every worker")
async def test_a_revoked_key_is_refused_by_every_worker(database_url: str, seeded: Seed) -> None:
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(service_in_process(database_url, seeded))
            for _ in range(3)
        ]
        key = await workers[0].new_key()
        before = [await w.post(purchase(f"w{n}"), key=key) for n, w in enumerate(workers)]
        assert [answer.status_code for answer in before] == [202] * 3, "known at once, everywhere"
        await revoke_key(seeded.tenant_id, key.split("_")[2])
        await asyncio.sleep(1)
        after = [await worker.post(purchase("late"), key=key) for worker in workers]
        assert [answer.status_code for answer in after] == [401] * 3


@rule("4.22: forcing gives the old version a grace window, the event its version")
async def test_in_its_grace_window_the_old_version_is_accepted_with_a_warning(
    api: Api, tmp_path: Path
) -> None:
    folder = write_type(tmp_path, "gift_card_sold", [{"value": NUMBER}, {"value": TEXT}])
    files = read_registry(folder, check_compatibility=False)
    until = datetime.now(UTC) + timedelta(seconds=2)
    await apply_files(api.tenant_id, files, actor="test", reason="a test", grace_until=until)

    async def post(name: str, value: object) -> Any:
        changes = {"eventType": "gift_card_sold", "properties": {"value": value}}
        return await api.post(purchase(name, **changes))

    async def is_known() -> bool:
        return bool((await post("new", "five")).is_success)

    await eventually(is_known)
    old = await post("old", 5)
    assert old.status_code == 202
    assert [w["code"] for w in old.json()["warnings"]] == ["version_superseded"]
    rows = await api.fetch(
        "select e.external_event_id, v.version from event e"
        " join event_type_version v on v.id = e.version_id order by 1"
    )
    assert [tuple(row) for row in rows] == [("new", 2), ("old", 1)]
    await asyncio.sleep(2)
    assert (await post("late", 5)).status_code == 422


@rule("4.11: STRIP accepts, warns and stores without")
async def test_stripped_properties_are_left_out_and_named(api: Api) -> None:
    properties = {"product_id": "sku-1", "utm_source": "letter"}
    response = await api.post(purchase("a", eventType="product_viewed", properties=properties))
    assert response.status_code == 202, response.text
    assert [(w["path"], w["code"]) for w in response.json()["warnings"]] == [
        ("/properties/utm_source", "property_stripped")
    ]
    rows = await api.fetch("select properties::text as text from event")
    assert json.loads(rows[0]["text"]) == {"product_id": "sku-1"}


@rule("4.11: ALLOW stores what is not registered")
async def test_allowed_properties_are_stored_as_sent(api: Api) -> None:
    properties = {"app_version": "3.1", "platform": "ios"} | {"battery": {"level": [1, 2.50]}}
    response = await api.post(purchase("a", eventType="app_opened", properties=properties))
    assert response.status_code == 202, response.text
    rows = await api.fetch("select properties::text as text from event")
    assert json.loads(rows[0]["text"])["battery"] == {"level": [1, 2.5]}


async def test_metrics_count_outcomes_and_flushes(api: Api) -> None:
    def samples(text: str) -> dict[tuple[str, str], float]:
        return {
            (sample.name, sample.labels.get("outcome", "")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    before = samples((await api.client.get("/metrics")).text)
    await api.batch([purchase("a"), purchase("a"), purchase("b", identity={})])
    await api.post(purchase("a", properties={"order_id": "x", "amount": 1, "currency": "USD"}))
    response = await api.client.get("/metrics")
    after = samples(response.text)
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert {
        outcome: after[("cdp_events_total", outcome)] - before.get(("cdp_events_total", outcome), 0)
        for outcome in ("accepted", "duplicate", "conflict", "rejected")
    } == {"accepted": 1, "duplicate": 1, "conflict": 1, "rejected": 1}
    assert {name for name, _ in after} >= {
        "cdp_request_seconds_count", "cdp_flush_events_count", "cdp_flush_seconds_count",
        "cdp_queue_events", "cdp_pool_connections",
    }  # fmt: skip


async def test_several_workers_show_one_sum_of_metrics(database_url: str, seeded: Seed) -> None:
    environment = {"CDP_DATABASE_URL": database_url}
    service = ServiceProcess(environment, "--workers", "2")
    try:
        service.wait_until_ready()
        headers = {"Authorization": f"Bearer {seeded.key}"}
        for number in range(12):  # a connection each: they come to both workers
            event = purchase(f"m{number}")
            httpx.post(f"{service.url}/v1/cdp/events", json=event, headers=headers, timeout=10)
        text = httpx.get(f"{service.url}/metrics").text
    finally:
        service.stop()
    assert 'cdp_events_total{outcome="accepted"} 12.0' in text


def test_logs_have_request_ids_and_never_what_was_sent(database_url: str, seeded: Seed) -> None:
    service = ServiceProcess({"CDP_DATABASE_URL": database_url, "CDP_LOG_LEVEL": "debug"})
    marker = "marker4711"
    email = {"email": f"{marker}@example.com"}
    try:
        service.wait_until_ready()
        client = httpx.Client(
            base_url=service.url, headers={"Authorization": f"Bearer {seeded.key}"}
        )
        bad = purchase(
            marker,
            source=marker,
            identity=email | {"phone": marker},
            properties={"order_id": marker, "amount": marker, "currency": "USD", marker: marker},
        )
        with client:
            refused = client.post("/v1/cdp/events", json=bad)
            client.post("/v1/cdp/events", json=purchase("a", identity=email))
            client.post("/v1/cdp/events", json=purchase("a", identity={"email": "x@example.com"}))
            client.post("/v1/cdp/events", content=f"{{{marker}".encode())
            client.post(
                "/v1/cdp/events", json={}, headers={"Authorization": f"Bearer cdp_{marker}"}
            )
            client.get(f"/{marker}")
        with socket.create_connection(("127.0.0.1", service.port)) as caller:
            caller.sendall(f"{marker}\r\n\r\n".encode())
            caller.recv(100)
    finally:
        printed = service.stop()
    assert marker not in printed
    logged = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert refused.json()["request_id"] in {line.get("request_id") for line in logged}
    from_library = [line for line in logged if line["event"] == "Invalid HTTP request received."]
    assert [set(line) for line in from_library] == [{"event", "level", "timestamp"}]
