"""The messages of one socket, in the words of Strawberry's handler of graphql-transport-ws.

Never lets through a message of another shape: the handler believes in what it is given.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any, TypedDict

import msgspec
from litestar import WebSocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect
from strawberry.http.async_base_view import AsyncWebSocketAdapter
from strawberry.http.exceptions import (
    NonJsonMessageReceived,
    NonTextMessageReceived,
    WebSocketDisconnected,
)

MAX_REASON_BYTES = 120
"""Of the 123 that a close frame has room for."""


class _Payload(TypedDict, total=False):
    """Of connection_init the last two, of subscribe the others."""

    query: str
    variables: dict[str, Any] | None
    operationName: str | None
    Authorization: str
    authorization: str


class _Message(TypedDict, total=False):
    """Any message of a client's; members that the protocol does not have are left out."""

    type: str
    id: str
    payload: _Payload


_MESSAGE = msgspec.json.Decoder(_Message)
_ANSWER = msgspec.json.Encoder(decimal_format="number")


class Messages(AsyncWebSocketAdapter):
    """What comes in, typed; what goes out, as long as there is room for it."""

    def __init__(self, socket: WebSocket[Any, Any, State]) -> None:
        self._socket = socket
        self._closing = False

    async def iter_json(
        self, *, ignore_parsing_errors: bool = False
    ) -> AsyncGenerator[object, None]:
        while (message := await self._socket.receive())["type"] == "websocket.receive":
            text = message.get("text")
            if text is None:
                raise NonTextMessageReceived
            try:
                said = _MESSAGE.decode(text)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                raise NonJsonMessageReceived from error
            yield said

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Waits while the socket's buffer is full."""
        if self._closing:
            raise WebSocketDisconnected
        text = _ANSWER.encode(message).decode()
        try:
            await self._socket.send({"type": "websocket.send", "bytes": None, "text": text})
        except (OSError, WebSocketDisconnect) as error:
            raise WebSocketDisconnected from error

    async def close(self, code: int, reason: str) -> None:
        """The first one counts."""
        if self._closing:
            return
        self._closing = True
        reason = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        with suppress(OSError, WebSocketDisconnect):
            await self._socket.close(code, reason)
