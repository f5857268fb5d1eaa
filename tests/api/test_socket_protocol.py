"""What a WebSocket peer that does not read, or says too much, can do to a worker: nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from litestar.types import Receive, Scope, Send
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode

from app.cli import protocol
from app.cli.protocol import MAX_WAITING_MESSAGES, BoundedHeadProtocol, BoundedSocketProtocol
from tests.api.test_protocol import answer_no_content

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: cdp\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Talker:
    """An application that sends without end and takes no message."""

    def __init__(self) -> None:
        self.sent = 0
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        text: Any = {"type": "websocket.send", "bytes": None, "text": "x" * 1024}
        try:
            while True:
                await send(text)
                self.sent += 1
                await asyncio.sleep(0)
        finally:
            self.ended.set()


class Silent(Talker):
    """One that neither sends nor takes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        await self.ended.wait()


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[Connection]:
    """A connection whose receiving side has next to no room."""
    config = uvicorn.Config(
        app,
        http=BoundedHeadProtocol,
        ws=BoundedSocketProtocol,
        log_config=None,
    )
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedHeadProtocol(config=config, server_state=state, app_state={}),
        "127.0.0.1",
        0,
    )
    receiver = socket.socket()
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    receiver.connect(server.sockets[0].getsockname())
    reader, writer = await asyncio.open_connection(sock=receiver, limit=4096)
    try:
        yield reader, writer
    finally:
        if isinstance(app, Talker):
            app.ended.set()
        writer.close()
        server.close()
        await server.wait_closed()
        while state.tasks:
            await asyncio.sleep(0.01)


async def shake_hands(connection: Connection) -> None:
    reader, writer = connection
    writer.write(HANDSHAKE)
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")


@pytest.fixture
def talker() -> Talker:
    return Talker()


@pytest.fixture
def silent() -> Silent:
    return Silent()


@pytest.fixture
async def talked_to(talker: Talker) -> AsyncIterator[Connection]:
    async with serving(talker) as connection:
        await shake_hands(connection)
        yield connection


@pytest.fixture
async def connection(silent: Silent) -> AsyncIterator[Connection]:
    async with serving(silent) as connection:
        await shake_hands(connection)
        yield connection


async def test_a_peer_that_does_not_read_is_waited_for_then_cut_off(
    monkeypatch: pytest.MonkeyPatch, talker: Talker, talked_to: Connection
) -> None:
    monkeypatch.setattr(protocol, "STALL_SECONDS", 0.5)
    async with asyncio.timeout(20):
        await talker.ended.wait()
    assert talker.sent < 1024, "what is held is far below a mebibyte"


async def test_a_peer_that_breaks_the_protocol_is_no_mistake_of_the_application(
    talker: Talker, talked_to: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = talked_to
    writer.write(b"\xff" * 16)
    async with asyncio.timeout(20):
        while await reader.read(4096):
            pass
        await talker.ended.wait()
    await asyncio.sleep(0)
    assert [record.levelname for record in caplog.records if record.levelname == "ERROR"] == []


async def test_pings_of_a_peer_that_does_not_read_are_bounded(
    monkeypatch: pytest.MonkeyPatch, connection: Connection
) -> None:
    monkeypatch.setattr(protocol, "MAX_BUFFER_BYTES", 64 << 10)
    _, writer = connection
    ping = Frame(Opcode.PING, b"y" * 125).serialize(mask=True)
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(20):
            while True:
                writer.write(ping * 100)
                await writer.drain()


async def test_many_small_messages_at_once_are_bounded(connection: Connection) -> None:
    reader, writer = connection
    message = Frame(Opcode.TEXT, b"{}").serialize(mask=True)
    writer.write(message * (MAX_WAITING_MESSAGES + 2))
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(20):
            if await reader.read(100) == b"":
                raise ConnectionError


async def test_a_message_of_empty_fragments_without_end_is_bounded(
    connection: Connection,
) -> None:
    _, writer = connection
    writer.write(Frame(Opcode.TEXT, b"{", fin=False).serialize(mask=True))
    fragment = Frame(Opcode.CONT, b"", fin=False).serialize(mask=True)
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(20):
            while True:
                writer.write(fragment * 100)
                await writer.drain()


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"X%d: y\r\n" % number for number in range(200)),
        b"X: " + b"y" * 10_000 + b"\r\n",
        b"Sec-WebSocket-Key: nonsense\r\n",
    ],
    ids=["many headers", "long header", "two keys"],
)
async def test_a_handshake_that_is_none_is_answered(silent: Silent, head: bytes) -> None:
    answer = await answer_to(silent, HANDSHAKE.removesuffix(b"\r\n") + head + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_only_get_is_a_handshake() -> None:
    post = HANDSHAKE.replace(b"GET", b"POST").removesuffix(b"\r\n") + b"Content-Length: 2\r\n\r\n{}"
    assert (await answer_to(answer_no_content, post)).startswith(b"HTTP/1.1 204 ")


async def answer_to(app: Any, request: bytes) -> bytes:
    async with serving(app) as (reader, writer):
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.readuntil(b"\r\n\r\n")
