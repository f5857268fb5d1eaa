"""Puts a draft aside that would accept what was rejected, for people to finish.

Never publishes, and repeats no value that was sent: what it proposes are names and types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app.db.pool import Connection, Lender
from app.ingest.decode import decode_event
from app.ingest.event import Decoded
from app.process import beside_events
from app.proposals import queries
from app.registry.extension import extend
from app.registry.governance.drafts import HeldDraft, create_draft
from app.registry.governance.event_types import Created, create_event_type
from app.registry.governance.outcomes import Actor, Invalid, NotFound, NotPermitted
from app.registry.governance.queries import EventTypeRow, read_event_type, read_history
from app.registry.inference import infer
from app.registry.linter import lint_event_type
from app.registry.spec import Finding, is_event_type_name
from app.registry.type_settings import TypeSettings

NOTHING = NotPermitted(
    "nothing_to_propose", "no event in quarantine was refused for what a draft could mend"
)


class Evidence(msgspec.Struct, frozen=True):
    """What the service knows of an event type's unknown events and properties."""

    event_type: EventTypeRow | None
    """None while nobody has registered it."""
    newest: dict[str, Any] | None
    """Its newest document."""
    payloads: Sequence[bytes]
    stripped: Mapping[str, int]


class Proposed(msgspec.Struct, frozen=True):
    held: HeldDraft
    samples: int
    """Rejected events that it was made from."""
    stripped: int
    """Names that were left out of accepted events."""
    warnings: Sequence[Finding]
    """Of the event type's name, when the type was created for the draft."""


async def propose_draft(
    pool: Lender, tenant_id: int, actor: Actor, name: str
) -> Proposed | NotFound | Invalid | NotPermitted:
    """For an event type that is not registered, or the properties that a registered one lacks.

    The type is created if need be: without a version its events are still refused.
    cost  one scan of its newest items in quarantine; inference runs in a thread, so that events do
          not wait for it
    """
    if not is_event_type_name(name):
        return Invalid(_of_the_name(lint_event_type(name, ())))
    async with pool.acquire() as connection:
        evidence = await _read_evidence(connection, tenant_id, name)
    samples = await beside_events(_properties_of, evidence.payloads)
    if not samples and not evidence.stripped:
        return NOTHING
    document = await beside_events(_document, evidence, samples)
    if document == evidence.newest:
        return NOTHING
    warnings: Sequence[Finding] = ()
    if evidence.event_type is None:
        created = await create_event_type(tenant_id, actor, name, TypeSettings())
        if not isinstance(created, Created):
            return Invalid(_of_the_name(created.findings))
        warnings = _of_the_name(created.warnings)
    held = await create_draft(tenant_id, actor, name, document, _summary(samples, evidence))
    if not isinstance(held, HeldDraft):
        return held
    return Proposed(held, len(samples), len(evidence.stripped), warnings)


async def _read_evidence(connection: Connection, tenant_id: int, name: str) -> Evidence:
    entry = await read_event_type(connection, tenant_id, name)
    history = []
    if entry is not None:
        histories = await read_history(connection, tenant_id, [entry.event_type_id])
        history = histories.get(entry.event_type_id, [])
    if entry is None or not history:
        reason = "event_type_unregistered"
        payloads = await queries.read_rejected(connection, tenant_id, name, reason)
        return Evidence(entry, None, payloads, {})
    payloads = await queries.read_rejected(connection, tenant_id, name, "property_unknown")
    stripped = await queries.read_stripped(connection, tenant_id, entry.event_type_id)
    return Evidence(entry, history[-1].document, payloads, stripped)


def _of_the_name(findings: Sequence[Finding]) -> list[Finding]:
    return [msgspec.structs.replace(finding, path="/eventType") for finding in findings]


def _properties_of(payloads: Sequence[bytes]) -> list[dict[str, Any]]:
    """Of those that are events at all."""
    decoded = [decode_event(payload) for payload in payloads]
    return [item.properties for item in decoded if isinstance(item, Decoded)]


def _document(evidence: Evidence, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if evidence.newest is None:
        return infer(samples)
    return extend(evidence.newest, samples, evidence.stripped)


def _summary(samples: Sequence[object], evidence: Evidence) -> str:
    return (
        f"Proposed from what was rejected (events: {len(samples)};"
        f" names left out: {len(evidence.stripped)})."
    )
