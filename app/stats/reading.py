"""Reads what was counted, as series, totals and lags. Exact; reads no more than it was asked for.

Runs on the reading pool. A tenant's names become ids here, so that another tenant's lead nowhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from app.db.pool import Connection
from app.db.sql import load_statements
from app.stats.queries import UNREGISTERED, OutcomeKind
from app.stats.steps import Step, cover, step_starts

SQL = load_statements(__file__)

ALL = -1
"""Stands for every source or event type in the roll-ups, which hold these sums as well."""
MAX_POINTS = 150_000
"""Counts of one chart that are not 0: what a worker puts together in some 100 ms."""
LAG_SAMPLE = 10_000
"""Newest events that a lag is taken of."""
_NOT_YET = datetime.min.replace(tzinfo=UTC)


class TooManyPoints(ValueError):
    """The chart has more than MAX_POINTS counts."""


class GroupBy(Enum):
    SOURCE = auto()
    EVENT_TYPE = auto()
    OUTCOME = auto()
    REASON = auto()


class Which(msgspec.Struct, frozen=True):
    """What to count; None is everything."""

    sources: Sequence[str] | None = None
    event_types: Sequence[str] | None = None
    outcomes: Sequence[OutcomeKind] = tuple(OutcomeKind)


class Group(msgspec.Struct, frozen=True):
    """What a series is of. None where it was not told apart; "" is not registered."""

    source: str | None
    event_type: str | None
    outcome: OutcomeKind | None
    reason: str | None


class Series(msgspec.Struct, frozen=True):
    group: Group
    events: Sequence[int]
    """One number a step."""
    total: int


class Chart(msgspec.Struct, frozen=True):
    starts: Sequence[datetime]
    """Beginnings of the steps, and the end of the last one."""
    series: Sequence[Series]
    """The greatest first; no more than were asked for."""
    groups: int
    """How many series there are."""
    total: int
    """Of all of them."""

    @property
    def seconds(self) -> float:
        return (self.starts[-1] - self.starts[0]).total_seconds()


class Lag(msgspec.Struct, frozen=True):
    """Seconds from occurredAt to receivedAt, of events that said when they occurred."""

    events: int
    p50: float | None
    p95: float | None


async def read_chart(
    connection: Connection,
    tenant_id: int,
    start: datetime,
    end: datetime,
    step: Step,
    zone: ZoneInfo,
    group_by: frozenset[GroupBy],
    which: Which,
    first: int | None = None,
) -> Chart:
    """The steps that touch [start, end), with all their events.

    first   series to be drawn; None is all
    raises  steps.TooManySteps, TooManyPoints
    cost    4 statements; 720 hours of 50 sources and 50 types under 200 ms (decision 19)
    """
    starts = step_starts(start, end, step, zone)
    days_until = await read_days_until(connection, tenant_id)
    sources = await read_sources(connection, tenant_id, which.sources)
    types = await read_event_types(connection, tenant_id, which.event_types)
    parts = cover(starts, days_until)
    rows = await connection.fetch(
        SQL["read_counts"],
        tenant_id,
        starts,
        *_bounds(parts.days),
        *_bounds(parts.hours),
        *_bounds(parts.minutes),
        _ids(sources, told_apart=GroupBy.SOURCE in group_by, asked=which.sources),
        _ids(types, told_apart=GroupBy.EVENT_TYPE in group_by, asked=which.event_types),
        list(which.outcomes),
        parts.cuts,
        *(group in group_by for group in GroupBy),
        MAX_POINTS + 1,
    )
    if len(rows) > MAX_POINTS:
        raise TooManyPoints
    return _chart(starts, rows, sources, types, first)


async def read_days_until(connection: Connection, tenant_id: int) -> datetime:
    """Days before are rolled up."""
    until: datetime | None = await connection.fetchval(SQL["read_days_until"], tenant_id)
    return until or _NOT_YET


async def read_lag(
    connection: Connection, tenant_id: int, start: datetime, end: datetime, which: Which
) -> Lag:
    """Of the newest LAG_SAMPLE events received in [start, end)."""
    sources = await read_sources(connection, tenant_id, which.sources)
    types = await read_event_types(connection, tenant_id, which.event_types)
    row = await connection.fetchrow(
        SQL["read_lag"],
        tenant_id,
        start,
        end,
        LAG_SAMPLE,
        None if which.sources is None else list(sources),
        None if which.event_types is None else list(types),
    )
    assert row is not None
    return Lag(*row)


async def estimate_accepted(
    connection: Connection,
    tenant_id: int,
    start: datetime,
    end: datetime,
    *,
    source_id: int | None,
    event_type_id: int | None,
) -> int:
    """About how many events were accepted in [start, end): for a progress bar.

    cost  1 statement, a row of the key an hour
    """
    which = [ALL if found is None else found for found in (source_id, event_type_id)]
    return int(await connection.fetchval(SQL["estimate_accepted"], tenant_id, start, end, *which))


async def read_sources(
    connection: Connection, tenant_id: int, names: Sequence[str] | None
) -> dict[int, str]:
    """Names of these sources, or of all, by id; "" stands for all that are not registered."""
    return _by_id(await connection.fetch(SQL["read_sources"], tenant_id, names), names)


async def read_event_types(
    connection: Connection, tenant_id: int, names: Sequence[str] | None
) -> dict[int, str]:
    """Names of these event types, or of all, by id; "" stands for all that are not registered."""
    return _by_id(await connection.fetch(SQL["read_event_types"], tenant_id, names), names)


def _by_id(rows: Sequence[Any], asked: Sequence[str] | None) -> dict[int, str]:
    found = {UNREGISTERED: ""} if asked is None or "" in asked else {}
    return found | {row["id"]: row["name"] for row in rows}


def _ids(names: Mapping[int, str], *, told_apart: bool, asked: Sequence[str] | None) -> list[int]:
    return list(names) if told_apart or asked is not None else [ALL]


def _bounds(ranges: Sequence[tuple[datetime, datetime]]) -> tuple[list[datetime], list[datetime]]:
    return [start for start, _ in ranges], [end for _, end in ranges]


def _chart(
    starts: Sequence[datetime],
    rows: Sequence[Any],
    sources: Mapping[int, str],
    types: Mapping[int, str],
    first: int | None,
) -> Chart:
    """Only what is drawn gets a number a step: many groups of few counts would be millions."""
    events: defaultdict[Group, dict[int, int]] = defaultdict(dict)
    for step, source_id, event_type_id, outcome, reason, count in rows:
        group = Group(
            None if source_id is None else sources[source_id],
            None if event_type_id is None else types[event_type_id],
            None if outcome is None else OutcomeKind(outcome),
            reason,
        )
        events[group][step] = count
    totals = {group: sum(counts.values()) for group, counts in events.items()}
    ranked = sorted(totals, key=lambda group: (-totals[group], _order(group)))
    steps = range(len(starts) - 1)
    drawn = [
        Series(group, [events[group].get(step, 0) for step in steps], totals[group])
        for group in ranked[:first]
    ]
    return Chart(starts, drawn, len(ranked), sum(totals.values()))


def _order(group: Group) -> tuple[str, str, int, str]:
    return (group.source or "", group.event_type or "", group.outcome or 0, group.reason or "")
