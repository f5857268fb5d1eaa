"""Whether a document may follow the versions there are. Changes nothing, permits nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app.db.pool import Connection
from app.process import beside_events
from app.registry.evolution import compatibility_findings
from app.registry.governance import queries
from app.registry.governance.drafts import draft_findings
from app.registry.governance.outcomes import NO_EVENT_TYPE, NotFound, VersionBreakage
from app.registry.governance.queries import EventTypeRow, HistoricVersion
from app.registry.plan import held_against
from app.registry.spec import Finding, is_event_type_name


class Verdict(msgspec.Struct, frozen=True):
    """Whether a document may follow the versions there are."""

    mode: str
    findings: Sequence[Finding]
    """What lint says; with an error among them compatibility is not judged."""
    breakages: Sequence[VersionBreakage]

    @property
    def is_sound(self) -> bool:
        return all(finding.severity != "error" for finding in self.findings)

    @property
    def is_compatible(self) -> bool:
        return self.is_sound and not self.breakages


async def breakages_of(
    mode: str, history: Sequence[HistoricVersion], document: Mapping[str, Any]
) -> list[VersionBreakage]:
    """Every breakage, with the version it breaks with.

    history   oldest first
    document  passed lint
    cost      some milliseconds a version, beside events
    """
    followed = held_against(history)
    documents = [earlier for _, earlier in followed]
    found = await beside_events(compatibility_findings, mode, documents, document)
    return [VersionBreakage(followed[index][0], breakage) for index, breakage in found]


async def judge_document(
    entry: EventTypeRow, history: Sequence[HistoricVersion], document: Any
) -> Verdict:
    findings = await beside_events(draft_findings, document, entry.settings)
    if any(finding.severity == "error" for finding in findings):
        return Verdict(entry.compatibility, findings, ())
    breakages = await breakages_of(entry.compatibility, history, document)
    return Verdict(entry.compatibility, findings, breakages)


async def check_compatibility(
    connection: Connection, tenant_id: int, name: str, document: Any
) -> Verdict | NotFound:
    """What publishing a document would break. Changes nothing.

    document  any JSON value; what is wrong with it is among the findings
    """
    entry = (
        await queries.read_event_type(connection, tenant_id, name)
        if is_event_type_name(name)
        else None
    )
    if entry is None:
        return NO_EVENT_TYPE
    history = await queries.read_history(connection, tenant_id, [entry.event_type_id])
    return await judge_document(entry, history.get(entry.event_type_id, []), document)
