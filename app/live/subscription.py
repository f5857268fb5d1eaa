"""What waits for one subscriber, within bounds. Never waits for the subscriber."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum

from app.live.outcome import Outcome, Which

MAX_WAITING_BYTES = 4 << 20


class Ending(StrEnum):
    """Why a subscriber loses its connection."""

    TOO_SLOW = "too_slow"
    """More outcomes waited for it than may."""
    CANNOT_TELL = "cannot_tell"
    """A flush is under way for too long, or a clock was put back: nobody knows what is new."""


HangUp = Callable[[Ending], None]


class Pace:
    """Shares a worker's time among its subscriptions: so many outcomes a second, and no more."""

    def __init__(self, outcomes_per_second: float) -> None:
        self._seconds_each = 1 / outcomes_per_second
        self._free_at = 0.0
        self._turns = asyncio.Lock()

    async def turn(self, outcomes: int) -> None:
        """Wait for one's turn; who has many outcomes waits once for each handful of them.

        Who goes away before its turn takes nothing from the others.
        """
        async with self._turns:
            await asyncio.sleep(max(0.0, self._free_at - time.monotonic()))
            self._free_at = max(self._free_at, time.monotonic()) + outcomes * self._seconds_each


class Subscription:
    """A queue of outcomes that ends with its subscriber's connection when it is full."""

    def __init__(self, which: Which, pace: Pace, max_waiting: int, hang_up: HangUp) -> None:
        self._which = which
        self._pace = pace
        self._max_waiting = max_waiting
        self._hang_up = hang_up
        self._waiting: deque[Outcome] = deque()
        self._waiting_bytes = 0
        self._some = asyncio.Event()
        self._ended = False

    def offer(self, outcomes: Sequence[Outcome]) -> None:
        """Add those that are wanted; when there is no room, nothing waits any more."""
        if self._ended:
            return
        for outcome in filter(self._which.holds, outcomes):
            self._waiting.append(outcome)
            self._waiting_bytes += outcome.held_bytes
        if len(self._waiting) > self._max_waiting or self._waiting_bytes > MAX_WAITING_BYTES:
            self.end(Ending.TOO_SLOW)
        elif self._waiting:
            self._some.set()

    async def take(self, most: int) -> list[Outcome]:
        """The next outcomes, at least one; waits until there is one, and for the pace."""
        await self._some.wait()
        taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        self._waiting_bytes -= sum(outcome.held_bytes for outcome in taken)
        if not self._waiting:
            self._some.clear()
        await self._pace.turn(len(taken))
        return taken

    def end(self, why: Ending) -> None:
        """Give up: what waited is dropped at once, the connection as soon as it can be."""
        if not self._ended:
            self._ended = True
            self._waiting.clear()
            self._some.clear()
            self._hang_up(why)
