"""Audiences: how many people did or did not do something, before anything is built on them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import strawberry

from app import ids
from app.access.keys import Scope
from app.api.graphql.conditions import (
    ConditionInput,
    condition_of,
    exact,
    marking_call,
    not_ready_message,
    personal_message,
)
from app.api.graphql.connection import refuse_argument
from app.api.graphql.context import Info
from app.api.graphql.permissions import needs, require
from app.api.graphql.refusals import Invalid, NotPermitted, Problem, Refusal
from app.api.graphql.scalars import Number
from app.api.graphql.segments import SegmentState
from app.segments import conditions
from app.segments.asking import NeedsPersonalData, NotReady
from app.segments.audience import definition as audience
from app.segments.audience.preview import TooSlow, preview_audience
from app.segments.audience.queries import Audience

MAX_SAMPLE = 100


@strawberry.input(description="When it happened (occurredAt); what is left out is open.")
class OccurredInput:
    after: datetime | None = strawberry.field(default=None, description="Then or later.")
    before: datetime | None = strawberry.field(default=None, description="Earlier than that.")


@strawberry.input(description="How often a person did it.")
class TimesInput:
    at_least: int = strawberry.field(
        default=1, description="0 takes in who never did it; then give atMost."
    )
    at_most: int | None = strawberry.field(default=None, description="No more often than this.")


@strawberry.input(description="What a segmentable number adds up to, over a person's events.")
class SumInput:
    property: str = strawberry.field(description='JSON Pointer: "/amount".')
    at_least: Number | None = strawberry.field(default=None, description="This or more.")
    at_most: Number | None = strawberry.field(default=None, description="This or less.")


@strawberry.input(description="People who did something.")
class DidInput:
    event_type: str = strawberry.field(description="What they did: name of an event type.")
    where: list[ConditionInput] = strawberry.field(
        default_factory=list,
        description=f"Conditions that one event meets, all of them: up to"
        f" {conditions.MAX_CONDITIONS}.",
    )
    occurred: OccurredInput | None = strawberry.field(default=None, description="When.")
    times: TimesInput | None = strawberry.field(
        default=None, description="How often; left out: at least once."
    )
    sum: SumInput | None = strawberry.field(default=None, description="How much, all together.")


@strawberry.input(
    description="Whom an audience consists of: give exactly one. Nested up to"
    f" {audience.MAX_DEPTH} deep, with up to {audience.MAX_LEAVES} did."
)
class AudienceInput:
    all: list[AudienceInput] | None = strawberry.field(
        default=None, description="Who is in each of them."
    )
    any: list[AudienceInput] | None = strawberry.field(
        default=None, description="Who is in one of them."
    )
    not_: AudienceInput | None = strawberry.field(
        name="not", default=None, description="Who is not in it."
    )
    did: DidInput | None = strawberry.field(default=None, description="Who did something.")


@strawberry.type(description="An audience as it is now. Merged profiles count once.")
class AudiencePreview:
    profiles: Number = strawberry.field(description="How many people.")
    sample: list[strawberry.ID] = strawberry.field(description="Ids of some of them.")


@strawberry.type(description="A property that is asked about has no complete storage.")
class PropertyNotReady(Refusal):
    event_type: str = strawberry.field(description="Name of the event type.")
    property: str = strawberry.field(description="JSON Pointer of the property.")
    state: SegmentState | None = strawberry.field(description="Null: it is not marked.")
    mutation: str | None = strawberry.field(
        description="What to call to have it; null: it is on its way."
    )


@strawberry.type(description="It reads more than there is time for: narrow it down.")
class AudienceTooLarge(Refusal):
    pass


AudiencePreviewResult = Annotated[
    AudiencePreview | Invalid | NotPermitted | PropertyNotReady | AudienceTooLarge,
    strawberry.union("AudiencePreviewResult"),
]


@strawberry.type
class AudiencesQuery:
    @strawberry.field(
        description="How many people are in an audience, and some of them. Conditions on direct"
        " personal data take the scope pii:read.",
        permission_classes=[needs(Scope.STATS_READ)],
    )
    async def audience_preview(
        self,
        info: Info,
        definition: Annotated[AudienceInput, strawberry.argument(description="Whom.")],
        sample: Annotated[
            int,
            strawberry.argument(
                description=f"Ids to answer: 0 to {MAX_SAMPLE}; any take the scope profiles:read."
            ),
        ] = 0,
    ) -> AudiencePreviewResult:
        if not 0 <= sample <= MAX_SAMPLE:
            raise refuse_argument(f"sample must be 0 to {MAX_SAMPLE}")
        if sample:
            require(info, Scope.PROFILES_READ)
        problems: list[conditions.Problem] = []
        asked = _definition("", definition, problems)
        if problems:
            return _invalid(problems)
        found = await preview_audience(
            info.context.pool,
            info.context.tenant_id,
            asked,
            sample,
            may_read_personal_data=info.context.principal.may(Scope.PII_READ),
        )
        match found:
            case Audience():
                return AudiencePreview(
                    profiles=Number(found.profiles),
                    sample=[
                        strawberry.ID(ids.encode(ids.PROFILE_PREFIX, profile_id))
                        for profile_id in found.sample
                    ],
                )
            case NotReady():
                return _not_ready(found)
            case NeedsPersonalData():
                return NotPermitted(message=personal_message(found), reason="scope_missing")
            case TooSlow():
                seconds = info.context.settings.graphql_statement_seconds
                message = (
                    f"it takes longer than {seconds:g} s: add a selective condition, or a window"
                    " of time"
                )
                return AudienceTooLarge(message=message)
            case _:
                return _invalid(found)


def _definition(
    at: str, given: AudienceInput, problems: list[conditions.Problem], depth: int = 1
) -> audience.Definition:
    """Problems are added to the list; with any, what is returned means nothing."""
    parts = {"all": given.all, "any": given.any, "not": given.not_, "did": given.did}
    said = [name for name, part in parts.items() if part is not None]
    if len(said) != 1:
        message = "give exactly one of all, any, not and did"
        problems.append(conditions.Problem(at, "definition_shape", message))
    elif depth > audience.MAX_DEPTH:
        message = f"all, any and not: {audience.MAX_DEPTH} levels at most"
        problems.append(conditions.Problem(at, "too_deep", message))
    elif given.did is not None:
        return _did(given.did)
    elif given.not_ is not None:
        return audience.Without(_definition(f"{at}/not", given.not_, problems, depth + 1))
    else:
        kind = audience.Every if given.all is not None else audience.Either
        return kind(
            [
                _definition(f"{at}/{said[0]}/{i}", child, problems, depth + 1)
                for i, child in enumerate(given.all or given.any or ())
            ]
        )
    return audience.Every(())


def _did(given: DidInput) -> audience.Did:
    occurred, times, total = given.occurred, given.times, given.sum
    return audience.Did(
        event_type=given.event_type,
        where=[condition_of(condition) for condition in given.where],
        after=occurred.after if occurred else None,
        before=occurred.before if occurred else None,
        at_least=times.at_least if times else 1,
        at_most=times.at_most if times else None,
        total=audience.Total(total.property, _decimal(total.at_least), _decimal(total.at_most))
        if total
        else None,
    )


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(exact(value))


def _invalid(problems: Any) -> Invalid:
    return Invalid(
        message=problems[0].message,
        problems=[Problem(path=p.path, rule=p.rule, message=p.message) for p in problems],
    )


def _not_ready(found: NotReady) -> PropertyNotReady:
    return PropertyNotReady(
        message=not_ready_message(found),
        event_type=found.event_type,
        property=found.path,
        state=None if found.state is None else SegmentState(found.state),
        mutation=marking_call(found) if found.state is None else None,
    )
