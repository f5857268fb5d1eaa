"""Addresses that always answer the same bytes: documents, pages and the files they need."""

from __future__ import annotations

from collections.abc import Mapping

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

_SAFE = {"X-Content-Type-Options": "nosniff"}


def ready(
    path: str, body: bytes, media_type: str, headers: Mapping[str, str] | None = None
) -> HTTPRouteHandler:
    """A GET of these bytes. No key."""

    @get(path)
    async def answer() -> Response[bytes]:
        return Response(body, media_type=media_type, headers=_SAFE | dict(headers or {}))

    return answer
