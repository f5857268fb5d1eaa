"""Drafts read and checked. Changes nothing."""

from __future__ import annotations

import re
from typing import Annotated

import strawberry
from msgspec import Meta
from strawberry.scalars import JSON

from app.access.keys import Scope
from app.api.graphql.connection import (
    DEFAULT_FIRST,
    After,
    Connection,
    First,
    checked_first,
    decode_cursor,
    encode_cursor,
    page,
)
from app.api.graphql.context import Info
from app.api.graphql.draft_inputs import CheckCompatibilityInput, CheckCompatibilityResult
from app.api.graphql.permissions import needs
from app.api.graphql.refusals import NotFound, invalid
from app.api.graphql.registry_outcomes import shown_report
from app.api.graphql.registry_types import Draft, DraftState
from app.registry.governance import checking, outcomes, queries
from app.registry.governance.outcomes import NO_DRAFT
from app.registry.governance.queries import MAX_BIGINT, DraftRow, EventTypeRow
from app.registry.spec import is_event_type_name

_READERS = [needs(Scope.SCHEMA_READ)]
_Number = Annotated[int, Meta(ge=0, le=MAX_BIGINT)]
_ID = re.compile("[1-9][0-9]{0,17}")


@strawberry.type
class DraftsQuery:
    @strawberry.field(
        description="Drafts of the tenant or of one event type, newest first.",
        permission_classes=_READERS,
    )
    async def drafts(
        self,
        info: Info,
        event_type: Annotated[
            str | None, strawberry.argument(description="Only those of this event type.")
        ] = None,
        states: Annotated[
            list[DraftState] | None, strawberry.argument(description="Only those in these.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> Connection[Draft]:
        before = decode_cursor(after, tuple[_Number])[0] if after is not None else MAX_BIGINT
        limit = checked_first(first) + 1
        entry = await find_event_type(info, event_type) if event_type is not None else None
        if event_type is not None and entry is None:
            return page([], first, _cursor, after=after)
        async with info.context.pool.acquire() as connection:
            rows = await queries.list_drafts(
                connection,
                info.context.tenant_id,
                event_type_id=entry.event_type_id if entry else None,
                states=[state.name for state in states] if states is not None else None,
                before=before,
                limit=limit,
            )
        return page([Draft.of(row) for row in rows], first, _cursor, after=after)

    @strawberry.field(description="One draft.", permission_classes=_READERS)
    async def draft(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> Draft | None:
        row = await find_draft(info, id)
        return Draft.of(row) if row else None

    @strawberry.field(
        description="What publishing a draft or a document would break. Changes nothing.",
        permission_classes=_READERS,
    )
    async def check_compatibility(
        self,
        info: Info,
        input: Annotated[
            CheckCompatibilityInput, strawberry.argument(description="What to check.")
        ],
    ) -> CheckCompatibilityResult:
        name, document = input.event_type, input.document
        if (input.draft_id is None) == (name is None and document is None):
            return invalid("", "one_of", "either draftId, or eventType and document")
        if input.draft_id is not None:
            row = await find_draft(info, input.draft_id)
            if row is None:
                return NotFound(message=NO_DRAFT.message)
            entry = await info.context.loaders.registry.event_type.load(row.event_type_id)
            name, document = entry.name, JSON(row.document)
        if name is None or document is None:
            return invalid("", "one_of", "either draftId, or eventType and document")
        async with info.context.pool.acquire() as connection:
            verdict = await checking.check_compatibility(
                connection, info.context.tenant_id, name, document
            )
        if isinstance(verdict, outcomes.NotFound):
            return NotFound(message=verdict.message)
        return shown_report(verdict)


async def find_draft(info: Info, id: strawberry.ID) -> DraftRow | None:
    async with info.context.pool.acquire() as connection:
        return await queries.read_draft(connection, info.context.tenant_id, draft_number(id))


async def find_event_type(info: Info, name: str) -> EventTypeRow | None:
    if not is_event_type_name(name):
        return None
    async with info.context.pool.acquire() as connection:
        return await queries.read_event_type(connection, info.context.tenant_id, name)


def draft_number(id: strawberry.ID) -> int:
    """The draft's number; 0, which no draft has, when it is none of our ids."""
    return int(id) if _ID.fullmatch(id) else 0


def _cursor(draft: Draft) -> str:
    return encode_cursor(int(draft.id))
