"""What every worker does beside requests: look for changes, exchange rate counters, keep house."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import structlog

from app import clock
from app.access import queries as access
from app.access.directory import Directory
from app.access.queries import Revisions
from app.access.rate import RateLimiter
from app.access.usage import exchange_usage, forget_usage
from app.db.failures import DRIVER_ERRORS
from app.db.partitions import drop_partitions, make_partitions
from app.db.pool import Pool
from app.errors import AppError, ErrorCode
from app.impact.service import ImpactWorker, delete_old_runs
from app.metrics import POOL_CONNECTIONS
from app.quarantine.queries import delete_expired
from app.registry import queries as registry
from app.registry.catalog import Catalog
from app.replay.job import Replayer
from app.segments import queries as segments
from app.segments.marks import Marks
from app.segments.upkeep import delete_dropped, tend_segments
from app.settings import Settings
from app.stats.rollup import roll_up

LOOK_AGAIN_SECONDS = 0.1
"""Unknown keys cause at most one look at the database in this time."""
USAGE_SECONDS = 1.0
HOUSEKEEPING_SECONDS = 600.0
ROLL_UP_SECONDS = 5.0
REPLAY_SECONDS = 1.0
SEGMENT_SECONDS = 1.0
IMPACT_SECONDS = 1.0
DELETE_STEP = 1_000

log = structlog.get_logger()


class Refresher:
    """Keeps keys, sources and registry of one worker at most a second behind the database."""

    def __init__(self, pool: Pool, directory: Directory, catalog: Catalog, marks: Marks) -> None:
        self._pool = pool
        self._directory = directory
        self._catalog = catalog
        self._marks = marks
        self._seen: dict[int, Revisions] = {}
        self._lock = asyncio.Lock()
        self._looked_at = float("-inf")
        self.has_looked = False

    async def refresh(self, asked_at: float = float("inf")) -> None:
        """Take over what has changed, unless another look began since `asked_at`.

        raises  a driver's error when Postgres is away
        """
        async with self._lock:
            if self._looked_at >= asked_at:
                return
            self._looked_at = time.monotonic()
            # Of one moment: a key is never known before the event types that were there before it.
            async with (
                self._pool.acquire(timeout=2) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                now = {r.tenant_id: r for r in await access.read_revisions(connection)}
                if _access_view(now) != _access_view(self._seen):
                    self._directory.replace_keys(await access.read_principals(connection))
                for tenant_id, revisions in now.items():
                    seen = self._seen.get(tenant_id)
                    if seen is None or seen.access != revisions.access:
                        self._directory.replace_sources(
                            tenant_id, await access.read_sources(connection, tenant_id)
                        )
                    if seen is None or seen.registry != revisions.registry:
                        self._catalog.replace(
                            tenant_id, await registry.read_catalog(connection, tenant_id)
                        )
                        self._marks.replace(
                            tenant_id, await segments.read_marks(connection, tenant_id)
                        )
            self._seen = now
            self._marks.confirm(self._looked_at)
            self.has_looked = True

    async def look_again(self) -> None:
        """Before a key is refused: it may be newer than the last look.

        raises  AppError UNAVAILABLE: a key that cannot be looked for is not called wrong.
        """
        asked_at = time.monotonic()
        try:
            await asyncio.sleep(max(0.0, self._looked_at + LOOK_AGAIN_SECONDS - asked_at))
            await self.refresh(asked_at)
        except DRIVER_ERRORS as error:
            raise AppError(
                ErrorCode.UNAVAILABLE, "the database is away", headers={"Retry-After": "1"}
            ) from error


def _access_view(revisions: dict[int, Revisions]) -> dict[int, int]:
    return {tenant_id: r.access for tenant_id, r in revisions.items()}


class Background:
    """The tasks of one worker."""

    def __init__(
        self,
        pool: Pool,
        reading_pool: Pool,
        refresher: Refresher,
        limiter: RateLimiter,
        replayer: Replayer,
        settings: Settings,
    ) -> None:
        self._pool = pool
        self._limiter = limiter
        self._settings = settings
        self._writer = os.urandom(16)
        self._tasks = [
            asyncio.create_task(_every(settings.refresh_seconds, refresher.refresh)),
            asyncio.create_task(_every(USAGE_SECONDS, self._exchange_usage)),
            asyncio.create_task(_every(HOUSEKEEPING_SECONDS, self._keep_house)),
            asyncio.create_task(_every(ROLL_UP_SECONDS, self._roll_up)),
            asyncio.create_task(_every(REPLAY_SECONDS, replayer.run)),
            asyncio.create_task(_every(SEGMENT_SECONDS, self._tend_segments)),
            asyncio.create_task(_every(IMPACT_SECONDS, ImpactWorker(reading_pool).judge_runs)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _exchange_usage(self) -> None:
        POOL_CONNECTIONS.labels("open").set(self._pool.get_size())
        POOL_CONNECTIONS.labels("idle").set(self._pool.get_idle_size())
        minute, own = self._limiter.own_counts()
        if not own:
            return
        async with self._pool.acquire(timeout=2) as connection:
            others = await exchange_usage(connection, self._writer, minute, own)
        self._limiter.learn(minute, others)

    async def _keep_house(self) -> None:
        """Partitions ahead, retention, expired quarantine; safe in every worker at once."""
        async with self._pool.acquire(timeout=2) as connection:
            await make_partitions(connection, self._settings.months_ahead)
            dropped = await drop_partitions(connection, self._settings.event_retention_days)
            if dropped:
                log.info("partitions_dropped", names=dropped)
            while await delete_expired(connection, clock.now(), DELETE_STEP) == DELETE_STEP:
                pass
            await delete_old_runs(connection)
            await forget_usage(connection, int(time.time()) // 60 - 1)
            await delete_dropped(connection)

    async def _roll_up(self) -> None:
        await roll_up(self._pool)

    async def _tend_segments(self) -> None:
        await tend_segments(self._pool)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do it now and again and again; a failure is logged, never the end."""
    failing = False
    while True:
        try:
            await work()
            failing = False
        except DRIVER_ERRORS as error:
            if not failing:
                log.warning("background_failed", work=work.__name__, error=type(error).__name__)
            failing = True
        except Exception:
            log.exception("background_failed", work=work.__name__)
        await asyncio.sleep(seconds)
