"""Which sources deliver again what they had delivered. Counted, not listed: see `deliveries`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Annotated
from zoneinfo import ZoneInfo

import strawberry

from app.access.keys import Scope
from app.api.graphql.connection import First, checked_first
from app.api.graphql.context import Info
from app.api.graphql.permissions import needs
from app.api.graphql.positions import TimeWindow
from app.api.graphql.scalars import Number
from app.api.graphql.stats import DEFAULT_HOURS, stretch_of
from app.stats import reading
from app.stats.queries import OutcomeKind
from app.stats.reading import GroupBy, Series, Which
from app.stats.steps import Step

DEFAULT_SOURCES = 10
_UTC = ZoneInfo("UTC")
_VALID = (OutcomeKind.ACCEPTED, OutcomeKind.DUPLICATE, OutcomeKind.CONFLICT)


@strawberry.type(description="How often a source delivered what it had delivered before.")
class SourceRetries:
    source: str = strawberry.field(description="Name of the source.")
    deliveries: Number = strawberry.field(description="Its valid deliveries: all but rejected.")
    duplicates: Number = strawberry.field(description="Those that were the same fact again.")
    conflicts: Number = strawberry.field(
        description="Those that were another fact under a key that was taken."
    )
    rate: float = strawberry.field(
        description="Duplicates and conflicts as a share of its deliveries: 0 to 1."
    )


@strawberry.type
class RetriesQuery:
    @strawberry.field(
        description="The sources that retry most, by the number of duplicates and conflicts. Over"
        " time: `stats` grouped by source and outcome.",
        permission_classes=[needs(Scope.STATS_READ)],
    )
    async def retrying_sources(
        self,
        info: Info,
        received: Annotated[
            TimeWindow | None,
            strawberry.argument(
                description="When they were received, by the minute: the last"
                f" {DEFAULT_HOURS} hours if left out."
            ),
        ] = None,
        prefix: Annotated[
            str, strawberry.argument(description="Only sources whose names begin so: brand.pos.")
        ] = "",
        first: First = DEFAULT_SOURCES,
    ) -> list[SourceRetries]:
        shown = checked_first(first)
        start, end = stretch_of(received)
        async with info.context.pool.acquire() as connection:
            chart = await reading.read_chart(
                connection,
                info.context.tenant_id,
                start,
                end,
                Step.WHOLE,
                _UTC,
                frozenset({GroupBy.SOURCE, GroupBy.OUTCOME}),
                Which(outcomes=_VALID),
            )
        return [one for one in _ranked(chart.series) if one.source.startswith(prefix)][:shown]


def _ranked(counts: Sequence[Series]) -> list[SourceRetries]:
    """Sources with a retry, those with the most first."""
    by_source: dict[str, Counter[OutcomeKind]] = defaultdict(Counter)
    for series in counts:
        assert series.group.outcome is not None
        by_source[series.group.source or ""][series.group.outcome] += series.total
    found = [_retries(source, outcomes) for source, outcomes in by_source.items()]
    retrying = [one for one in found if one.rate > 0]
    return sorted(retrying, key=lambda one: (-(one.duplicates + one.conflicts), one.source))


def _retries(source: str, outcomes: Counter[OutcomeKind]) -> SourceRetries:
    duplicates, conflicts = outcomes[OutcomeKind.DUPLICATE], outcomes[OutcomeKind.CONFLICT]
    deliveries = outcomes.total()
    return SourceRetries(
        source=source,
        deliveries=Number(deliveries),
        duplicates=Number(duplicates),
        conflicts=Number(conflicts),
        rate=(duplicates + conflicts) / deliveries if deliveries else 0.0,
    )
