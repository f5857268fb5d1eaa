"""Outcomes over WebSocket: what is told, to whom, and that it is each one once."""

from __future__ import annotations

import ast
import asyncio
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from app import ids
from app.access import queries as access
from app.access.keys import Scope
from app.access.queries import revoke_key
from app.db.pool import close_pool, open_pool
from scripts.generate_docs import ROOT
from tests.api.graphql.sockets import (
    BRIEF,
    PROTOCOL,
    Listener,
    are_in_force,
    connected,
    listening,
    send,
    sender,
    socket_to,
)
from tests.conftest import Databases
from tests.support import (
    Seed,
    Service,
    clean_environment,
    eventually,
    purchase,
    service_process,
)


@pytest.fixture(scope="module")
def service(databases: Databases, template: tuple[str, Seed]) -> Iterator[Service]:
    """One for all of these tests: sockets and requests come to either of two workers."""
    name, seeded = databases.create(template[0]), template[1]
    url = databases.url(name)
    with service_process({"CDP_DATABASE_URL": url, "CDP_WORKERS": "2"}) as process:
        yield Service(process.url, seeded.key, url, seeded.tenant_id)
    databases.drop(name)


EVERYTHING = """
subscription {
  outcomes {
    outcome source eventType externalEventId eventId differingPaths errorCode
    reasons { path code message } apiKey { name }
    event { id externalEventId }
    quarantinedItem { errorCode payload }
  }
}
"""


async def new_key(service: Service, *scopes: Scope, tenant_id: int | None = None) -> str:
    pool = await open_pool(service.database_url, max_size=1)
    try:
        key = await access.create_key(
            tenant_id or service.tenant_id, name="listener", scopes=scopes, environment="test"
        )
    finally:
        await close_pool(pool)
    return key.text


async def test_each_outcome_is_told_with_what_the_lists_say_of_it(service: Service) -> None:
    async with (
        listening(service.url, service.key, EVERYTHING) as listener,
        sender(service.url, service.key) as client,
    ):
        other = purchase("txn_1", occurredAt="2026-05-21T12:45:00Z")
        nobody = purchase("txn_2", identity={})
        sent = (purchase("txn_1"), purchase("txn_1"), other, nobody)
        assert await send(client, *sent) == [202, 200, 409, 422]
        accepted, duplicate, conflict, rejected = [await listener.outcome() for _ in sent]
    payload = rejected["quarantinedItem"].pop("payload")
    event_id = accepted["eventId"]
    of_the_event = {
        "source": "brand.pos",
        "eventType": "purchase_completed",
        "externalEventId": "txn_1",
        "eventId": event_id,
        "differingPaths": [],
        "errorCode": None,
        "reasons": [],
        "apiKey": {"name": "test"},
        "event": {"id": event_id, "externalEventId": "txn_1"},
        "quarantinedItem": None,
    }
    assert event_id.startswith("evt_")
    assert accepted == {"outcome": "ACCEPTED"} | of_the_event
    assert duplicate == {"outcome": "DUPLICATE"} | of_the_event
    assert conflict == {"outcome": "CONFLICT"} | of_the_event | {"differingPaths": ["/occurredAt"]}
    assert rejected == of_the_event | {
        "outcome": "REJECTED",
        "externalEventId": "txn_2",
        "eventId": None,
        "errorCode": "validation_failed",
        "reasons": [
            {
                "path": "/identity",
                "code": "identity_required",
                "message": "identity.externalUserId, identity.email, identity.phone, or"
                " identity.deviceKey is required",
            }
        ],
        "event": None,
        "quarantinedItem": {"errorCode": "validation_failed"},
    }
    assert '"txn_2"' in payload, "the key of the test may read personal data"


async def test_a_filter_lets_through_what_it_names(service: Service) -> None:
    query = """
    subscription ($filter: OutcomeFilter) {
      outcomes(filter: $filter) { outcome externalEventId }
    }
    """
    filters = {
        "refused": {"outcomes": ["CONFLICT", "REJECTED"]},
        "shop": {"sources": ["brand.shop", "brand.app"]},
        "views": {"eventTypes": ["product_viewed"], "outcomes": ["ACCEPTED"]},
        "all": {},
    }
    async with (
        connected(service.url, service.key) as listener,
        sender(service.url, service.key) as client,
    ):
        for name, chosen in filters.items():
            await listener.subscribe(query, name, variables={"filter": chosen})
        await eventually(lambda: are_in_force(service.url, len(filters)))
        viewed = {"eventType": "product_viewed", "properties": {"product_id": "sku-1"}}
        await send(
            client,
            purchase("till"),
            purchase("till"),
            purchase("till", occurredAt="2026-05-21T12:45:00Z"),
            purchase("shop", source="brand.shop"),
            purchase("view", **viewed),
            purchase("view", **viewed),
            purchase("bad", source="brand.shop", identity={}),
        )
        told: dict[str, list[tuple[str, str]]] = {name: [] for name in filters}
        for _ in range(2 + 2 + 1 + 7):
            message = await listener.message()
            found = message["payload"]["data"]["outcomes"]
            told[message["id"]].append((found["outcome"], found["externalEventId"]))
        assert await listener.is_quiet()
    assert told == {
        "refused": [("CONFLICT", "till"), ("REJECTED", "bad")],
        "shop": [("ACCEPTED", "shop"), ("REJECTED", "bad")],
        "views": [("ACCEPTED", "view")],
        "all": [
            ("ACCEPTED", "till"),
            ("DUPLICATE", "till"),
            ("CONFLICT", "till"),
            ("ACCEPTED", "shop"),
            ("ACCEPTED", "view"),
            ("DUPLICATE", "view"),
            ("REJECTED", "bad"),
        ],
    }


async def test_without_pii_read_no_value_is_told(service: Service) -> None:
    key = await new_key(service, Scope.EVENTS_READ)
    query = """
    subscription {
      outcomes {
        reasons { path message } event { identity { email } properties } quarantinedItem { payload }
      }
    }
    """
    marker = "marker4711"
    async with (
        listening(service.url, key, query) as listener,
        sender(service.url, service.key) as client,
    ):
        person = {"email": f"{marker}@example.com"}
        properties = {"order_id": marker, "amount": marker, "currency": "USD"}
        events = (
            purchase("person", identity=person),
            purchase("person2", identity=person, properties=properties),
        )
        assert await send(client, *events) == [202, 422]
        accepted, rejected = await listener.outcome(), await listener.outcome()
    assert accepted["event"]["identity"] == {"email": "***"}
    assert accepted["event"]["properties"]["order_id"] == "order_42", "not personal"
    assert marker not in str(accepted) + str(rejected)


async def test_another_tenant_is_told_nothing(service: Service) -> None:
    pool = await open_pool(service.database_url, max_size=1)
    other = await access.create_tenant("other")
    await close_pool(pool)
    key = await new_key(service, Scope.ADMIN, tenant_id=other)
    async with (
        listening(service.url, key) as stranger,
        listening(service.url, service.key) as listener,
        sender(service.url, service.key) as client,
    ):
        await send(client, purchase("mine"), purchase("mine"), purchase("bad", identity={}))
        assert len(await listener.brief(3)) == 3
        assert await stranger.is_quiet()


async def test_a_key_without_events_read_is_told_so(service: Service) -> None:
    key = await new_key(service, Scope.EVENTS_WRITE, Scope.STATS_READ)
    async with connected(service.url, key) as listener:
        await listener.subscribe(BRIEF)
        message = await listener.message()
    [error] = message["payload"]
    assert (message["type"], error["extensions"]) == ("error", {"code": "FORBIDDEN"})
    assert error["message"] == "the API key lacks the scope events:read"


async def test_a_connection_needs_a_key(service: Service) -> None:
    for payload, reason in (
        ({}, "an API key is required: Authorization: Bearer <api_key>"),
        ({"Authorization": "Bearer nonsense"}, "the API key is unknown, expired or revoked"),
    ):
        async with socket_to(service.url) as socket:
            listener = Listener(socket)
            await listener.send(type="connection_init", payload=payload)
            assert await listener.closed() == (4403, reason)
    async with socket_to(service.url) as socket:
        listener = Listener(socket)
        await listener.subscribe(BRIEF)
        assert await listener.closed() == (4401, "Unauthorized")
    headers = {"Authorization": f"Bearer {service.key}"}
    async with socket_to(service.url, additional_headers=headers) as socket:
        listener = Listener(socket)
        await listener.send(type="connection_init")
        assert await listener.message() == {"type": "connection_ack"}
        assert socket.subprotocol == PROTOCOL


async def test_a_revoked_key_loses_its_connection(service: Service) -> None:
    key = await new_key(service, Scope.EVENTS_READ)
    async with listening(service.url, key) as listener:
        pool = await open_pool(service.database_url, max_size=1)
        await revoke_key(service.tenant_id, key.split("_")[2])
        await close_pool(pool)
        assert await listener.closed() == (4403, "the API key is no longer valid")


async def test_a_flush_that_began_earlier_and_commits_later_is_told_once(service: Service) -> None:
    late = await asyncpg.connect(service.database_url, server_settings={"application_name": "cdp"})
    async with (
        listening(service.url, service.key) as listener,
        sender(service.url, service.key) as client,
    ):
        flush = late.transaction()
        await flush.start()
        item = ids.new_id()
        await late.execute(
            "insert into quarantine (bucket, quarantine_id, tenant_id, received_at, expires_at,"
            " api_key_id, external_event_id, error_code, reasons, size_bytes)"
            " values ($1, $2, $3, $4, $4, 1, 'late', 'validation_failed', '[]', 1)",
            ids.bucket_of(item),
            item.hex(),
            service.tenant_id,
            datetime.now(UTC),
        )
        for number in range(3):
            await send(client, purchase(f"meanwhile{number}"))
            assert await listener.brief(1) == [("ACCEPTED", f"meanwhile{number}")]
            await asyncio.sleep(2)  # in all longer than clocks may differ: the horizon waits
        await flush.commit()
        assert await listener.brief(1) == [("REJECTED", "late")]
        await send(client, purchase("afterwards"))
        assert await listener.brief(1) == [("ACCEPTED", "afterwards")]
        assert await listener.is_quiet()
    await late.close()


async def test_a_subscription_begins_with_what_is_committed_after_it(service: Service) -> None:
    async with sender(service.url, service.key) as client:
        await send(client, purchase("before"))
        async with listening(service.url, service.key) as first:
            await send(client, purchase("between"))
            async with listening(service.url, service.key) as second:
                await send(client, purchase("after"))
                assert await second.brief(1) == [("ACCEPTED", "after")]
            between = [("ACCEPTED", "between"), ("ACCEPTED", "after")]
            assert await first.brief(2) == between
            assert await first.is_quiet()


async def test_outcomes_of_every_worker_are_told_by_every_worker_once(service: Service) -> None:
    """Many senders at once, keys sent twice; one service of two workers, one that only tells."""
    url, key = service.url, service.key

    async def deliver(number: int) -> None:
        async with sender(url, key) as client:
            for turn in range(10):
                name = f"{number // 2}_{turn}"
                await send(client, purchase(name), purchase(f"bad{number}_{turn}", identity={}))

    environment = {"CDP_DATABASE_URL": service.database_url, "CDP_WORKERS": "1"}
    with service_process(environment) as elsewhere:
        async with AsyncExitStack() as stack:
            listeners = [
                await stack.enter_async_context(listening(where, key))
                for where in (url, url, url, url, elsewhere.url, elsewhere.url)
            ]
            told = [asyncio.create_task(listener.brief(20 * 10 * 2)) for listener in listeners]
            await asyncio.gather(*(deliver(number) for number in range(20)))
            counts = [Counter(await one) for one in told]
            assert [await listener.is_quiet() for listener in listeners] == [True] * 6
    names = [f"{number}_{turn}" for number in range(10) for turn in range(10)]
    refused = [f"bad{number}_{turn}" for number in range(20) for turn in range(10)]
    expected = Counter(
        [(outcome, name) for name in names for outcome in ("ACCEPTED", "DUPLICATE")]
        + [("REJECTED", name) for name in refused]
    )
    assert counts == [expected] * 6


async def test_the_example_of_the_page_prints_what_went_wrong(
    service: Service, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(import asyncio.*?)```", page, re.DOTALL)
    file = tmp_path / "live.py"
    file.write_text(example, encoding="utf-8")
    where = {"CDP_LIVE_URL": service.url.replace("http", "ws"), "CDP_LIVE_KEY": service.key}
    running = await asyncio.create_subprocess_exec(
        sys.executable, file, env=clean_environment() | where, stdout=asyncio.subprocess.PIPE
    )
    try:
        await eventually(lambda: are_in_force(service.url, 1), 20)
        async with sender(service.url, service.key) as client:
            await send(client, purchase("fine"), purchase("faulty", identity={}))
        assert running.stdout is not None
        line = await asyncio.wait_for(running.stdout.readline(), 20)
    finally:
        running.terminate()
        await running.communicate()
    refused = {
        "outcome": "REJECTED",
        "source": "brand.pos",
        "externalEventId": "faulty",
        "errorCode": "validation_failed",
        "reasons": [{"path": "/identity", "code": "identity_required"}],
        "differingPaths": [],
    }
    assert ast.literal_eval(line.decode()) == {"data": {"outcomes": refused}}
    await eventually(lambda: are_in_force(service.url, 0), 20)
