"""Drafts of versions: written, shown to others, withdrawn, discarded. They take no number.

A draft may have faults while it is worked on; it can be submitted once it has none. Never
publishes: `publishing` does.
"""

from __future__ import annotations

from typing import Any

import msgspec

from app.db.audit import record_change
from app.db.pool import Connection
from app.db.transaction import transaction
from app.process import beside_events
from app.registry.governance import queries
from app.registry.governance.outcomes import (
    MAX_REASON_CHARS,
    NO_DRAFT,
    NO_EVENT_TYPE,
    Actor,
    Invalid,
    NotFound,
    NotPermitted,
    Stale,
    text_findings,
)
from app.registry.governance.queries import DraftRow, EventTypeRow
from app.registry.linter import lint
from app.registry.queries import lock_registry
from app.registry.spec import Finding, is_event_type_name
from app.registry.type_settings import TypeSettings, differing_settings

MAX_OPEN_DRAFTS = 50
"""Of one event type."""

_NOT_KEPT = frozenset({"text_not_storable", "number_out_of_range", "document_too_large"})
"""Findings of a document that cannot even be put aside."""


class HeldDraft(msgspec.Struct, frozen=True):
    """A draft and its event type."""

    draft: DraftRow
    event_type: EventTypeRow

    @property
    def subject(self) -> str:
        return f"{self.event_type.name}/draft/{self.draft.draft_id}"


def draft_findings(document: Any, settings: TypeSettings) -> list[Finding]:
    """What is wrong with a draft's document; it can be published when no finding is an error.

    settings  of its event type
    """
    said = differing_settings(document, settings) if isinstance(document, dict) else []
    return [*lint(document), *said]


async def create_draft(
    tenant_id: int, actor: Actor, name: str, document: Any, summary: str | None
) -> HeldDraft | NotFound | Invalid | NotPermitted:
    """summary: what it is for, in words."""
    found = await beside_events(_unkeepable, document)
    if found := found + text_findings("/summary", summary, MAX_REASON_CHARS):
        return Invalid(found)
    async with transaction() as connection:
        await lock_registry(connection, tenant_id)
        entry = (
            await queries.read_event_type(connection, tenant_id, name)
            if is_event_type_name(name)
            else None
        )
        if entry is None:
            return NO_EVENT_TYPE
        open_drafts = await queries.count_open_drafts(connection, tenant_id, entry.event_type_id)
        if open_drafts >= MAX_OPEN_DRAFTS:
            return NotPermitted(
                "too_many_drafts", f"{open_drafts} are open: publish or discard one first"
            )
        draft_id = await queries.insert_draft(
            tenant_id,
            entry.event_type_id,
            document=document,
            summary=summary,
            based_on=await newest_version(connection, tenant_id, entry),
            author=actor.public_id,
        )
        created = await _read(connection, tenant_id, draft_id)
        await record_change(
            tenant_id,
            actor=actor.public_id,
            action="draft_created",
            subject=created.subject,
            reason=summary,
            after=document,
        )
        return created


async def edit_draft(
    tenant_id: int,
    actor: Actor,
    draft_id: int,
    expected_revision: int,
    *,
    document: Any,
    summary: str | None,
) -> HeldDraft | NotFound | Stale | Invalid | NotPermitted:
    """Replace its document. Whoever edits it becomes one of its authors."""
    found = await beside_events(_unkeepable, document)
    if found := found + text_findings("/summary", summary, MAX_REASON_CHARS):
        return Invalid(found)
    async with transaction() as connection:
        held = await hold_draft(connection, tenant_id, draft_id, expected_revision)
        if not isinstance(held, HeldDraft):
            return held
        if held.draft.state != "DRAFT":
            return _not_in("DRAFT", held.draft)
        authors = held.draft.authors
        if actor.public_id not in authors:
            authors = [*authors, actor.public_id]
        based_on = await newest_version(connection, tenant_id, held.event_type)
        await queries.update_draft(
            tenant_id,
            draft_id,
            {
                "document": document,
                "summary": summary if summary is not None else held.draft.summary,
                "authors": authors,
                "based_on": based_on,
            },
        )
        await record_change(
            tenant_id,
            actor=actor.public_id,
            action="draft_edited",
            subject=held.subject,
            reason=summary,
            before=held.draft.document,
            after=document,
        )
        return await _read(connection, tenant_id, draft_id)


async def submit_draft(
    tenant_id: int, actor: Actor, draft_id: int, expected_revision: int
) -> HeldDraft | NotFound | Stale | Invalid | NotPermitted:
    """Ask others to look at it. From then on it is not edited any more."""
    async with transaction() as connection:
        seen = await find_draft(connection, tenant_id, draft_id)
    if seen is None:
        return NO_DRAFT
    if seen.draft.revision != expected_revision:
        return Stale(seen.draft.revision)
    found = await beside_events(draft_findings, seen.draft.document, seen.event_type.settings)
    async with transaction() as connection:
        held = await hold_draft(connection, tenant_id, draft_id, expected_revision)
        if not isinstance(held, HeldDraft):
            return held
        if held.draft.state != "DRAFT":
            return _not_in("DRAFT", held.draft)
        if any(finding.severity == "error" for finding in found):
            return Invalid(found)
        return await _move(connection, tenant_id, actor, held, "IN_REVIEW", "draft_submitted", None)


async def withdraw_draft(
    tenant_id: int, actor: Actor, draft_id: int, expected_revision: int, *, reason: str | None
) -> HeldDraft | NotFound | Stale | Invalid | NotPermitted:
    """Out of review, to be edited again; the reviewer's reason is kept in the audit trail."""
    if found := text_findings("/reason", reason, MAX_REASON_CHARS):
        return Invalid(found)
    async with transaction() as connection:
        held = await hold_draft(connection, tenant_id, draft_id, expected_revision)
        if not isinstance(held, HeldDraft):
            return held
        if held.draft.state != "IN_REVIEW":
            return _not_in("IN_REVIEW", held.draft)
        return await _move(connection, tenant_id, actor, held, "DRAFT", "draft_withdrawn", reason)


async def discard_draft(
    tenant_id: int, actor: Actor, draft_id: int, expected_revision: int, *, reason: str | None
) -> HeldDraft | NotFound | Stale | Invalid | NotPermitted:
    """It will never be published. It can still be read."""
    if found := text_findings("/reason", reason, MAX_REASON_CHARS):
        return Invalid(found)
    async with transaction() as connection:
        held = await hold_draft(connection, tenant_id, draft_id, expected_revision)
        if not isinstance(held, HeldDraft):
            return held
        if not is_open(held.draft):
            return _not_in("DRAFT or IN_REVIEW", held.draft)
        return await _move(
            connection, tenant_id, actor, held, "DISCARDED", "draft_discarded", reason
        )


async def hold_draft(
    connection: Connection, tenant_id: int, draft_id: int, expected_revision: int
) -> HeldDraft | NotFound | Stale:
    """Both locked against every other change until the transaction ends."""
    await lock_registry(connection, tenant_id)
    held = await find_draft(connection, tenant_id, draft_id)
    if held is None:
        return NO_DRAFT
    revision = held.draft.revision
    return held if revision == expected_revision else Stale(revision)


def is_open(draft: DraftRow) -> bool:
    return draft.state in ("DRAFT", "IN_REVIEW")


async def newest_version(connection: Connection, tenant_id: int, entry: EventTypeRow) -> int:
    """Its number; 0 while there is none."""
    versions = await queries.read_versions_of(connection, tenant_id, [entry.event_type_id])
    return versions[entry.event_type_id][0].version if versions else 0


async def find_draft(connection: Connection, tenant_id: int, draft_id: int) -> HeldDraft | None:
    """Both as they are; locked only if the caller has done so."""
    draft = await queries.read_draft(connection, tenant_id, draft_id)
    if draft is None:
        return None
    types = await queries.read_event_types(connection, tenant_id, [draft.event_type_id])
    return HeldDraft(draft, types[draft.event_type_id])


async def _read(connection: Connection, tenant_id: int, draft_id: int) -> HeldDraft:
    found = await find_draft(connection, tenant_id, draft_id)
    assert found is not None
    return found


async def _move(
    connection: Connection,
    tenant_id: int,
    actor: Actor,
    held: HeldDraft,
    state: str,
    action: str,
    reason: str | None,
) -> HeldDraft:
    await queries.update_draft(tenant_id, held.draft.draft_id, {"state": state})
    await record_change(
        tenant_id,
        actor=actor.public_id,
        action=action,
        subject=held.subject,
        reason=reason,
        before={"state": held.draft.state},
        after={"state": state},
    )
    return await _read(connection, tenant_id, held.draft.draft_id)


def _not_in(needed: str, draft: DraftRow) -> NotPermitted:
    return NotPermitted("draft_state", f"it is {draft.state}; that is for one that is {needed}")


def _unkeepable(document: Any) -> list[Finding]:
    if not isinstance(document, dict):
        return [Finding("/document", "schema_not_object", "a document is a JSON object")]
    return [
        msgspec.structs.replace(finding, path=f"/document{finding.path}")
        for finding in lint(document)
        if finding.rule in _NOT_KEPT or (finding.rule == "too_deep" and finding.path == "")
    ]
