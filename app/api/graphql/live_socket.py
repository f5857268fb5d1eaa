"""GraphQL over WebSocket: who may connect, and what a connection may do.

The protocol, graphql-transport-ws, is Strawberry's. Never runs a query or a mutation: they have
limits of their own, over HTTP. What a socket's buffers may hold is app/cli/protocol.py.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from graphql import GraphQLError
from litestar import WebSocket, websocket
from litestar.datastructures import State
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
)
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType
from strawberry.types.unset import UNSET, UnsetType

from app.access.authenticator import Authenticator
from app.access.keys import Principal
from app.api.graphql.context import Context
from app.api.graphql.endpoint import GRAPHQL_PATH, MAX_QUERY_CHARS
from app.api.graphql.live_messages import Messages
from app.api.graphql.loaders import Loaders
from app.api.graphql.schema import Schema
from app.db.pool import Pool
from app.errors import AppError, ErrorCode
from app.live.live import Live
from app.live.subscription import Ending
from app.metrics import LIVE_ENDED
from app.settings import Settings

INIT_SECONDS = 5.0
"""From the handshake to a key."""
WATCH_SECONDS = 0.25
"""How often a connection's key is looked at; with CDP_REFRESH_SECONDS, within a second."""
FORBIDDEN = 4403
BAD_SUBPROTOCOL = 4406
TOO_SLOW = 4430
TRY_AGAIN_LATER = 1013

_NO_PAYLOAD: UnsetType = UNSET

log = structlog.get_logger()


_WORDS: Mapping[Ending, tuple[int, str]] = {
    Ending.TOO_SLOW: (TOO_SLOW, "too slow: ask for fewer outcomes"),
    Ending.CANNOT_TELL: (TRY_AGAIN_LATER, "what is new cannot be told at present"),
}


class _Protocol(BaseGraphQLTransportWSHandler[Any, None]):
    """Strawberry's handler, which can be told to end, and whose logs are ours."""

    async def end(self, code: int, reason: str) -> None:
        """No operation sends any more; then the close frame, as soon as there is room for it."""
        for operation_id in list(self.operations):
            await self.cleanup_operation(operation_id)
        await self.websocket.close(code, reason)

    async def handle_task_exception(self, error: Exception) -> None:
        if not isinstance(error, WebSocketDisconnected):
            log.error("live_failed", exc_info=error)


class _Connection:
    """One socket: what its protocol asks for a key, and to run operations."""

    def __init__(self, sockets: LiveSockets, socket: WebSocket[Any, Any, State]) -> None:
        self.connection_params: Mapping[str, Any] = {}
        """Set by the protocol: the payload of connection_init."""
        self._sockets = sockets
        self._headers = dict(socket.scope["headers"])
        self._principal: Principal | None = None
        self._hung_up = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._protocol = _Protocol(
            view=self,  # type: ignore[arg-type] # for on_ws_connect
            websocket=Messages(socket),
            context=self,
            root_value=None,
            schema=self,  # type: ignore[arg-type] # for stream
            connection_init_wait_timeout=timedelta(seconds=INIT_SECONDS),
            max_subscriptions_per_connection=sockets.settings.live_socket_subscriptions,
        )

    async def serve(self) -> None:
        try:
            await self._protocol.handle()
        finally:
            for task in self._tasks:
                task.cancel()
            if self._principal is not None:
                self._sockets.leave(self._principal)

    def make_room(self) -> None:
        """End, for others: no key has been shown yet."""
        self._start(self._protocol.end(TRY_AGAIN_LATER, "too many connections show no key"))

    async def on_ws_connect(self, context: object) -> UnsetType:
        """Take the key of connection_init, or of the handshake.

        raises  ConnectionRejectionError, which closes the connection
        """
        given = self.connection_params
        shown = given.get("Authorization") or given.get("authorization")
        if shown is not None:
            self._headers[b"authorization"] = shown.encode()
        try:
            principal = await self._sockets.authenticator.authenticate(self._headers)
        except AppError as error:
            away = error.code is ErrorCode.UNAVAILABLE
            await self._protocol.end(TRY_AGAIN_LATER if away else FORBIDDEN, error.message)
            raise ConnectionRejectionError from None
        if full := self._sockets.enter(self, principal):
            await self._protocol.end(TRY_AGAIN_LATER, f"the {full} has too many live connections")
            raise ConnectionRejectionError
        self._principal = principal
        self._start(self._watch(principal))
        return _NO_PAYLOAD

    async def stream(
        self,
        query: str,
        *,
        variable_values: dict[str, Any] | None,
        operation_name: str | None,
        **_: Any,
    ) -> AsyncGenerator[Any, None]:
        """The answers of one subscription; a refusal is an answer too."""
        if len(query) > MAX_QUERY_CHARS:
            return _refusal(f"a query may have {MAX_QUERY_CHARS} characters")
        return _answers(
            await self._sockets.schema.stream(
                query,
                variable_values=variable_values,
                operation_name=operation_name,
                context_value=self._context(),
                allowed_operation_types=(OperationType.SUBSCRIPTION,),
            )
        )

    def _context(self) -> Context:
        principal, sockets = self._principal, self._sockets
        assert principal is not None, "the protocol runs nothing before a key"
        tenant_id = principal.tenant.tenant_id
        return Context(
            principal=principal,
            pool=sockets.pool,
            settings=sockets.settings,
            loaders=Loaders(sockets.pool, principal),
            subscribe=partial(sockets.live.subscribe, tenant_id, self._hang_up),
        )

    def _hang_up(self, ending: Ending) -> None:
        """Of whichever subscription: the first one counts."""
        if not self._hung_up:
            self._hung_up = True
            LIVE_ENDED.labels(ending).inc()
            self._start(self._protocol.end(*_WORDS[ending]))

    async def _watch(self, principal: Principal) -> None:
        """A key that is revoked, or expires, takes its connection with it."""
        while True:
            if not self._sockets.authenticator.is_valid(principal):
                LIVE_ENDED.labels("key").inc()
                await self._protocol.end(FORBIDDEN, "the API key is no longer valid")
                return
            await asyncio.sleep(WATCH_SECONDS)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class LiveSockets:
    """The live connections of one worker, and what they run on."""

    def __init__(
        self,
        schema: Schema,
        pool: Pool,
        authenticator: Authenticator,
        live: Live,
        settings: Settings,
    ) -> None:
        self.schema = schema
        self.pool = pool
        self.authenticator = authenticator
        self.live = live
        self.settings = settings
        self._keyless: dict[_Connection, None] = {}
        """Those that have shown no key yet, the oldest first."""
        self._open_of: Counter[int] = Counter()
        """The others, by tenant."""

    async def serve(self, socket: WebSocket[Any, Any, State]) -> None:
        """From the handshake to the end.

        Origins are not looked at: no cookie plays a part, so a page of another site can do nothing
        here that it could not do without a browser.
        """
        if GRAPHQL_TRANSPORT_WS_PROTOCOL not in socket.scope["subprotocols"]:
            await socket.accept()
            await socket.close(
                BAD_SUBPROTOCOL, f"the subprotocol is {GRAPHQL_TRANSPORT_WS_PROTOCOL}"
            )
            return
        await socket.accept(GRAPHQL_TRANSPORT_WS_PROTOCOL)
        connection = _Connection(self, socket)
        if len(self._keyless) >= self.settings.live_sockets:
            self._make_room()
        self._keyless[connection] = None
        try:
            await connection.serve()
        except Exception as error:
            log.error("live_failed", exc_info=error)
            raise
        finally:
            self._keyless.pop(connection, None)

    def _make_room(self) -> None:
        """Whoever has a key shows it at once: one who goes on without takes no other's place."""
        oldest = next(iter(self._keyless))
        del self._keyless[oldest]
        oldest.make_room()

    def enter(self, connection: _Connection, principal: Principal) -> str | None:
        """Count a connection whose key is good; or who has no room for one more."""
        tenant_id = principal.tenant.tenant_id
        if self._open_of.total() >= self.settings.live_sockets:
            return "worker"
        if self._open_of[tenant_id] >= self.settings.live_tenant_sockets:
            return "tenant"
        self._keyless.pop(connection, None)
        self._open_of[tenant_id] += 1
        return None

    def leave(self, principal: Principal) -> None:
        self._open_of[principal.tenant.tenant_id] -= 1


async def _answers(stream: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """A mistake in the text is an answer as well: Strawberry lets it through as an exception.

    Not as the error it is: the protocol would end the connection, and what else it listens to.
    """
    try:
        async with aclosing(stream):
            async for answer in stream:
                yield answer
    except GraphQLError as error:
        told = GraphQLError(error.message, source=error.source, positions=error.positions)
        yield PreExecutionError(data=None, errors=[told])


async def _refusal(message: str) -> AsyncGenerator[PreExecutionError, None]:
    error = GraphQLError(message, extensions={"code": "QUERY_TOO_LARGE"})
    yield PreExecutionError(data=None, errors=[error])


@websocket(GRAPHQL_PATH)
async def live_socket(socket: WebSocket[Any, Any, State], state: State) -> None:
    sockets: LiveSockets = state.services.live_sockets
    await sockets.serve(socket)
