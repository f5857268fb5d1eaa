"""Drafts that the service proposes, from what it had to reject. Changes nothing but drafts."""

from __future__ import annotations

from typing import Annotated

import strawberry

from app.access.keys import Scope
from app.api.graphql.context import Info
from app.api.graphql.permissions import needs
from app.api.graphql.refusals import Invalid, NotFound, NotPermitted, StaleRevision
from app.api.graphql.registry_outcomes import Finding, actor_of, refused, shown_findings
from app.api.graphql.registry_types import Draft
from app.proposals import service
from app.proposals.queries import MAX_SAMPLES


@strawberry.type(description="A draft for people to finish: names and types, and no value.")
class DraftProposed:
    draft: Draft = strawberry.field(
        description="The draft. A property's comment says in how many events it was."
    )
    samples: int = strawberry.field(description="Rejected events that it was made from.")
    stripped_names: int = strawberry.field(
        description="Properties that were left out of accepted events. Their values are gone, so"
        " they are proposed without a type."
    )
    warnings: list[Finding] = strawberry.field(
        description="Of the name, when the event type was created for the draft."
    )


ProposeDraftResult = Annotated[
    DraftProposed | Invalid | NotFound | NotPermitted, strawberry.union("ProposeDraftResult")
]


@strawberry.type
class ProposalsMutation:
    @strawberry.mutation(
        description="Make a draft that accepts what was rejected: for an event type that nobody"
        " has registered, or with the properties that a registered one does not know. Looks at the"
        f" newest events in quarantine, {MAX_SAMPLES} at most. A type that is not registered is"
        " created without a version, so its events are refused until one is published.",
        permission_classes=[needs(Scope.SCHEMA_WRITE)],
    )
    async def propose_draft(
        self,
        info: Info,
        event_type: Annotated[
            str, strawberry.argument(description="Its name, as the rejected events say it.")
        ],
    ) -> ProposeDraftResult:
        context = info.context
        outcome = await service.propose_draft(
            context.pool, context.tenant_id, actor_of(info), event_type
        )
        if isinstance(outcome, service.Proposed):
            return DraftProposed(
                draft=Draft.of(outcome.held.draft),
                samples=outcome.samples,
                stripped_names=outcome.stripped,
                warnings=shown_findings(outcome.warnings),
            )
        refusal = refused(outcome)
        assert not isinstance(refusal, StaleRevision)
        return refusal
