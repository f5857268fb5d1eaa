"""From draft to version: what it would break, who may publish it, and what becomes of the old one.

A version that breaks nothing is published by whoever may write schemas. One that breaks something
takes a reason, an approver who is none of its authors, and a grace window in which the version
before it is accepted too. Versions never change once they are published.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app import clock
from app.db.audit import record_change
from app.db.pool import Connection
from app.db.transaction import transaction
from app.registry.files import checksum
from app.registry.governance import queries
from app.registry.governance.checking import Verdict, breakages_of, judge_document
from app.registry.governance.drafts import (
    HeldDraft,
    find_draft,
    hold_draft,
    is_open,
)
from app.registry.governance.outcomes import (
    NEEDS_APPROVER,
    NO_DRAFT,
    Actor,
    Incompatible,
    Invalid,
    NotFound,
    NotPermitted,
    Stale,
    reason_findings,
    same_holders,
)
from app.registry.governance.queries import EventTypeRow, HistoricVersion, VersionRow
from app.registry.modes import mode_before, promises_less
from app.registry.queries import insert_version, raise_registry_revision, set_grace
from app.registry.segmentable import mark_published, surplus_marks, unmarked_personal_data
from app.registry.spec import Finding
from app.registry.type_settings import TypeSettings, completed, with_settings
from app.segments.marks import MAX_MARKS

DEFAULT_GRACE = timedelta(days=14)
MAX_GRACE = timedelta(days=366)


class _Considered(msgspec.Struct, frozen=True):
    """True of the draft as long as its revision stays: all that decides on it raises it."""

    document: Mapping[str, Any]
    """As it would be published: with the settings of its event type."""
    settings: TypeSettings
    """Those of its event type, and what only the document says."""
    newest: HistoricVersion | None
    """The version before."""
    verdict: Verdict
    authors: Collection[str]
    """Of the draft: their keys, and those rotated from or to one."""
    excused: bool
    """It breaks only what its authors themselves have ceased to promise."""


class Published(msgspec.Struct, frozen=True):
    event_type: EventTypeRow
    version: VersionRow


async def publish_draft(
    tenant_id: int,
    actor: Actor,
    draft_id: int,
    expected_revision: int,
    *,
    reason: str | None,
    grace_until: datetime | None,
) -> Published | NotFound | Stale | Invalid | NotPermitted | Incompatible:
    """Make a draft the next version; every worker judges by it within a second.

    grace_until  until when the version before is accepted too; None: DEFAULT_GRACE after an
                 incompatible version, no grace after a compatible one
    """
    if found := _argument_findings(reason, grace_until):
        return Invalid(found)
    considered = await _consider(tenant_id, draft_id, expected_revision)
    if not isinstance(considered, _Considered):
        return considered
    async with transaction() as connection:
        held = await hold_draft(connection, tenant_id, draft_id, expected_revision)
        if not isinstance(held, HeldDraft):
            return held
        refusal = (
            _not_publishable(held, considered)
            or _nothing_changed(considered)
            or await _too_many_marks(connection, tenant_id, held, considered)
            or await _not_permitted(connection, tenant_id, actor, held, considered, reason)
        )
        if refusal is not None:
            return refusal
        if considered.verdict.breakages:
            grace_until = grace_until or clock.now() + DEFAULT_GRACE
        return await _publish(
            connection, tenant_id, actor, held, considered, reason=reason, grace_until=grace_until
        )


async def _consider(
    tenant_id: int, draft_id: int, expected_revision: int
) -> _Considered | NotFound | Stale:
    """Judge a draft before the registry is locked: a second of work must not hold up others."""
    async with transaction() as connection:
        held = await find_draft(connection, tenant_id, draft_id)
        if held is None:
            return NO_DRAFT
        if held.draft.revision != expected_revision:
            return Stale(held.draft.revision)
        entry = held.event_type
        histories = await queries.read_history(connection, tenant_id, [entry.event_type_id])
        replacements = await queries.read_key_replacements(connection, tenant_id)
        changes = await queries.read_compatibility_changes(connection, tenant_id, entry.name)
    history = histories.get(entry.event_type_id, [])
    settings = completed(entry.settings, held.draft.document)
    document = with_settings(held.draft.document, settings)
    verdict = await judge_document(entry, history, document)
    authors = same_holders(held.draft.authors, replacements)
    mode = mode_before(entry.compatibility, changes, authors)
    excused = (
        verdict.is_compatible
        and promises_less(mode, entry.compatibility)
        and bool(await breakages_of(mode, history, document))
    )
    newest = history[-1] if history else None
    return _Considered(document, settings, newest, verdict, authors, excused)


def _argument_findings(reason: str | None, grace_until: datetime | None) -> list[Finding]:
    found = [] if reason is None else reason_findings("/reason", reason)
    if grace_until is not None and not (timedelta(0) < grace_until - clock.now() <= MAX_GRACE):
        message = f"grace ends ahead of now, within {MAX_GRACE.days} days"
        found.append(Finding("/graceUntil", "grace_range", message))
    return found


def _not_publishable(held: HeldDraft, considered: _Considered) -> NotPermitted | Invalid | None:
    if not is_open(held.draft):
        return NotPermitted("draft_state", f"it is {held.draft.state}")
    if held.event_type.status == "RETIRED":
        return NotPermitted("event_type_retired", "its event type is retired: restore it first")
    if not considered.verdict.is_sound:
        return Invalid(considered.verdict.findings)
    return None


def _nothing_changed(considered: _Considered) -> NotPermitted | None:
    newest = considered.newest
    if newest is None or checksum(newest.document) != checksum(considered.document):
        return None
    return NotPermitted("nothing_changed", f"version {newest.version} says the same")


async def _too_many_marks(
    connection: Connection, tenant_id: int, held: HeldDraft, considered: _Considered
) -> Invalid | None:
    event_type_id = held.event_type.event_type_id
    surplus = await surplus_marks(connection, tenant_id, event_type_id, considered.document)
    if not surplus:
        return None
    message = f"{MAX_MARKS} marked properties at most: unmark {surplus} first"
    return Invalid([Finding("/properties", "too_many_marks", message)])


async def _not_permitted(
    connection: Connection,
    tenant_id: int,
    actor: Actor,
    held: HeldDraft,
    considered: _Considered,
    reason: str | None,
) -> NotPermitted | Incompatible | None:
    """What this key, or this reason, is not enough for.

    Four eyes: whoever forces a version has a key that is none of its authors', nor rotated from or
    to one. Who ceased to promise what it breaks has not been a second person.
    """
    breakages = considered.verdict.breakages
    if breakages and reason is None:
        return Incompatible(breakages)
    event_type_id = held.event_type.event_type_id
    if not actor.may_approve and (
        breakages
        or await unmarked_personal_data(connection, tenant_id, event_type_id, considered.document)
    ):
        return NEEDS_APPROVER
    forced = breakages or considered.excused
    if not forced or actor.public_id not in considered.authors:
        return None
    return NotPermitted(
        "four_eyes", "an incompatible version is published by another person than its authors"
    )


async def _publish(
    connection: Connection,
    tenant_id: int,
    actor: Actor,
    held: HeldDraft,
    considered: _Considered,
    *,
    reason: str | None,
    grace_until: datetime | None,
) -> Published:
    entry, before, document = held.event_type, considered.newest, considered.document
    event_type_id = entry.event_type_id
    forced = bool(considered.verdict.breakages)
    number = before.version + 1 if before else 1
    version_id = await insert_version(
        tenant_id,
        event_type_id,
        number,
        document,
        checksum(document),
        actor.public_id,
        reason=reason,
        forced=forced,
    )
    await mark_published(
        connection, tenant_id, event_type_id, entry.name, document, actor.public_id
    )
    if before and grace_until:
        await set_grace(tenant_id, event_type_id, before.version, grace_until)
    await queries.update_draft(
        tenant_id, held.draft.draft_id, {"state": "PUBLISHED", "version_id": version_id}
    )
    await queries.raise_draft_revisions(tenant_id, event_type_id)
    await _complete(tenant_id, actor, entry, considered.settings)
    await record_change(
        tenant_id,
        actor=actor.public_id,
        action="version_forced" if forced else "version_published",
        subject=f"{entry.name}/{number}",
        reason=reason,
        before=before.document if before else None,
        after=document,
    )
    await raise_registry_revision(tenant_id)
    types = await queries.read_event_types(connection, tenant_id, [event_type_id])
    versions = await queries.read_versions_of(connection, tenant_id, [event_type_id])
    return Published(types[event_type_id], versions[event_type_id][0])


async def _complete(
    tenant_id: int, actor: Actor, entry: EventTypeRow, settings: TypeSettings
) -> None:
    """Raise the event type's revision, and note what only its new document said of it."""
    before = msgspec.structs.asdict(entry.settings)
    after = msgspec.structs.asdict(settings)
    new = {field: value for field, value in after.items() if value != before[field]}
    await queries.update_event_type(tenant_id, entry.event_type_id, new)
    if new:
        await record_change(
            tenant_id,
            actor=actor.public_id,
            action="event_type_described",
            subject=entry.name,
            before=dict.fromkeys(new),
            after=new,
        )
