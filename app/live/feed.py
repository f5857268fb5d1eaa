"""Tells one tenant's subscribers of each outcome once, soon after its commit. Never writes.

Outcomes do not become visible in the order of their receipt: a flush that began earlier may commit
later. So each look begins at the horizon of the look before (what was received earlier was
committed by then) and leaves out what it has seen. Nothing is missed, nothing comes twice, however
long a flush takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from app import clock, ids
from app.db.horizon import read_horizon
from app.db.pool import Connection, Pool
from app.db.scan import Position
from app.live import queries
from app.live.queries import Committed
from app.live.subscription import Ending, Subscription

SCANNED = 2_000
"""Keys of one statement."""
READ = 500
"""Outcomes that are read at once; a rejected one may have 25 kB of reasons."""
MAX_SEEN = 200_000
"""Keys between the horizon and now: ten seconds' worth at 20,000 outcomes a second, of which those
of `clock.SKEW` are scanned again and again."""
STEP_BACK = timedelta(seconds=1)
"""A horizon only goes back by so much if the database's clock was put back."""

_FIRST = bytes(ids.ID_BYTES)


class Feed:
    """Where one worker stands in the outcomes of one tenant."""

    def __init__(self, pool: Pool, tenant_id: int) -> None:
        self._pool = pool
        self._tenant_id = tenant_id
        self._subscriptions: set[Subscription] = set()
        self._horizon: datetime | None = None
        """Of the look before: from there on outcomes may be new."""
        self._seen: dict[bytes, datetime] = {}
        """When those behind the horizon that were told were received."""
        self._looking = asyncio.Lock()

    async def join(self, subscription: Subscription) -> None:
        """From here on it is told; what is committed already is none of its business.

        raises  a driver's error
        """
        async with self._looking:
            await self._look()
            self._subscriptions.add(subscription)
            if self._horizon is None:
                self._send_away()

    def leave(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    async def look(self) -> None:
        """Tell what was committed since the look before.

        raises  a driver's error; the next look begins where this one did
        """
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        async with self._pool.acquire(timeout=2) as connection:
            horizon = await read_horizon(connection, clock.SKEW)
            if self._horizon is not None and horizon < self._horizon - STEP_BACK:
                self._send_away()  # what is received now would count as told before
                return
            position = Position(self._horizon or horizon, _FIRST)
            while True:
                found = await queries.scan_outcomes(connection, self._tenant_id, position, SCANNED)
                new = [one for one in found if one.key not in self._seen]
                for start in range(0, len(new), READ):
                    await self._tell(connection, new[start : start + READ])
                if len(self._seen) > MAX_SEEN:
                    self._send_away()
                    return
                if len(found) < SCANNED:
                    break
                position = Position(found[-1].at, found[-1].key)
        self._forget_before(horizon)

    async def _tell(self, connection: Connection, new: Sequence[Committed]) -> None:
        """Seen once they were offered, not before: what fails on the way is told next time."""
        if self._subscriptions:
            outcomes = await queries.read_outcomes(connection, self._tenant_id, new)
            for subscription in tuple(self._subscriptions):
                subscription.offer(outcomes)
        self._seen.update((one.key, one.at) for one in new)

    def _send_away(self) -> None:
        """What is new cannot be told: everybody has to begin anew, and so has the feed."""
        for subscription in tuple(self._subscriptions):
            subscription.end(Ending.CANNOT_TELL)
        self._subscriptions.clear()
        self._horizon, self._seen = None, {}

    def _forget_before(self, horizon: datetime) -> None:
        """Never back: what was forgotten would be new again."""
        self._horizon = max(horizon, self._horizon or horizon)
        self._seen = {key: at for key, at in self._seen.items() if at >= self._horizon}
