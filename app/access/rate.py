"""Rate limits: events a clock minute, by key and by tenant. Never touches the database itself.

Each worker counts alone and learns once a second what the others let through, so N workers let
at most (N - 1) seconds' worth of events too many through in a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

WINDOW_SECONDS = 60


class Limit(NamedTuple):
    """One thing that is counted: `key:17` or `tenant:3`."""

    subject: str
    events_per_minute: int


class Allowance(NamedTuple):
    """What the headers of an answer say."""

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: int
    """Until the window ends: what `Retry-After` says."""


class RateLimiter:
    """Counters of the current minute."""

    def __init__(self) -> None:
        self.minute = 0
        self._own: dict[str, int] = {}
        self._others: Mapping[str, int] = {}

    def charge(self, limits: tuple[Limit, ...], events: int, now: float) -> Allowance:
        """Count the events against every limit, or against none when one would be passed.

        now      seconds since the epoch
        returns  the allowance of the limit with the least left
        """
        minute = int(now) // WINDOW_SECONDS
        if minute != self.minute:
            self.minute, self._own, self._others = minute, {}, {}
        own, others = self._own, self._others
        tightest, left = limits[0], None
        for limit in limits:
            used = own.get(limit.subject, 0) + others.get(limit.subject, 0)
            remaining = limit.events_per_minute - used
            if left is None or remaining < left:
                tightest, left = limit, remaining
        assert left is not None
        allowed = events <= left
        if allowed:
            left -= events
            for limit in limits:
                own[limit.subject] = own.get(limit.subject, 0) + events
        reset = (minute + 1) * WINDOW_SECONDS - int(now)
        return Allowance(allowed, tightest.events_per_minute, max(left, 0), reset)

    def own_counts(self) -> tuple[int, dict[str, int]]:
        """(minute, what this worker let through in it), for the others to learn."""
        return self.minute, dict(self._own)

    def learn(self, minute: int, others: Mapping[str, int]) -> None:
        """Take over what the other workers let through in that minute."""
        if minute == self.minute:
            self._others = others
