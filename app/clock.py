"""The one place that asks what time it is. Never returns a naive time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

SKEW = timedelta(seconds=5)
"""By how much the clocks of workers and of Postgres may differ."""


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)
