"""What is asked of drafts, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from app.api.graphql.definitions import PropertyDefinitionInput
from app.api.graphql.refusals import Invalid, NotFound, NotPermitted, StaleRevision
from app.api.graphql.registry_outcomes import CompatibilityReport, Incompatible
from app.api.graphql.registry_types import Draft, EventType, EventTypeVersion
from app.registry.governance.publishing import DEFAULT_GRACE, MAX_GRACE

MAX_GRACE_DAYS = MAX_GRACE.days
_REVISION = "The revision that the decision was made on; another one is refused."
_DOCUMENT = "A JSON Schema of an event's properties. Either this or `definitions`."
_DEFINITIONS = (
    "Its properties. Whatever else the document says is taken from the one that is edited, or from"
    " the newest version. Either this or `document`."
)


@strawberry.input(description="What is proposed.")
class CreateDraftInput:
    event_type: str = strawberry.field(description="The event type that it is for.")
    document: JSON | None = strawberry.field(default=None, description=_DOCUMENT)
    definitions: list[PropertyDefinitionInput] | None = strawberry.field(
        default=None, description=_DEFINITIONS
    )
    summary: str | None = strawberry.field(default=None, description="What it is for, in words.")


@strawberry.input(description="Another document in place of the draft's.")
class EditDraftInput:
    id: strawberry.ID = strawberry.field(description="The draft.")
    expected_revision: int = strawberry.field(description=_REVISION)
    document: JSON | None = strawberry.field(default=None, description=_DOCUMENT)
    definitions: list[PropertyDefinitionInput] | None = strawberry.field(
        default=None, description=_DEFINITIONS
    )
    summary: str | None = strawberry.field(
        default=None, description="What it is for, in words; null: as it was."
    )


@strawberry.input(description="A draft, as it was when the decision was made.")
class SubmitDraftInput:
    id: strawberry.ID = strawberry.field(description="The draft.")
    expected_revision: int = strawberry.field(description=_REVISION)


@strawberry.input(description="A draft, as it was when the decision was made, and why.")
class EndDraftInput:
    id: strawberry.ID = strawberry.field(description="The draft.")
    expected_revision: int = strawberry.field(description=_REVISION)
    reason: str | None = strawberry.field(default=None, description="For the audit trail.")


@strawberry.input(description="Which draft to publish, and what becomes of the version before.")
class PublishDraftInput:
    id: strawberry.ID = strawberry.field(description="The draft.")
    expected_revision: int = strawberry.field(description=_REVISION)
    reason: str | None = strawberry.field(
        default=None, description="Why; an incompatible version needs one."
    )
    grace_days: int | None = strawberry.field(
        default=None,
        description="How long the version before is accepted too. Without either:"
        f" {DEFAULT_GRACE.days} days after an incompatible version, else not at all.",
    )
    grace_until: datetime | None = strawberry.field(
        default=None, description="The same as an instant, with its offset."
    )


@strawberry.input(description="A draft, or an event type and a document.")
class CheckCompatibilityInput:
    draft_id: strawberry.ID | None = strawberry.field(default=None, description="The draft.")
    event_type: str | None = strawberry.field(
        default=None, description="Without a draft: the event type."
    )
    document: JSON | None = strawberry.field(
        default=None, description="Without a draft: the document."
    )


@strawberry.type(description="The draft was written or moved on.")
class DraftSaved:
    draft: Draft = strawberry.field(description="The draft as it is now.")


@strawberry.type(description="It is the newest version; every worker judges by it within a second.")
class DraftPublished:
    version: EventTypeVersion = strawberry.field(description="The version that it became.")
    event_type: EventType = strawberry.field(description="Its event type as it is now.")


DraftResult = Annotated[
    DraftSaved | Invalid | NotFound | NotPermitted | StaleRevision,
    strawberry.union("DraftResult", description="The draft, or why nothing was done."),
]
PublishDraftResult = Annotated[
    DraftPublished | Incompatible | Invalid | NotFound | NotPermitted | StaleRevision,
    strawberry.union("PublishDraftResult", description="The version, or why there is none."),
]
CheckCompatibilityResult = Annotated[
    CompatibilityReport | Invalid | NotFound,
    strawberry.union("CheckCompatibilityResult", description="The report, or why there is none."),
]
