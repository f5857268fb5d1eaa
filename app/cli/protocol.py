"""uvicorn's protocols with bounds: on the head of a request, on what a WebSocket holds.

Never looks at a body. uvicorn over httptools takes a head of any length, for any time: one caller
without a key could fill the memory (measured: 300 MiB of one header are 330 MB of the worker). Over
WebSocket it waits for ever for a peer that does not read.
"""

from __future__ import annotations

import asyncio
import socket

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

MAX_HEAD_BYTES = 64 << 10
"""Request line and headers, not counting what came in one piece with their start."""
HEAD_SECONDS = 30.0
"""From the connection, or from the first byte of a later request, to the end of its headers."""
MAX_MESSAGE_BYTES = 128 << 10
"""Of a WebSocket message that comes in: a subscription and its variables."""
PING_SECONDS = 20.0
"""Between pings, and until a peer that does not answer one is gone."""
KERNEL_BUFFER_BYTES = 128 << 10
MAX_BUFFER_BYTES = 1 << 20
"""Of what is written but not taken: one message, or pongs to one who pings and does not read."""
MAX_WAITING_MESSAGES = 32
MAX_FRAGMENTS = 1_024
"""Of one message; an empty one adds nothing to its size, but is kept."""
STALL_SECONDS = 10.0
"""How long a full buffer may stay full."""
CLOSE_SECONDS = 2.0
"""From the end of a conversation to the end of its connection, whatever the peer does."""
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedHeadProtocol(HttpToolsProtocol):
    """Costs nothing while heads arrive in one piece, as they do."""

    _in_head = False
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        head = self.scope if self._in_head else None
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)
        if head is self.scope:
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response(f"The request's head is larger than {MAX_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._end_deadline()
        super().on_headers_complete()

    def _should_upgrade(self) -> bool:
        """Anything but GET is an ordinary request, whatever its headers say; the library hangs."""
        return self.scope["method"] == "GET" and super()._should_upgrade()

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class BoundedSocketProtocol(WebSocketsSansIOProtocol):
    """A sender waits while the buffer is full; a peer that keeps it full loses its connection."""

    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        own_socket = transport.get_extra_info("socket")
        own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated:  # the head is complete, and too much for the library
            self.transport.write(_BAD_REQUEST)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_stall()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._end_stall()
        super().resume_writing()

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > MAX_BUFFER_BYTES:
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if len(self.frames) > MAX_FRAGMENTS:
            self.transport.abort()

    def send_receive_event_to_app(self) -> None:
        if self.queue.qsize() < MAX_WAITING_MESSAGES:
            super().send_receive_event_to_app()
        else:
            self.transport.abort()

    async def send(self, message: ASGISendEvent) -> None:
        """raises  ClientDisconnected too when the library gave the peer up: no app's mistake"""
        try:
            await super().send(message)
        except RuntimeError:
            if self.transport.is_closing():
                raise ClientDisconnected from None
            raise

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    async def run_asgi(self) -> None:
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def _end_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
