"""POST /graphql: from a request's bytes to an answer's. Decides nothing; the schema does.

Strawberry's own controller hands each answer to a thread and answers mistakes with plain text;
what is left of it is a few lines.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from strawberry.types.graphql import OperationType

from app.access.authenticator import Authenticator
from app.access.keys import Principal
from app.api.graphql.context import Context
from app.api.graphql.ide import ide_routes
from app.api.graphql.loaders import Loaders
from app.api.graphql.schema import NO_OPERATION, Schema, build_schema
from app.db.pool import Pool, Share
from app.errors import AppError, ErrorCode
from app.settings import Settings

GRAPHQL_PATH = "/graphql"
MAX_BODY_BYTES = 1 << 20
MAX_QUERY_CHARS = 64 << 10
"""Of the text; variables may be longer. Texts are remembered, with their trees."""
MAX_SECONDS = 30.0
"""For a whole operation; each statement has a limit of its own (CDP_GRAPHQL_STATEMENT_SECONDS)."""
_OPERATIONS = (OperationType.QUERY, OperationType.MUTATION)


class _Body(msgspec.Struct):
    """GraphQL over HTTP; other members are ignored, as the specification asks."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = msgspec.field(name="operationName", default=None)


_BODY = msgspec.json.Decoder(_Body)
_ANSWER = msgspec.json.Encoder(decimal_format="number")


class GraphQL:
    """The schema, and what its resolvers run on, in one worker."""

    def __init__(self, pool: Pool, authenticator: Authenticator, settings: Settings) -> None:
        self._shares: defaultdict[int, Share] = defaultdict(partial(Share, pool))
        self._authenticator = authenticator
        self._settings = settings
        self.schema: Schema = build_schema(introspection=settings.graphql_introspection)

    async def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """raises  AppError without a valid key; which scopes it needs, the fields say"""
        return await self._authenticator.authenticate(dict(headers))

    async def answer(self, principal: Principal, body: bytes) -> bytes:
        """The answer's body; a query that fails is an answer too.

        raises  AppError for what is no GraphQL request, or takes too long
        """
        try:
            asked = _BODY.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise AppError(
                ErrorCode.MALFORMED_JSON, 'the body must be JSON: {"query": "…", "variables": {…}}'
            ) from None
        if len(asked.query) > MAX_QUERY_CHARS:
            raise AppError(
                ErrorCode.PAYLOAD_TOO_LARGE,
                f"a query may have {MAX_QUERY_CHARS} characters; pass values as variables",
            )
        try:
            async with asyncio.timeout(MAX_SECONDS):
                result = await self.schema.execute(
                    asked.query,
                    variable_values=asked.variables,
                    operation_name=asked.operation_name,
                    context_value=self._context(principal),
                    allowed_operation_types=_OPERATIONS,
                )
        except TimeoutError:
            raise AppError(ErrorCode.UNAVAILABLE, "the query took too long: ask for less") from None
        except NO_OPERATION:
            raise AppError(
                ErrorCode.MALFORMED_JSON,
                "`query` must hold one query or mutation, or `operationName` must name one;"
                " subscriptions go over WebSocket",
            ) from None
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [error.formatted for error in result.errors]
        return _ANSWER.encode(answer)

    def _context(self, principal: Principal) -> Context:
        share = self._shares[principal.tenant.tenant_id]
        return Context(
            principal=principal,
            pool=share,
            settings=self._settings,
            loaders=Loaders(share, principal),
        )


@post(GRAPHQL_PATH, status_code=200, request_max_body_size=MAX_BODY_BYTES)
async def post_graphql(request: Request[Any, Any, State], state: State) -> Response[bytes]:
    """The answer is 200 whenever it is one of GraphQL's, errors included."""
    graphql: GraphQL = state.services.graphql
    principal = await graphql.authenticate(request.scope["headers"])
    body = await graphql.answer(principal, await request.body())
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


def graphql_routes(settings: Settings) -> list[HTTPRouteHandler]:
    """POST /graphql, and the editor at GET /graphql where it is switched on."""
    return [post_graphql, *(ide_routes() if settings.graphql_ide else [])]
