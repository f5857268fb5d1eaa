"""Ingestion stats as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum

import strawberry

from app.api.graphql.scalars import Number
from app.stats import freshness, reading
from app.stats.freshness import State
from app.stats.queries import OutcomeKind
from app.stats.reading import GroupBy, Which
from app.stats.steps import MINUTE, Step

_SHORTEST_MINUTES = freshness.SHORTEST_SILENCE // MINUTE


@strawberry.enum(description="What became of a delivery.")
class StatsOutcome(Enum):
    ACCEPTED = strawberry.enum_value(OutcomeKind.ACCEPTED.name, description="It made an event.")
    DUPLICATE = strawberry.enum_value(
        OutcomeKind.DUPLICATE.name, description="The same fact again."
    )
    CONFLICT = strawberry.enum_value(
        OutcomeKind.CONFLICT.name, description="Another fact under a key that was taken."
    )
    REJECTED = strawberry.enum_value(
        OutcomeKind.REJECTED.name, description="Refused; it is in quarantine."
    )


@strawberry.enum(description="How long the steps of a chart are.")
class StatsStep(Enum):
    MINUTE = strawberry.enum_value(Step.MINUTE.name, description="A minute.")
    HOUR = strawberry.enum_value(
        Step.HOUR.name,
        description="An hour of the time zone's clock; one gone through twice is two.",
    )
    DAY = strawberry.enum_value(
        Step.DAY.name, description="A day of the time zone: 23 or 25 hours when clocks change."
    )
    WHOLE = strawberry.enum_value(Step.WHOLE.name, description="One step: totals only.")


@strawberry.enum(description="What series are told apart by.")
class StatsGroupBy(Enum):
    SOURCE = strawberry.enum_value(GroupBy.SOURCE.name, description="The source.")
    EVENT_TYPE = strawberry.enum_value(GroupBy.EVENT_TYPE.name, description="The event type.")
    OUTCOME = strawberry.enum_value(GroupBy.OUTCOME.name, description="What became of it.")
    REASON = strawberry.enum_value(
        GroupBy.REASON.name, description="Of rejected ones: the code of the first violation."
    )


@strawberry.input(
    description='What to count; what is left out does not matter. "": not registered.'
)
class StatsFilter:
    sources: list[str] | None = strawberry.field(default=None, description="Names of sources.")
    event_types: list[str] | None = strawberry.field(
        default=None, description="Names of event types."
    )
    outcomes: list[StatsOutcome] | None = strawberry.field(
        default=None, description="What became of them; in `stats` only."
    )


@strawberry.type(description="The counts of one group.")
class StatsSeries:
    source: str | None = strawberry.field(
        description='The source; "" when it is not registered; null when not told apart.'
    )
    event_type: str | None = strawberry.field(
        description='The event type; "" when it is not registered; null when not told apart.'
    )
    outcome: StatsOutcome | None = strawberry.field(description="Null when not told apart.")
    reason: str | None = strawberry.field(
        description='Code of the first violation; "" where nothing was refused; null when not told'
        " apart."
    )
    total: Number = strawberry.field(description="Deliveries in all steps.")
    per_second: float = strawberry.field(description="The same, divided by the seconds so far.")
    events: list[Number] = strawberry.field(description="Deliveries in each step.")


@strawberry.type(description="Counts of deliveries over time.")
class IngestStats:
    starts: list[datetime] = strawberry.field(
        description="When each step begins, and at the end when the last one ends."
    )
    total: Number = strawberry.field(description="Deliveries in all steps of all groups.")
    per_second: float = strawberry.field(description="The same, divided by the seconds so far.")
    series: list[StatsSeries] = strawberry.field(description="The greatest groups first.")
    groups: int = strawberry.field(description="How many groups there are, shown or not.")


@strawberry.type(description="Why deliveries were refused.")
class ErrorCount:
    reason: str = strawberry.field(description="Code of the first violation.")
    source: str = strawberry.field(description='The source; "" when it is not registered.')
    event_type: str = strawberry.field(description='The event type; "" when it is not registered.')
    events: Number = strawberry.field(description="How many were refused for it.")


@strawberry.enum(description="Whether a source still sends an event type as it used to.")
class FreshnessState(Enum):
    DELIVERING = strawberry.enum_value(
        State.DELIVERING.name,
        description=f"The last event is no longer ago than {_SHORTEST_MINUTES} minutes, or than"
        f" {freshness.SILENT_AFTER} usual gaps.",
    )
    QUIET = strawberry.enum_value(
        State.QUIET.name,
        description="It is, but the source is known to send it for less than"
        f" {freshness.IS_SURE.days} days, or sent it too seldom: it may rest at night or at"
        " week-ends.",
    )
    SILENT = strawberry.enum_value(State.SILENT.name, description="It is, and that is unusual.")


@strawberry.type(description="When a source last had an event of a type accepted.")
class SourceFreshness:
    source: str = strawberry.field(description="The source.")
    event_type: str = strawberry.field(description="The event type.")
    last_event_at: datetime = strawberry.field(
        description="The minute in which the last one was received."
    )
    known_since: datetime = strawberry.field(
        description="The first minute with one, of the 14 days before the last: what is said here"
        " rests on the time between them."
    )
    usual_gap_seconds: int | None = strawberry.field(
        description="The gap between quarters of an hour with events into which nine of ten moments"
        " of the last 14 days fall; known for less than a day, the longest gap between minutes"
        " with events. Null while there was none."
    )
    state: FreshnessState = strawberry.field(description="Whether it still comes.")
    silent_since: datetime | None = strawberry.field(description="`lastEventAt` when it is SILENT.")


@strawberry.type(description="From when events happened to when they were received.")
class IngestLag:
    events: int = strawberry.field(
        description=f"Events measured. The newest {reading.LAG_SAMPLE:,} of the time are looked at,"
        " whatever the filter says; those of them count that match it and said when they happened."
        " 0: none did, though older ones may; ask for a time in which they came."
    )
    p50_seconds: float | None = strawberry.field(description="Half of them took no longer.")
    p95_seconds: float | None = strawberry.field(description="19 of 20 took no longer.")


def which_of(asked: StatsFilter | None) -> Which:
    asked = asked or StatsFilter()
    outcomes = list(StatsOutcome) if asked.outcomes is None else asked.outcomes
    return Which(
        asked.sources, asked.event_types, [OutcomeKind[outcome.name] for outcome in outcomes]
    )


def series_of(series: reading.Series, seconds: float) -> StatsSeries:
    group = series.group
    return StatsSeries(
        source=group.source,
        event_type=group.event_type,
        outcome=None if group.outcome is None else StatsOutcome[group.outcome.name],
        reason=group.reason,
        total=Number(series.total),
        per_second=series.total / seconds,
        events=_numbers(series.events),
    )


def _numbers(counts: Sequence[int]) -> list[Number]:
    return [Number(count) for count in counts]


def freshness_of(found: freshness.Freshness) -> SourceFreshness:
    return SourceFreshness(
        source=found.source,
        event_type=found.event_type,
        last_event_at=found.last_minute,
        known_since=found.known_since,
        usual_gap_seconds=None if found.usual_gap is None else int(found.usual_gap.total_seconds()),
        state=FreshnessState[found.state.name],
        silent_since=found.last_minute if found.state is State.SILENT else None,
    )
