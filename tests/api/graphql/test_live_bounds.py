"""What a live connection may take, and what becomes of it when something stops."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from app.access import queries as access
from app.access.keys import Scope
from app.api.graphql.endpoint import MAX_QUERY_CHARS
from app.db.embedded import EmbeddedPostgres
from app.db.migrate import migrate
from app.db.pool import close_pool, open_pool
from tests.api.graphql.sockets import (
    BRIEF,
    Listener,
    are_in_force,
    connected,
    listening,
    metric,
    send,
    sender,
    socket_to,
)
from tests.conftest import FAST, Databases
from tests.support import Seed, Service, ServiceProcess, eventually, purchase, seed, service_process

WAITING, SOCKETS, OF_A_TENANT, SUBSCRIPTIONS = 50, 5, 4, 2


@pytest.fixture(scope="module")
def narrow(databases: Databases, template: tuple[str, Seed]) -> Iterator[Service]:
    """A worker that allows little."""
    name, seeded = databases.create(template[0]), template[1]
    url = databases.url(name)
    environment = {
        "CDP_DATABASE_URL": url,
        "CDP_WORKERS": "1",
        "CDP_LIVE_WAITING_OUTCOMES": str(WAITING),
        "CDP_LIVE_SOCKETS": str(SOCKETS),
        "CDP_LIVE_TENANT_SOCKETS": str(OF_A_TENANT),
        "CDP_LIVE_SOCKET_SUBSCRIPTIONS": str(SUBSCRIPTIONS),
    }
    with service_process(environment) as process:
        yield Service(process.url, seeded.key, url, seeded.tenant_id)
    databases.drop(name)


async def test_a_slow_reader_loses_its_connection_and_the_others_go_on(narrow: Service) -> None:
    long = "x" * 200
    wide = " ".join(f"a{number}: externalEventId" for number in range(20))
    receiver = socket.socket()
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    receiver.connect(("127.0.0.1", int(narrow.url.rsplit(":", 1)[1])))
    lost = 'cdp_live_ended_total{reason="too_slow"}'
    async with (
        sender(narrow.url, narrow.key) as client,
        listening(narrow.url, narrow.key) as listener,
        socket_to(narrow.url, sock=receiver, max_queue=1, ping_interval=None) as slow_socket,
    ):
        slow = Listener(slow_socket)
        await slow.send(type="connection_init", payload={"Authorization": f"Bearer {narrow.key}"})
        await slow.message()
        await slow.subscribe(f"subscription {{ outcomes {{ {wide} }} }}")
        await eventually(lambda: are_in_force(narrow.url, 2))
        told = 0
        while await metric(narrow.url, lost) == 0:
            items = [purchase(f"{long}{told + number}") for number in range(40)]
            await client.post("/v1/cdp/events/batch", json={"items": items})
            told += len(await listener.brief(len(items)))
            assert told < 5_000, "the slow one is still there"
        await eventually(lambda: are_in_force(narrow.url, 1))
        await send(client, purchase("last"))
        assert await listener.brief(1) == [("ACCEPTED", "last")]
        code, _ = await slow.closed()
        assert code in (4430, 1006), "told, or cut off when it did not even take that in time"


async def test_connections_and_subscriptions_are_limited(narrow: Service) -> None:
    async with AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(connected(narrow.url, narrow.key))
            for _ in range(OF_A_TENANT)
        ]
        async with socket_to(narrow.url) as socket:
            one_more = Listener(socket)
            await one_more.send(
                type="connection_init", payload={"Authorization": f"Bearer {narrow.key}"}
            )
            assert await one_more.closed() == (1013, "the tenant has too many live connections")
        others_key = await key_of_another_tenant(narrow)
        async with connected(narrow.url, others_key), socket_to(narrow.url) as socket:
            one_more = Listener(socket)
            await one_more.send(
                type="connection_init", payload={"Authorization": f"Bearer {others_key}"}
            )
            assert await one_more.closed() == (1013, "the worker has too many live connections")
        for number in range(SUBSCRIPTIONS + 1):
            await listeners[0].subscribe(BRIEF, id=str(number))
        message = await listeners[0].message()
        assert message == {
            "id": str(SUBSCRIPTIONS),
            "type": "error",
            "payload": [{"message": "Subscription limit reached"}],
        }
        await eventually(lambda: are_in_force(narrow.url, SUBSCRIPTIONS))
        await listeners[0].send(type="complete", id="0")
        await eventually(lambda: are_in_force(narrow.url, SUBSCRIPTIONS - 1))
        await listeners[0].subscribe(BRIEF, id="0")
        await eventually(lambda: are_in_force(narrow.url, SUBSCRIPTIONS))
    async with connected(narrow.url, narrow.key):
        pass  # there is room again


async def key_of_another_tenant(narrow: Service) -> str:
    pool = await open_pool(narrow.database_url, max_size=1)
    try:
        tenant_id = await access.create_tenant("other")
        key = await access.create_key(
            tenant_id, name="other", scopes=[Scope.EVENTS_READ], environment="test"
        )
    finally:
        await close_pool(pool)
    return key.text


async def test_who_shows_no_key_takes_nobodys_place(narrow: Service) -> None:
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(socket_to(narrow.url)) for _ in range(SOCKETS)]
        async with connected(narrow.url, narrow.key):
            oldest = Listener(silent[0])
            assert await oldest.closed() == (1013, "too many connections show no key")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("subscription { outcomes {", "Syntax Error: "),
        ("{ __typename }", "queries are not allowed"),
        ('mutation { revokeKey(id: "x") { __typename } }', "mutations are not allowed"),
        ("subscription { outcomes { value } }", "Cannot query field 'value'"),
        (f"subscription {{ outcomes {{ outcome {' ' * MAX_QUERY_CHARS} }} }}", "a query may have"),
        (
            "subscription { outcomes { event { deliveries { later(first: 200) { nodes { outcome"
            " receivedAt source } } } } } }",
            "the query's cost is",
        ),
        ("subscription { outcomes(filter: {sources: []}) { outcome } }", "filter.sources: 1 to"),
    ],
)
async def test_what_is_no_modest_subscription_is_refused(
    narrow: Service, query: str, message: str
) -> None:
    async with connected(narrow.url, narrow.key) as listener:
        await listener.subscribe(query)
        answer = await listener.message()
        errors = answer["payload"] if answer["type"] == "error" else answer["payload"]["errors"]
        assert [error["message"].startswith(message) for error in errors] == [True], errors
        await listener.subscribe(BRIEF, id="2")
        await eventually(lambda: are_in_force(narrow.url, 1))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[1]", 4400),
        ("{", 4400),
        ('{"type": "connection_init", "payload": "key"}', 4400),
        ('{"type": "subscribe", "id": ["1"], "payload": {"query": "{a}"}}', 4400),
        ('{"type": "subscribe", "id": "1", "payload": {"query": 1}}', 4400),
        ('{"type": "dance"}', 4400),
        ('{"id": "1"}', 4400),
        ("[" * 100_000, 4400),
        ("x" * 200_000, 1009),
        (b"\x00", 4400),
    ],
)
async def test_what_is_no_message_ends_the_connection(
    narrow: Service, text: str | bytes, code: int
) -> None:
    async with socket_to(narrow.url) as socket:
        await socket.send(text)
        closed_with, _ = await Listener(socket).closed()
    assert closed_with == code


async def test_a_connection_without_a_key_is_closed(narrow: Service) -> None:
    async with socket_to(narrow.url) as socket:
        assert await Listener(socket).closed() == (4408, "Connection initialisation timeout")
    async with socket_to(narrow.url, subprotocols=None) as socket:
        assert (await Listener(socket).closed())[0] == 4406


async def test_a_stop_closes_live_connections_and_does_not_wait_for_them(
    database_url: str, seeded: Seed
) -> None:
    service = ServiceProcess({"CDP_DATABASE_URL": database_url, "CDP_DRAIN_SECONDS": "600"})
    try:
        service.wait_until_ready()
        async with connected(service.url, seeded.key) as listener:
            await listener.subscribe(BRIEF)
            await eventually(lambda: are_in_force(service.url, 1))
            service.process.send_signal(signal.SIGTERM)
            assert (await listener.closed())[0] == 1012
            await asyncio.to_thread(service.process.wait, 60)
    finally:
        printed = service.stop()
    assert service.process.returncode == 0
    assert "error" not in printed, printed


@pytest.fixture
def postgres(data_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, to stop."""
    with EmbeddedPostgres(data_folder, FAST) as postgres:
        yield postgres


async def test_a_database_that_is_away_costs_a_subscriber_nothing(
    postgres: EmbeddedPostgres,
) -> None:
    await migrate(postgres.dsn())
    seeded = await seed(postgres.dsn())
    environment = {"CDP_DATABASE_URL": postgres.dsn(), "CDP_WORKERS": "1"}
    with service_process(environment) as service:
        async with (
            listening(service.url, seeded.key) as listener,
            sender(service.url, seeded.key) as client,
        ):
            assert await send(client, purchase("before")) == [202]
            assert await listener.brief(1) == [("ACCEPTED", "before")]
            postgres.stop()
            await listener.subscribe(BRIEF, id="meanwhile")
            message = await listener.message()
            [error] = message["payload"]["errors"]
            assert error["extensions"] == {"code": "UNAVAILABLE"}
            assert await listener.message() == {"type": "complete", "id": "meanwhile"}
            postgres.start()

            async def is_back() -> bool:
                return await send(client, purchase("after")) in ([202], [200])

            await eventually(is_back, 30)
            assert await listener.brief(1) == [("ACCEPTED", "after")]
