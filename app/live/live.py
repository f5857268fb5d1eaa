"""The feeds of one worker: one for each tenant that somebody listens to, and none for others.

Looks for outcomes a few times a second. To be told by the flushes instead (NOTIFY) would put a lock
of the whole database into each commit, and would still have to read what the notice is about.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from app.db.failures import DRIVER_ERRORS
from app.db.pool import Pool
from app.live.feed import Feed
from app.live.outcome import Which
from app.live.subscription import HangUp, Pace, Subscription
from app.metrics import LIVE_SUBSCRIPTIONS

LOOK_SECONDS = 0.25
REST = 4
"""A feed rests for at least so many times as long as it looked."""
TOLD_A_SECOND = 2_000
"""Outcomes to all subscribers of a worker: half of its time at most, the rest is for events."""

log = structlog.get_logger()


class _Running:
    """A feed with its task, as long as it has listeners."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.listeners = 0
        self.task = asyncio.create_task(_keep_looking(feed))


class Live:
    """Where subscriptions begin."""

    def __init__(self, pool: Pool, max_waiting: int) -> None:
        self._pool = pool
        self._pace = Pace(TOLD_A_SECOND)
        self._max_waiting = max_waiting
        self._running: dict[int, _Running] = {}

    @asynccontextmanager
    async def subscribe(
        self, tenant_id: int, hang_up: HangUp, which: Which
    ) -> AsyncIterator[Subscription]:
        """Outcomes that are committed from here on.

        hang_up  called at most once, when the subscription has ended by itself
        raises   a driver's error, on the way in only
        """
        running = self._running.get(tenant_id)
        if running is None:
            running = self._running[tenant_id] = _Running(Feed(self._pool, tenant_id))
        subscription = Subscription(which, self._pace, self._max_waiting, hang_up)
        running.listeners += 1
        try:
            await running.feed.join(subscription)
            with LIVE_SUBSCRIPTIONS.track_inprogress():
                yield subscription
        finally:
            running.feed.leave(subscription)
            running.listeners -= 1
            if not running.listeners:
                running.task.cancel()
                del self._running[tenant_id]


async def _keep_looking(feed: Feed) -> None:
    """A failure is logged, never the end: subscribers miss nothing by it."""
    failing, rest = False, LOOK_SECONDS
    while True:
        await asyncio.sleep(rest)
        began = time.monotonic()
        try:
            await feed.look()
            failing = False
        except DRIVER_ERRORS as error:
            if not failing:
                log.warning("live_feed_failed", error=type(error).__name__)
            failing = True
        except Exception:
            log.exception("live_feed_failed")
        rest = max(LOOK_SECONDS, REST * (time.monotonic() - began))
