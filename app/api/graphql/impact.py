"""Impact before publishing: what a document would change, judged against what was really sent."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from app import ids
from app.access.keys import Scope
from app.api.graphql.connection import (
    DEFAULT_FIRST,
    After,
    Connection,
    First,
    checked_first,
    page,
)
from app.api.graphql.context import Info
from app.api.graphql.draft_lists import find_draft
from app.api.graphql.impact_types import Impact, impact_of
from app.api.graphql.permissions import needs
from app.api.graphql.positions import cursor_of, position_of
from app.api.graphql.refusals import Invalid, NotFound, NotPermitted, Problem, invalid
from app.db.scan import EVER, Position, newest
from app.impact import queries, service
from app.impact.run import Asked
from app.impact.service import MAX_ACTIVE, NotStarted
from app.process import beside_events
from app.registry import linter, spec
from app.registry.governance.outcomes import NO_DRAFT

MAX_DAYS = 365
MAX_EVENTS = 1_000_000
DEFAULT_EVENTS = 100_000

_NOT_STARTED = {
    NotStarted.RETIRED: "the event type is retired: no document lets its events pass",
    NotStarted.TOO_MANY: f"{MAX_ACTIVE} runs are under way: wait for one, or cancel one",
}


@strawberry.input(description="A draft, or an event type and a document; and how far to look back.")
class StartImpactInput:
    draft_id: strawberry.ID | None = strawberry.field(
        default=None, description="The draft to judge by."
    )
    event_type: str | None = strawberry.field(
        default=None, description="Without a draft: the event type; one that is not registered too."
    )
    document: JSON | None = strawberry.field(
        default=None, description="Without a draft: the document to judge by."
    )
    last_days: int | None = strawberry.field(
        default=None,
        description="Only events that happened, and items that were refused, in the last so many "
        f"days: 1 to {MAX_DAYS}.",
    )
    max_events: int = strawberry.field(
        default=DEFAULT_EVENTS,
        description=f"The newest so many events, and so many quarantined items: 1 to {MAX_EVENTS}.",
    )


@strawberry.type(description="The run waits for its turn; ask for it again to see it grow.")
class ImpactStarted:
    impact: Impact = strawberry.field(description="The run.")


@strawberry.type(description="The run has ended, now or before.")
class ImpactCancelled:
    impact: Impact = strawberry.field(description="The run with the figures that it has.")


StartImpactResult = Annotated[
    ImpactStarted | Invalid | NotFound | NotPermitted, strawberry.union("StartImpactResult")
]
CancelImpactResult = Annotated[ImpactCancelled | NotFound, strawberry.union("CancelImpactResult")]

_NO_RUN = NotFound(message="there is no such run")
_RunId = Annotated[strawberry.ID, strawberry.argument(description="Of the run.")]


@strawberry.type
class ImpactQuery:
    @strawberry.field(
        description="One run, as far as it has come.", permission_classes=[needs(Scope.SCHEMA_READ)]
    )
    async def impact(self, info: Info, id: _RunId) -> Impact | None:
        run_id = ids.decode(ids.IMPACT_PREFIX, id)
        if run_id is None:
            return None
        async with info.context.pool.acquire() as connection:
            run = await queries.find_run(connection, info.context.tenant_id, run_id)
        return impact_of(run) if run else None

    @strawberry.field(
        description="The runs of one event type, newest first.",
        permission_classes=[needs(Scope.SCHEMA_READ)],
    )
    async def impacts(
        self,
        info: Info,
        event_type: Annotated[str, strawberry.argument(description="Its name.")],
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> Connection[Impact]:
        before, limit = newest(EVER, position_of(after)), checked_first(first) + 1
        if not spec.is_event_type_name(event_type):
            return page([], first, _cursor, after=after)
        async with info.context.pool.acquire() as connection:
            runs = await queries.list_runs(
                connection, info.context.tenant_id, event_type, before=before, limit=limit
            )
        return page([impact_of(run) for run in runs], first, _cursor, after=after)


@strawberry.type
class ImpactMutation:
    @strawberry.mutation(
        description="Find out what publishing a document would change. Changes nothing itself.",
        permission_classes=[needs(Scope.SCHEMA_WRITE)],
    )
    async def start_impact(
        self,
        info: Info,
        input: Annotated[StartImpactInput, strawberry.argument(description="What to judge by.")],
    ) -> StartImpactResult:
        asked = await _asked(info, input)
        if not isinstance(asked, Asked):
            return asked
        async with info.context.pool.acquire() as connection:
            started = await service.start_run(
                connection, info.context.tenant_id, asked, info.context.principal.public_id
            )
        if isinstance(started, NotStarted):
            return NotPermitted(message=_NOT_STARTED[started], reason=started)
        return ImpactStarted(impact=impact_of(started))

    @strawberry.mutation(
        description="End a run; the batch under way does not count any more.",
        permission_classes=[needs(Scope.SCHEMA_WRITE)],
    )
    async def cancel_impact(self, info: Info, id: _RunId) -> CancelImpactResult:
        run_id = ids.decode(ids.IMPACT_PREFIX, id)
        if run_id is None:
            return _NO_RUN
        async with info.context.pool.acquire() as connection:
            run = await service.cancel_run(connection, info.context.tenant_id, run_id)
        return ImpactCancelled(impact=impact_of(run)) if run else _NO_RUN


async def _asked(info: Info, input: StartImpactInput) -> Asked | Invalid | NotFound:
    if input.last_days is not None and not 1 <= input.last_days <= MAX_DAYS:
        return invalid("/lastDays", "range", f"must be 1 to {MAX_DAYS}")
    if not 1 <= input.max_events <= MAX_EVENTS:
        return invalid("/maxEvents", "range", f"must be 1 to {MAX_EVENTS}")
    name, path = input.event_type, "/document"
    document: Any = input.document
    if input.draft_id is not None:
        if name is not None or document is not None:
            return invalid("/draftId", "one_of", "either draftId, or eventType and document")
        draft = await find_draft(info, input.draft_id)
        if draft is None:
            return NotFound(message=NO_DRAFT.message)
        entry = await info.context.loaders.registry.event_type.load(draft.event_type_id)
        name, document, path = entry.name, draft.document, ""
    if name is None or not spec.is_event_type_name(name):
        return invalid("/eventType", "event_type_name", "must be the name of an event type")
    found = await beside_events(linter.lint, document)
    errors = [finding for finding in found if finding.severity == "error"]
    if errors:
        return Invalid(
            message=errors[0].message,
            problems=[Problem(path=path + e.path, rule=e.rule, message=e.message) for e in errors],
        )
    return Asked(name, document, input.last_days, input.max_events)


def _cursor(impact: Impact) -> str:
    run_id = ids.decode(ids.IMPACT_PREFIX, impact.id)
    assert run_id is not None
    return cursor_of(Position(impact.requested_at, run_id))
