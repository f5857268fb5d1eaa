"""When each source last had an event of each type accepted, and whether that is too long ago.

Never looks at events: the counters know the minute.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum

import msgspec

from app.db.pool import Connection
from app.db.sql import load_statements
from app.stats.reading import Which, read_event_types, read_sources

SQL = load_statements(__file__)

SHORTEST_SILENCE = timedelta(minutes=5)
"""Of a busy source: a restart and a retry take no longer."""
SILENT_AFTER = 1.5
"""Usual gaps: one and a half without an event is silence."""
HAS_HABITS = timedelta(days=1)
"""Known for less, it is held against its longest gap: so few gaps make nothing usual."""
IS_SURE = timedelta(days=7)
"""Known for less, nobody has seen its week-end."""


class State(IntEnum):
    DELIVERING = 0
    QUIET = 1
    """Longer than its gaps so far, but it is known too short to call that unusual."""
    SILENT = 2


class Freshness(msgspec.Struct, frozen=True):
    source: str
    event_type: str
    last_minute: datetime
    """In which the last event was received."""
    known_since: datetime
    """The first minute with events of the 14 days before the last one."""
    usual_gap: timedelta | None
    """None while there was none."""
    state: State


async def read_freshness(
    connection: Connection,
    tenant_id: int,
    which: Which,
    now: datetime,
    *,
    at_least: State = State.DELIVERING,
    first: int,
) -> list[Freshness]:
    """Pairs that ever had an event: the silent ones first, the longest silence first.

    cost  3 statements and the minutes since the last roll-up
    """
    sources = await read_sources(connection, tenant_id, which.sources)
    types = await read_event_types(connection, tenant_id, which.event_types)
    rows = await connection.fetch(
        SQL["read_freshness"],
        tenant_id,
        None if which.sources is None else list(sources),
        None if which.event_types is None else list(types),
        now,
        SHORTEST_SILENCE,
        SILENT_AFTER,
        HAS_HABITS,
        IS_SURE,
        at_least,
        first,
    )
    found = [
        Freshness(
            source=sources[row["source_id"]],
            event_type=types[row["event_type_id"]],
            last_minute=row["last_minute"],
            known_since=row["known_since"],
            usual_gap=_gap(row["gap_seconds"]),
            state=State(row["state"]),
        )
        for row in rows
        if row["source_id"] in sources and row["event_type_id"] in types
    ]
    found.sort(key=lambda f: (-f.state, f.last_minute, f.source, f.event_type))
    return found


def _gap(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
