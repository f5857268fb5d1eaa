"""What GraphQL says of an impact run. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum

import strawberry
from strawberry.scalars import JSON

from app import ids
from app.impact.run import Run
from app.impact.tally import MAX_FINDINGS, MAX_NAMES, MAX_SAMPLES, OTHERS, Count, Finding, Scanned


@strawberry.enum(description="How far a run has come.")
class ImpactState(Enum):
    QUEUED = strawberry.enum_value("QUEUED", description="It waits for its first turn.")
    RUNNING = strawberry.enum_value("RUNNING", description="The figures grow.")
    DONE = strawberry.enum_value("DONE", description="The figures are whole.")
    CANCELLED = strawberry.enum_value("CANCELLED", description="Ended early; the figures stay.")
    FAILED = strawberry.enum_value("FAILED", description="Given up; the service's log says why.")


@strawberry.enum(description="How the document would change a verdict.")
class ImpactChange(Enum):
    NEWLY_FAILING = strawberry.enum_value(
        "NEWLY_FAILING", description="It passes today and would be refused."
    )
    NEWLY_PASSING = strawberry.enum_value(
        "NEWLY_PASSING", description="It is refused today and would pass, with all that it has."
    )


@strawberry.type(description="All items of one kind.")
class ImpactScanned:
    scanned: int = strawberry.field(description="How many were judged.")
    newly_failing: int = strawberry.field(description="Pass today, would be refused.")
    newly_passing: int = strawberry.field(description="Are refused today, would pass.")


@strawberry.type(description="Items under one name.")
class ImpactCount:
    name: str | None = strawberry.field(
        description=f"The source, rule or path; null: all beyond the first {MAX_NAMES}."
    )
    newly_failing: int = strawberry.field(description="Pass today, would be refused.")
    newly_passing: int = strawberry.field(description="Are refused today, would pass.")


@strawberry.type(description="One reason at one place. An item with two reasons is in both.")
class ImpactFinding:
    change: ImpactChange = strawberry.field(description="What would change.")
    rule: str = strawberry.field(
        description="As `errors[].code`: why it would be refused, or why it is refused today."
    )
    path: str | None = strawberry.field(
        description="JSON Pointer into the event, * for every item of an array; null: all places "
        f"of the rule beyond the first {MAX_FINDINGS} findings."
    )
    items: int = strawberry.field(description="Events and quarantined items.")
    event_ids: list[strawberry.ID] = strawberry.field(
        description=f"The newest of the events; with the quarantined ones {MAX_SAMPLES} at most."
    )
    quarantine_ids: list[strawberry.ID] = strawberry.field(
        description="The newest of the quarantined items."
    )


@strawberry.type(
    description="What publishing a document would change: each stored event and quarantined item "
    "of the event type judged twice, by what is accepted today and with the document as the newest "
    "version, which gives the one before it no grace. Kept for a week."
)
class Impact:
    id: strawberry.ID = strawberry.field(description="Of the run: `imp_…`.")
    event_type: str = strawberry.field(description="Its name.")
    document: JSON = strawberry.field(description="The document that is judged by.")
    last_days: int | None = strawberry.field(description="Only what is no older; null: any age.")
    max_events: int = strawberry.field(
        description="The newest so many events, and so many quarantined items."
    )
    requested_by: strawberry.ID = strawberry.field(description="The key that asked for it.")
    requested_at: datetime = strawberry.field(
        description="The moment for which the verdicts hold; what came later is not looked at."
    )
    finished_at: datetime | None = strawberry.field(description="When it ended, however.")
    state: ImpactState = strawberry.field(description="How far it has come.")
    scanned: int = strawberry.field(description="Items that were judged so far.")
    total: int | None = strawberry.field(
        description="About how many there are to judge; null until they are counted."
    )
    events: ImpactScanned = strawberry.field(
        description="Accepted events, judged by their properties."
    )
    quarantined: ImpactScanned = strawberry.field(
        description="Quarantined items, judged as if their key delivered them again."
    )
    stripped_events: int = strawberry.field(
        description="Events that had unknown properties which were left out when they were stored. "
        "They are judged without those: a document that refuses unknown properties, or registers "
        "these, could refuse what their senders really send."
    )
    by_source: list[ImpactCount] = strawberry.field(description="Whom it touches; most first.")
    by_rule: list[ImpactCount] = strawberry.field(description="By `errors[].code`; most first.")
    by_path: list[ImpactCount] = strawberry.field(description="By place; most first.")
    findings: list[ImpactFinding] = strawberry.field(
        description="By change, rule and place, with ids to look at; most first."
    )


def impact_of(run: Run) -> Impact:
    tally = run.tally
    return Impact(
        id=strawberry.ID(ids.encode(ids.IMPACT_PREFIX, run.run_id)),
        event_type=run.asked.event_type,
        document=JSON(run.asked.document),
        last_days=run.asked.last_days,
        max_events=run.asked.max_events,
        requested_by=strawberry.ID(run.requested_by),
        requested_at=run.requested_at,
        finished_at=run.finished_at,
        state=ImpactState(run.state),
        scanned=tally.scanned,
        total=run.total,
        events=_scanned(tally.events),
        quarantined=_scanned(tally.quarantined),
        stripped_events=tally.stripped_events,
        by_source=_counts(tally.by_source),
        by_rule=_counts(tally.by_rule),
        by_path=_counts(tally.by_path),
        findings=_findings(tally.findings.values()),
    )


def _scanned(counts: Scanned) -> ImpactScanned:
    return ImpactScanned(
        scanned=counts.scanned,
        newly_failing=counts.newly_failing,
        newly_passing=counts.newly_passing,
    )


def _counts(counts: Mapping[str, Count]) -> list[ImpactCount]:
    found = [
        ImpactCount(
            name=None if name == OTHERS else name,
            newly_failing=count.newly_failing,
            newly_passing=count.newly_passing,
        )
        for name, count in sorted(counts.items())
    ]
    return sorted(found, key=lambda count: -(count.newly_failing + count.newly_passing))


def _findings(findings: Iterable[Finding]) -> list[ImpactFinding]:
    return [
        ImpactFinding(
            change=ImpactChange(finding.change),
            rule=finding.rule,
            path=None if finding.path == OTHERS else finding.path,
            items=finding.items,
            event_ids=[strawberry.ID(id) for id in finding.event_ids],
            quarantine_ids=[strawberry.ID(id) for id in finding.quarantine_ids],
        )
        for finding in sorted(findings, key=lambda f: (-f.items, f.change, f.rule, f.path))
    ]
