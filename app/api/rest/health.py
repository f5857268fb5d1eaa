"""Is the process alive, can it take events, and what do its counters say. No key needed."""

from __future__ import annotations

from litestar import Response, get, route
from litestar.datastructures import State
from litestar.enums import HttpMethod

from app.db.failures import DRIVER_ERRORS
from app.db.pool import Pool
from app.metrics import exposition
from app.refresher import Refresher

READY_SECONDS = 1.0
_REFUSES_WRITES = "select current_setting('transaction_read_only')::bool"
GET_OR_HEAD = [HttpMethod.GET, HttpMethod.HEAD]
"""Load balancers ask either way."""


class Health:
    """Readiness of one worker."""

    def __init__(self, pool: Pool, refresher: Refresher) -> None:
        self._pool = pool
        self._refresher = refresher

    async def database_answers(self) -> bool:
        """A server that takes writes answers in a second; keys and registry have been read."""
        try:
            async with self._pool.acquire(timeout=READY_SECONDS) as connection:
                refuses = await connection.fetchval(_REFUSES_WRITES, timeout=READY_SECONDS)
        except DRIVER_ERRORS:
            return False
        if refuses:
            await self._pool.expire_connections()  # the next ones may reach the primary
        return self._refresher.has_looked and not refuses


@route("/healthz", http_method=GET_OR_HEAD)
async def healthz() -> Response[dict[str, str]]:
    """The process answers; says nothing of Postgres."""
    return Response({"status": "ok"})


@route("/readyz", http_method=GET_OR_HEAD)
async def readyz(state: State) -> Response[dict[str, str]]:
    """200 while events can be taken, 503 while Postgres is away."""
    if await state.health.database_answers():
        return Response({"status": "ready"})
    return Response({"status": "unavailable"}, status_code=503, headers={"Retry-After": "1"})


@get("/metrics")
async def metrics() -> Response[bytes]:
    """Prometheus text, of all workers."""
    body, content_type = exposition()
    # As a header: Litestar would add a second charset to the media type.
    return Response(body, headers={"Content-Type": content_type})
