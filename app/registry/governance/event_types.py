"""The life of an event type: created, described, deprecated, retired, restored.

Every change is one transaction under the registry's lock, leaves a line in the audit trail, and is
enforced by every worker within a second. Never publishes a version.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app import clock
from app.db.audit import record_change
from app.db.pool import Connection
from app.db.transaction import transaction
from app.registry.governance import queries
from app.registry.governance.outcomes import (
    MAX_NAME_CHARS,
    MAX_REASON_CHARS,
    MAX_TEXT_CHARS,
    NEEDS_APPROVER,
    NO_EVENT_TYPE,
    Actor,
    Invalid,
    NotFound,
    NotPermitted,
    Stale,
    reason_findings,
    text_findings,
)
from app.registry.governance.queries import EventTypeRow
from app.registry.linter import lint_event_type
from app.registry.modes import promises_less
from app.registry.queries import lock_registry, raise_registry_revision
from app.registry.spec import Finding, is_event_type_name
from app.registry.type_settings import TypeSettings

MAX_SUNSET = timedelta(days=3_660)

_TEXTS = {
    "display_name": ("/displayName", MAX_NAME_CHARS),
    "owner": ("/owner", MAX_NAME_CHARS),
    "description": ("/description", MAX_TEXT_CHARS),
}


class Created(msgspec.Struct, frozen=True):
    event_type: EventTypeRow
    warnings: list[Finding]


async def create_event_type(
    tenant_id: int, actor: Actor, name: str, settings: TypeSettings
) -> Created | Invalid:
    """An event type without a version: its events are refused until one is published."""
    async with transaction() as connection:
        await lock_registry(connection, tenant_id)
        known = await queries.read_event_type_names(connection, tenant_id)
        found = [
            msgspec.structs.replace(finding, path="/name")
            for finding in lint_event_type(name, known)
        ]
        if name in known:
            found.append(Finding("/name", "event_type_taken", "there is one of this name"))
        found += _settings_findings(msgspec.structs.asdict(settings))
        if any(finding.severity == "error" for finding in found):
            return Invalid(found)
        await queries.insert_event_type(tenant_id, name, settings)
        await record_change(
            tenant_id,
            actor=actor.public_id,
            action="event_type_created",
            subject=name,
            after=msgspec.structs.asdict(settings),
        )
        entry = await queries.read_event_type(connection, tenant_id, name)
        assert entry is not None
        return Created(entry, found)


async def describe_event_type(
    tenant_id: int,
    actor: Actor,
    name: str,
    expected_revision: int,
    changes: Mapping[str, str | None],
) -> EventTypeRow | NotFound | Stale | Invalid:
    """changes: of display_name, owner, description; None clears one."""
    if found := _settings_findings(changes):
        return Invalid(found)
    async with transaction() as connection:
        held = await hold_event_type(connection, tenant_id, name, expected_revision)
        if not isinstance(held, EventTypeRow):
            return held
        return await _change(tenant_id, actor, held, "event_type_described", changes)


async def set_compatibility(
    tenant_id: int,
    actor: Actor,
    name: str,
    expected_revision: int,
    compatibility: str,
    reason: str | None,
) -> EventTypeRow | NotFound | Stale | Invalid | NotPermitted:
    """What later versions are held against. To promise less takes an approver and a reason."""
    if reason is not None and (found := reason_findings("/reason", reason)):
        return Invalid(found)
    async with transaction() as connection:
        held = await hold_event_type(connection, tenant_id, name, expected_revision)
        if not isinstance(held, EventTypeRow):
            return held
        if promises_less(held.compatibility, compatibility):
            if reason is None:
                return NotPermitted("reason_missing", "to promise less takes a reason")
            if not actor.may_approve:
                return NEEDS_APPROVER
        return await _change(
            tenant_id,
            actor,
            held,
            "compatibility_changed",
            {"compatibility": compatibility},
            reason,
        )


async def deprecate_event_type(
    tenant_id: int,
    actor: Actor,
    name: str,
    expected_revision: int,
    *,
    sunset_at: datetime,
    note: str,
) -> EventTypeRow | NotFound | Stale | Invalid | NotPermitted:
    """Still accepted, with a warning that says by when to stop and what the note says."""
    found = text_findings("/note", note, MAX_REASON_CHARS)
    if not timedelta(0) < sunset_at - clock.now() <= MAX_SUNSET:
        message = f"must be ahead, within {MAX_SUNSET.days} days"
        found.append(Finding("/sunsetAt", "date_range", message))
    if found:
        return Invalid(found)
    async with transaction() as connection:
        held = await hold_event_type(connection, tenant_id, name, expected_revision)
        if not isinstance(held, EventTypeRow):
            return held
        if held.status == "RETIRED":
            return NotPermitted("event_type_retired", "it is retired: restore it first")
        changes = _status(held, "DEPRECATED") | {"status_note": note, "sunset_at": sunset_at}
        return await _change(tenant_id, actor, held, "event_type_deprecated", changes, note)


async def retire_event_type(
    tenant_id: int, actor: Actor, name: str, expected_revision: int, *, note: str
) -> EventTypeRow | NotFound | Stale | Invalid | NotPermitted:
    """Refused from now on, with the note. It breaks every sender at once: for approvers."""
    if found := text_findings("/note", note, MAX_REASON_CHARS):
        return Invalid(found)
    if not actor.may_approve:
        return NEEDS_APPROVER
    async with transaction() as connection:
        held = await hold_event_type(connection, tenant_id, name, expected_revision)
        if not isinstance(held, EventTypeRow):
            return held
        changes = _status(held, "RETIRED") | {"status_note": note, "sunset_at": None}
        return await _change(tenant_id, actor, held, "event_type_retired", changes, note)


async def restore_event_type(
    tenant_id: int, actor: Actor, name: str, expected_revision: int, *, reason: str
) -> EventTypeRow | NotFound | Stale | Invalid:
    """Accepted again without a warning."""
    if found := reason_findings("/reason", reason):
        return Invalid(found)
    async with transaction() as connection:
        held = await hold_event_type(connection, tenant_id, name, expected_revision)
        if not isinstance(held, EventTypeRow):
            return held
        changes = _status(held, "ACTIVE") | {"status_note": None, "sunset_at": None}
        return await _change(tenant_id, actor, held, "event_type_restored", changes, reason)


async def hold_event_type(
    connection: Connection, tenant_id: int, name: str, expected_revision: int
) -> EventTypeRow | NotFound | Stale:
    """The event type, locked against every other change until the transaction ends."""
    await lock_registry(connection, tenant_id)
    held = (
        await queries.read_event_type(connection, tenant_id, name)
        if is_event_type_name(name)
        else None
    )
    if held is None:
        return NO_EVENT_TYPE
    return held if held.revision == expected_revision else Stale(held.revision)


def _status(held: EventTypeRow, status: str) -> dict[str, Any]:
    since = None if status == "ACTIVE" else clock.now()
    return {
        "status": status,
        "status_since": held.status_since if held.status == status else since,
    }


def _settings_findings(changes: Mapping[str, str | None]) -> list[Finding]:
    return [
        finding
        for field, (path, max_chars) in _TEXTS.items()
        for finding in text_findings(path, changes.get(field), max_chars)
    ]


async def _change(
    tenant_id: int,
    actor: Actor,
    held: EventTypeRow,
    action: str,
    changes: Mapping[str, Any],
    reason: str | None = None,
) -> EventTypeRow:
    """Nothing is written, and no revision spent, when it is so already."""
    new = {field: value for field, value in changes.items() if getattr(held, field) != value}
    if not new:
        return held
    await queries.update_event_type(tenant_id, held.event_type_id, new)
    if not new.keys().isdisjoint(TypeSettings.__struct_fields__):
        await queries.raise_draft_revisions(tenant_id, held.event_type_id)
    await record_change(
        tenant_id,
        actor=actor.public_id,
        action=action,
        subject=held.name,
        reason=reason,
        before={field: getattr(held, field) for field in new},
        after=new,
    )
    await raise_registry_revision(tenant_id)
    return msgspec.structs.replace(held, revision=held.revision + 1, **new)
