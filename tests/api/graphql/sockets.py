"""Listens to the GraphQL endpoint as a client does: graphql-transport-ws over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.support import eventually

PROTOCOL = Subprotocol("graphql-transport-ws")
SECONDS = 20
BRIEF = "subscription { outcomes { outcome externalEventId } }"


class Listener:
    """One connection, after its key was taken."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        await self.socket.send(msgspec.json.encode(message).decode())

    async def subscribe(self, query: str, id: str = "1", **payload: Any) -> None:
        await self.send(type="subscribe", id=id, payload={"query": query} | payload)

    async def message(self) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS):
            found: dict[str, Any] = msgspec.json.decode(await self.socket.recv())
        return found

    async def outcome(self) -> dict[str, Any]:
        """The next outcome, of whichever subscription."""
        message = await self.message()
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        found: dict[str, Any] = message["payload"]["data"]["outcomes"]
        return found

    async def brief(self, number: int) -> list[tuple[str, str | None]]:
        """(outcome, external event id) of the next ones; the subscription is BRIEF."""
        found = [await self.outcome() for _ in range(number)]
        return [(one["outcome"], one["externalEventId"]) for one in found]

    async def closed(self) -> tuple[int, str]:
        """(code, reason) with which the server closes, whatever it says before; 1006: it cut."""
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    await self.socket.recv()
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")

    async def is_quiet(self, seconds: float = 1) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.socket.recv()
        except TimeoutError:
            return True
        return False


def socket_to(url: str, **options: Any) -> connect:
    address = url.replace("http", "ws", 1) + "/graphql"
    return connect(address, **{"subprotocols": [PROTOCOL], "proxy": None} | options)


@asynccontextmanager
async def connected(url: str, key: str) -> AsyncIterator[Listener]:
    async with socket_to(url) as socket:
        listener = Listener(socket)
        await listener.send(type="connection_init", payload={"Authorization": f"Bearer {key}"})
        assert await listener.message() == {"type": "connection_ack"}
        yield listener


@asynccontextmanager
async def listening(url: str, key: str, query: str = BRIEF) -> AsyncIterator[Listener]:
    """Once the subscription is in force."""
    before = await subscriptions(url)
    async with connected(url, key) as listener:
        await listener.subscribe(query)
        await eventually(lambda: are_in_force(url, before + 1), SECONDS)
        yield listener
    await eventually(lambda: are_in_force(url, before), SECONDS)


async def subscriptions(url: str) -> int:
    """How many are in force, in all workers."""
    return int(await metric(url, "cdp_live_subscriptions"))


async def metric(url: str, name: str) -> float:
    async with httpx.AsyncClient(verify=False) as client:  # to read certificates takes its time
        text = (await client.get(f"{url}/metrics")).text
    return next(
        (float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0
    )


async def are_in_force(url: str, number: int) -> bool:
    return await subscriptions(url) == number


@asynccontextmanager
async def sender(url: str, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=SECONDS, verify=False
    ) as client:
        yield client


async def send(client: httpx.AsyncClient, *events: dict[str, Any]) -> list[int]:
    """One after the other; the statuses of the answers."""
    return [(await client.post("/v1/cdp/events", json=event)).status_code for event in events]
