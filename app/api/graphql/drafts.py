"""Drafts: written, checked, reviewed, discarded, published."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import strawberry

from app import clock
from app.access.keys import Scope
from app.api.graphql.context import Info
from app.api.graphql.definitions import PropertyDefinitionInput, document_from
from app.api.graphql.draft_inputs import (
    MAX_GRACE_DAYS,
    CreateDraftInput,
    DraftPublished,
    DraftResult,
    DraftSaved,
    EditDraftInput,
    EndDraftInput,
    PublishDraftInput,
    PublishDraftResult,
    SubmitDraftInput,
)
from app.api.graphql.draft_lists import draft_number, find_draft, find_event_type
from app.api.graphql.permissions import needs
from app.api.graphql.refusals import Invalid, NotFound, NotPermitted, StaleRevision, invalid
from app.api.graphql.registry_outcomes import (
    Expected,
    actor_of,
    incompatible,
    refused,
)
from app.api.graphql.registry_types import Draft, EventType, EventTypeVersion
from app.process import beside_events
from app.registry.governance import drafts, outcomes, publishing
from app.registry.governance.drafts import HeldDraft
from app.registry.governance.outcomes import NO_DRAFT
from app.registry.linter import lint

_WRITERS = [needs(Scope.SCHEMA_WRITE)]
_NO_DRAFT = NotFound(message=NO_DRAFT.message)


@strawberry.type
class DraftsMutation:
    @strawberry.mutation(
        description="Propose a version. A draft may have faults while it is written.",
        permission_classes=_WRITERS,
    )
    async def create_draft(
        self,
        info: Info,
        input: Annotated[CreateDraftInput, strawberry.argument(description="What to propose.")],
    ) -> DraftResult:
        by_definitions = input.definitions is not None
        base = await _newest_document(info, input.event_type) if by_definitions else {}
        document = await _document(input.document, input.definitions, base)
        if isinstance(document, Invalid):
            return document
        return _shown(
            await drafts.create_draft(
                info.context.tenant_id, actor_of(info), input.event_type, document, input.summary
            )
        )

    @strawberry.mutation(
        description="Write another document into a draft that is not in review. Whoever does"
        " becomes one of its authors.",
        permission_classes=_WRITERS,
    )
    async def edit_draft(
        self,
        info: Info,
        input: Annotated[EditDraftInput, strawberry.argument(description="What to write.")],
    ) -> DraftResult:
        row = await find_draft(info, input.id)
        if row is None:
            return _NO_DRAFT
        document = await _document(input.document, input.definitions, row.document)
        if isinstance(document, Invalid):
            return document
        return _shown(
            await drafts.edit_draft(
                info.context.tenant_id,
                actor_of(info),
                row.draft_id,
                input.expected_revision,
                document=document,
                summary=input.summary,
            )
        )

    @strawberry.mutation(
        description="Ask others to look at a draft. It must have no faults, and is not edited from"
        " then on.",
        permission_classes=_WRITERS,
    )
    async def submit_draft(
        self,
        info: Info,
        input: Annotated[SubmitDraftInput, strawberry.argument(description="Which.")],
    ) -> DraftResult:
        return _shown(
            await drafts.submit_draft(
                info.context.tenant_id,
                actor_of(info),
                draft_number(input.id),
                input.expected_revision,
            )
        )

    @strawberry.mutation(
        description="Take a draft out of review, to be edited again.", permission_classes=_WRITERS
    )
    async def withdraw_draft(
        self,
        info: Info,
        input: Annotated[EndDraftInput, strawberry.argument(description="Which, and why.")],
    ) -> DraftResult:
        return _shown(
            await drafts.withdraw_draft(
                info.context.tenant_id,
                actor_of(info),
                draft_number(input.id),
                input.expected_revision,
                reason=input.reason,
            )
        )

    @strawberry.mutation(
        description="Give a draft up. It can still be read.", permission_classes=_WRITERS
    )
    async def discard_draft(
        self,
        info: Info,
        input: Annotated[EndDraftInput, strawberry.argument(description="Which, and why.")],
    ) -> DraftResult:
        return _shown(
            await drafts.discard_draft(
                info.context.tenant_id,
                actor_of(info),
                draft_number(input.id),
                input.expected_revision,
                reason=input.reason,
            )
        )

    @strawberry.mutation(
        description="Make a draft the next version. An incompatible one takes a reason, the scope"
        " schema:approve and a key of another person than its authors, and the version before is"
        " accepted for a while too.",
        permission_classes=_WRITERS,
    )
    async def publish_draft(
        self,
        info: Info,
        input: Annotated[PublishDraftInput, strawberry.argument(description="Which, and how.")],
    ) -> PublishDraftResult:
        grace_until = _grace_until(input)
        if isinstance(grace_until, Invalid):
            return grace_until
        published = await publishing.publish_draft(
            info.context.tenant_id,
            actor_of(info),
            draft_number(input.id),
            input.expected_revision,
            reason=input.reason,
            grace_until=grace_until,
        )
        if isinstance(published, outcomes.Incompatible):
            return incompatible(published)
        if not isinstance(published, publishing.Published):
            return refused(published)
        return DraftPublished(
            version=EventTypeVersion.of(published.version),
            event_type=EventType.of(published.event_type),
        )


def _shown(
    outcome: HeldDraft | Expected,
) -> DraftSaved | Invalid | NotFound | NotPermitted | StaleRevision:
    if isinstance(outcome, HeldDraft):
        return DraftSaved(draft=Draft.of(outcome.draft))
    return refused(outcome)


async def _newest_document(info: Info, name: str) -> dict[str, Any]:
    entry = await find_event_type(info, name)
    if entry is None:
        return {}
    loaders = info.context.loaders.registry
    versions = await loaders.versions.load(entry.event_type_id)
    return await loaders.document.load(versions[0].version_id) if versions else {}


async def _document(
    document: Any, definitions: list[PropertyDefinitionInput] | None, base: dict[str, Any]
) -> Any:
    """What was given, in whichever form; Invalid when it was both or neither."""
    if (document is None) == (definitions is None):
        return invalid("", "one_of", "either document or definitions")
    if definitions is None:
        return document
    found = await beside_events(lint, base) if base else []
    if any(finding.severity == "error" for finding in found):
        return invalid("/definitions", "base_has_faults", "mend the document first, as a document")
    return document_from(definitions, base)


def _grace_until(input: PublishDraftInput) -> datetime | Invalid | None:
    if input.grace_days is not None and input.grace_until is not None:
        return invalid("", "one_of", "either graceDays or graceUntil")
    if input.grace_days is not None:
        if not 1 <= input.grace_days < MAX_GRACE_DAYS:
            return invalid("/graceDays", "range", f"must be 1 to {MAX_GRACE_DAYS - 1}")
        return clock.now() + timedelta(days=input.grace_days)
    if input.grace_until is not None and input.grace_until.tzinfo is None:
        return invalid("/graceUntil", "offset", "needs a UTC offset")
    return input.grace_until
