"""Findings, breakages and refusals of the registry, as callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import strawberry
from strawberry.scalars import JSON

from app.access.keys import Scope
from app.api.graphql.context import Info
from app.api.graphql.refusals import (
    Invalid,
    NotFound,
    NotPermitted,
    Problem,
    Refusal,
    StaleRevision,
)
from app.registry import spec
from app.registry.governance import checking, outcomes
from app.registry.governance.outcomes import Actor

_ALL = "all versions since the last one that was forced"


@strawberry.enum(description="What a new version of an event type is held against.")
class Compatibility(Enum):
    NONE = strawberry.enum_value("NONE", description="Nothing.")
    BACKWARD = strawberry.enum_value(
        "BACKWARD", description="What the version before accepts stays valid."
    )
    BACKWARD_TRANSITIVE = strawberry.enum_value(
        "BACKWARD_TRANSITIVE", description=f"What {_ALL} accept stays valid. The default."
    )
    FORWARD = strawberry.enum_value(
        "FORWARD", description="The version before accepts what the new one accepts."
    )
    FORWARD_TRANSITIVE = strawberry.enum_value("FORWARD_TRANSITIVE", description=f"So do {_ALL}.")
    FULL = strawberry.enum_value("FULL", description="BACKWARD and FORWARD.")
    FULL_TRANSITIVE = strawberry.enum_value(
        "FULL_TRANSITIVE", description="BACKWARD_TRANSITIVE and FORWARD_TRANSITIVE."
    )


@strawberry.enum(description="Whether a finding keeps a document from being published.")
class Severity(Enum):
    ERROR = strawberry.enum_value("error", description="It does.")
    WARNING = strawberry.enum_value("warning", description="It does not; think about it.")


@strawberry.type(description="Something that is wrong with a document.")
class Finding:
    path: str = strawberry.field(description="JSON Pointer into the document.")
    rule: str = strawberry.field(description="Stable name of the rule.")
    message: str = strawberry.field(description="One sentence for people.")
    severity: Severity = strawberry.field(description="Whether it has to be mended.")


@strawberry.type(description="One reason why a document cannot simply follow a version.")
class Breakage:
    version: int = strawberry.field(description="The version that it breaks with.")
    path: str = strawberry.field(
        description='Where: "/amount", "/line_items/*/sku" (* is every item); "" is the whole.'
    )
    rule: str = strawberry.field(description="Stable name of the rule that is broken.")
    old: JSON | None = strawberry.field(description="What the version says there; null: nothing.")
    new: JSON | None = strawberry.field(description="What the document says there; null: nothing.")
    message: str = strawberry.field(description="What was accepted and would not be any more.")
    mend: str = strawberry.field(description="What would mend it.")


@strawberry.type(description="Whether a document may follow the versions of an event type.")
class CompatibilityReport:
    mode: Compatibility = strawberry.field(
        description="What it was held against: the event type's compatibility."
    )
    compatible: bool = strawberry.field(
        description="It has no faults and breaks nothing: whoever may write schemas may publish it."
    )
    findings: list[Finding] = strawberry.field(
        description="What is wrong with it by itself. With an error among them breakages are not"
        " looked for."
    )
    breakages: list[Breakage] = strawberry.field(description="Everything that it would break.")


@strawberry.type(
    description="It breaks with earlier versions. To publish it nevertheless takes a reason, the"
    " scope schema:approve, and a key of another person than its authors."
)
class Incompatible(Refusal):
    breakages: list[Breakage] = strawberry.field(description="Everything that it would break.")


def actor_of(info: Info) -> Actor:
    principal = info.context.principal
    return Actor(principal.public_id, principal.may(Scope.SCHEMA_APPROVE))


def shown_findings(findings: Sequence[spec.Finding]) -> list[Finding]:
    return [
        Finding(path=f.path, rule=f.rule, message=f.message, severity=Severity(f.severity))
        for f in findings
    ]


def shown_breakages(found: Sequence[outcomes.VersionBreakage]) -> list[Breakage]:
    return [
        Breakage(
            version=entry.version,
            path=entry.breakage.path,
            rule=entry.breakage.rule,
            old=entry.breakage.old,
            new=entry.breakage.new,
            message=entry.breakage.message,
            mend=entry.breakage.mend,
        )
        for entry in found
    ]


def shown_report(verdict: checking.Verdict) -> CompatibilityReport:
    return CompatibilityReport(
        mode=Compatibility(verdict.mode),
        compatible=verdict.is_compatible,
        findings=shown_findings(verdict.findings),
        breakages=shown_breakages(verdict.breakages),
    )


Expected = outcomes.NotFound | outcomes.Stale | outcomes.Invalid | outcomes.NotPermitted


def refused(outcome: Expected) -> NotFound | StaleRevision | Invalid | NotPermitted:
    match outcome:
        case outcomes.NotFound():
            return NotFound(message=outcome.message)
        case outcomes.Stale():
            return StaleRevision(
                message="it was changed since you read it: read it again",
                current_revision=outcome.current_revision,
            )
        case outcomes.Invalid():
            return invalid_findings(outcome)
        case outcomes.NotPermitted():
            return NotPermitted(message=outcome.message, reason=outcome.reason)


def invalid_findings(outcome: outcomes.Invalid) -> Invalid:
    """Errors only: warnings keep nobody from anything."""
    errors = [finding for finding in outcome.findings if finding.severity == "error"]
    return Invalid(
        message=errors[0].message,
        problems=[Problem(path=f.path, rule=f.rule, message=f.message) for f in errors],
    )


def incompatible(outcome: outcomes.Incompatible) -> Incompatible:
    return Incompatible(
        message="it breaks with earlier versions: mend it, or give a reason to publish it"
        " nevertheless",
        breakages=shown_breakages(outcome.breakages),
    )
