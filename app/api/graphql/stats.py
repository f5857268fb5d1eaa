"""Ingestion stats: what came in and what became of it, as charts, errors, freshness and lag.

Exact and of this very moment: read from the counters that each delivery was counted in.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import strawberry

from app import clock
from app.access.keys import Scope
from app.api.graphql.connection import First, checked_first, refuse_argument
from app.api.graphql.context import Info
from app.api.graphql.permissions import needs
from app.api.graphql.positions import TimeWindow, window_of
from app.api.graphql.scalars import Number
from app.api.graphql.stats_types import (
    ErrorCount,
    IngestLag,
    IngestStats,
    SourceFreshness,
    StatsFilter,
    StatsGroupBy,
    StatsStep,
    freshness_of,
    series_of,
    which_of,
)
from app.stats import freshness, reading, steps
from app.stats.freshness import State
from app.stats.queries import OutcomeKind
from app.stats.reading import Chart, GroupBy, Which
from app.stats.steps import Step

DEFAULT_SERIES = 20
DEFAULT_HOURS = 24
MAX_LAG_DAYS = 7
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Nothing was received before, and nothing will be after: time zones end where datetime does."""


_READERS = [needs(Scope.STATS_READ)]
_Received = Annotated[
    TimeWindow | None,
    strawberry.argument(
        description=f"When they were received: the last {DEFAULT_HOURS} hours if left out."
    ),
]
_Filter = Annotated[StatsFilter | None, strawberry.argument(description="What to count.")]


@strawberry.type
class StatsQuery:
    @strawberry.field(
        description="Deliveries over time: every step that the stretch touches,"
        f" {steps.MAX_STEPS:,} at most.",
        permission_classes=_READERS,
    )
    async def stats(
        self,
        info: Info,
        received: _Received = None,
        step: Annotated[StatsStep, strawberry.argument(description="How fine.")] = StatsStep.HOUR,
        time_zone: Annotated[
            str, strawberry.argument(description="Name in the IANA database: Europe/Berlin.")
        ] = "UTC",
        group_by: Annotated[
            list[StatsGroupBy] | None, strawberry.argument(description="A series for each.")
        ] = None,
        filter: _Filter = None,
        first: First = DEFAULT_SERIES,
    ) -> IngestStats:
        shown = checked_first(first)
        start, end = stretch_of(received)
        zone = _zone(time_zone)
        groups = frozenset(GroupBy[group.name] for group in group_by or ())
        which = which_of(filter)
        chart = await _chart(info, start, end, Step[step.name], zone, groups, which, shown)
        seconds = max((min(chart.starts[-1], clock.now()) - chart.starts[0]).total_seconds(), 1.0)
        return IngestStats(
            starts=list(chart.starts),
            total=Number(chart.total),
            per_second=chart.total / seconds,
            series=[series_of(series, seconds) for series in chart.series],
            groups=chart.groups,
        )

    @strawberry.field(
        description="Why most deliveries were refused, by source and event type.",
        permission_classes=_READERS,
    )
    async def top_errors(
        self, info: Info, received: _Received = None, filter: _Filter = None, first: First = 10
    ) -> list[ErrorCount]:
        shown = checked_first(first)
        asked = _which_of_any_outcome(filter)
        chart = await _chart(
            info,
            *stretch_of(received),
            Step.WHOLE,
            ZoneInfo("UTC"),
            frozenset({GroupBy.SOURCE, GroupBy.EVENT_TYPE, GroupBy.REASON}),
            Which(asked.sources, asked.event_types, [OutcomeKind.REJECTED]),
            shown,
        )
        return [
            ErrorCount(
                reason=series.group.reason or "",
                source=series.group.source or "",
                event_type=series.group.event_type or "",
                events=Number(series.total),
            )
            for series in chart.series
        ]

    @strawberry.field(
        description="When each source last had an event of each type accepted: silent ones first,"
        " then quiet ones, the longest silence first.",
        permission_classes=_READERS,
    )
    async def freshness(
        self,
        info: Info,
        filter: _Filter = None,
        silent_only: Annotated[bool, strawberry.argument(description="Only SILENT ones.")] = False,
        first: First = 50,
    ) -> list[SourceFreshness]:
        shown, which = checked_first(first), _which_of_any_outcome(filter)
        async with info.context.pool.acquire() as connection:
            found = await freshness.read_freshness(
                connection,
                info.context.tenant_id,
                which,
                clock.now(),
                at_least=State.SILENT if silent_only else State.DELIVERING,
                first=shown,
            )
        return [freshness_of(one) for one in found]

    @strawberry.field(
        description=f"How late events come. Over {MAX_LAG_DAYS} days at most.",
        permission_classes=_READERS,
    )
    async def lag(
        self, info: Info, received: _Received = None, filter: _Filter = None
    ) -> IngestLag:
        (start, end), which = stretch_of(received), _which_of_any_outcome(filter)
        if end - start > timedelta(days=MAX_LAG_DAYS):
            raise refuse_argument(f"received may be {MAX_LAG_DAYS} days long")
        async with info.context.pool.acquire() as connection:
            found = await reading.read_lag(connection, info.context.tenant_id, start, end, which)
        return IngestLag(events=found.events, p50_seconds=found.p50, p95_seconds=found.p95)


async def _chart(
    info: Info,
    start: datetime,
    end: datetime,
    step: Step,
    zone: ZoneInfo,
    groups: frozenset[GroupBy],
    which: Which,
    first: int,
) -> Chart:
    async with info.context.pool.acquire() as connection:
        try:
            return await reading.read_chart(
                connection, info.context.tenant_id, start, end, step, zone, groups, which, first
            )
        except reading.TooManyPoints:
            raise refuse_argument(
                f"a chart has {reading.MAX_POINTS:,} counts at most: tell fewer groups apart, or"
                " ask for longer steps or for less"
            ) from None
        except steps.TooManySteps:
            raise refuse_argument(
                f"a chart has {steps.MAX_STEPS:,} steps at most: ask for longer steps or for less"
            ) from None


def _which_of_any_outcome(asked: StatsFilter | None) -> Which:
    """raises  GraphQLError BAD_USER_INPUT where outcomes are named, which would not be heeded"""
    if asked is not None and asked.outcomes is not None:
        raise refuse_argument("filter.outcomes is for stats only")
    return which_of(asked)


def stretch_of(received: TimeWindow | None) -> tuple[datetime, datetime]:
    """raises  GraphQLError BAD_USER_INPUT where it ends before it begins"""
    asked = window_of(received, "received")
    end = _clamped(clock.now() if received is None or received.until is None else asked.end)
    start = _clamped(asked.start)
    if received is None or received.since is None:
        start = _clamped(end - timedelta(hours=DEFAULT_HOURS))
    if start > end:
        raise refuse_argument("received ends before it begins")
    return start, end


def _clamped(moment: datetime) -> datetime:
    return min(max(moment, EARLIEST), LATEST)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise refuse_argument("timeZone is no name of the IANA database") from None
