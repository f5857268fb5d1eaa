"""What every worker does beside requests: look for changes, exchange rate counters, keep house."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from app import clock
from app.access.rate import RateLimiter
from app.access.usage import exchange_usage, forget_usage
from app.db.failures import DRIVER_ERRORS
from app.db.partitions import drop_partitions, make_partitions
from app.db.pool import Pool
from app.impact.service import ImpactWorker, delete_old_runs
from app.metrics import POOL_CONNECTIONS
from app.quarantine.queries import delete_expired
from app.refresher import Refresher
from app.replay.job import Replayer
from app.segments.upkeep import delete_dropped, tend_segments
from app.settings import Settings
from app.stats.rollup import roll_up

USAGE_SECONDS = 1.0
PARTITION_SECONDS = 10.0
"""Two small looks: when the machine's clock was set right, events wait for a partition so long."""
HOUSEKEEPING_SECONDS = 600.0
ROLL_UP_SECONDS = 5.0
REPLAY_SECONDS = 1.0
SEGMENT_SECONDS = 1.0
IMPACT_SECONDS = 1.0
DELETE_STEP = 1_000

log = structlog.get_logger()


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
        self._passed_over: dict[int, datetime] = {}
        self._tasks = [
            asyncio.create_task(_every(settings.refresh_seconds, refresher.refresh)),
            asyncio.create_task(_every(USAGE_SECONDS, self._exchange_usage)),
            asyncio.create_task(_every(PARTITION_SECONDS, self._make_partitions)),
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

    async def _make_partitions(self) -> None:
        async with self._pool.acquire(timeout=2) as connection:
            await make_partitions(connection, self._settings.months_ahead)

    async def _keep_house(self) -> None:
        """Retention, expired quarantine; safe in every worker at once."""
        async with self._pool.acquire(timeout=2) as connection:
            dropped = await drop_partitions(connection, self._settings.event_retention_days)
            if dropped:
                log.info("partitions_dropped", names=dropped)
            while await delete_expired(connection, clock.now(), DELETE_STEP) == DELETE_STEP:
                pass
            await delete_old_runs(connection)
            await forget_usage(connection, int(time.time()) // 60 - 1)
            await delete_dropped(connection)

    async def _roll_up(self) -> None:
        await roll_up(self._pool, self._passed_over)

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
