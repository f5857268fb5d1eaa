"""When each source last had an event of each type accepted, and whether that is too long ago.

Never looks at events: the counters know the minute.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from app.db.pool import Connection
from app.db.sql import load_statements
from app.stats.reading import Which, read_event_types, read_sources

SQL = load_statements(__file__)

MAX_PAIRS = 5_000
"""Pairs of a source and an event type that are looked at."""
SILENT_AFTER = 1.5
"""Usual gaps: one and a half without an event is silence."""


class Freshness(msgspec.Struct, frozen=True):
    source: str
    event_type: str
    last_minute: datetime
    """In which the last event was received."""
    usual_gap: timedelta | None
    """None until there were gaps enough to call one usual."""
    is_silent: bool


def is_silent(last_minute: datetime, usual_gap: timedelta | None, now: datetime) -> bool:
    """Whether it is quiet for much longer than usual; never without a usual gap."""
    return usual_gap is not None and now - last_minute > usual_gap * SILENT_AFTER


async def read_freshness(
    connection: Connection, tenant_id: int, which: Which, now: datetime
) -> list[Freshness]:
    """Each pair that ever had an event: the silent ones first, the longest silence first.

    cost  3 statements and the minutes since the last roll-up
    """
    sources = await read_sources(connection, tenant_id, which.sources)
    types = await read_event_types(connection, tenant_id, which.event_types)
    rows = await connection.fetch(
        SQL["read_freshness"],
        tenant_id,
        None if which.sources is None else list(sources),
        None if which.event_types is None else list(types),
        MAX_PAIRS,
    )
    found = [
        Freshness(
            source=sources[row["source_id"]],
            event_type=types[row["event_type_id"]],
            last_minute=row["last_minute"],
            usual_gap=gap,
            is_silent=is_silent(row["last_minute"], gap, now),
        )
        for row in rows
        if row["source_id"] in sources and row["event_type_id"] in types
        for gap in (_gap(row["usual_gap_seconds"]),)
    ]
    found.sort(key=lambda f: (not f.is_silent, f.last_minute, f.source, f.event_type))
    return found


def _gap(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
