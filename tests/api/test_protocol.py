"""What a caller without a key can do to a worker: send a head of any length, or never end one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from litestar.types import Receive, Scope, Send
from uvicorn.server import ServerState

from app.cli import protocol
from app.cli.protocol import MAX_HEAD_BYTES, BoundedHeadProtocol

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

START = b"POST / HTTP/1.1\r\nHost: cdp\r\n"


async def answer_no_content(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):  # type: ignore[call-overload]
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    config = uvicorn.Config(answer_no_content, http=BoundedHeadProtocol, log_config=None)  # type: ignore[arg-type]
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedHeadProtocol(config=config, server_state=state, app_state={}),
        "127.0.0.1",
        0,
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()
        await server.wait_closed()


async def status_line(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head.split(b"\r\n", 1)[0]


async def test_a_head_without_end_is_refused_and_the_connection_closed(
    connection: Connection,
) -> None:
    reader, writer = connection
    answer = asyncio.create_task(status_line(reader))
    writer.write(START + b"X-Endless: ")
    while not answer.done():
        writer.write(b"y" * 4096)
        await asyncio.sleep(0)
    assert await answer == b"HTTP/1.1 400 Bad Request"


async def test_a_large_body_is_not_taken_for_a_head(connection: Connection) -> None:
    reader, writer = connection
    body = b"x" * (4 * MAX_HEAD_BYTES)
    for _ in range(2):  # on one connection: the second head follows a body
        writer.write(START + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        assert await status_line(reader) == b"HTTP/1.1 204 No Content"


async def test_a_head_in_pieces_is_read_to_its_end(connection: Connection) -> None:
    reader, writer = connection
    for piece in (START[:7], START[7:], b"X-Slow: y", b"es\r\n", b"\r\n"):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    assert await status_line(reader) == b"HTTP/1.1 204 No Content"


async def test_a_head_that_does_not_end_in_time_is_given_up(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.05)
    reader, writer = connection
    writer.write(START + b"\r\n")
    await writer.drain()
    assert await status_line(reader) == b"HTTP/1.1 204 No Content"
    writer.write(START)
    await writer.drain()
    assert await reader.read() == b""
