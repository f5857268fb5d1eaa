"""Properties marked and unmarked by people, outside of any version.

One transaction under the registry's lock, a line in the audit trail, every worker within a second.
"""

from __future__ import annotations

from app.db.pool import Connection
from app.db.transaction import transaction
from app.registry.governance import queries
from app.registry.governance.outcomes import (
    NEEDS_APPROVER,
    NO_EVENT_TYPE,
    Actor,
    Invalid,
    NotFound,
    NotPermitted,
    reason_findings,
)
from app.registry.governance.queries import EventTypeRow
from app.registry.queries import lock_registry, raise_registry_revision
from app.registry.segmentable import add_mark, candidate, drop_mark
from app.registry.spec import Finding, is_event_type_name, pointer_part
from app.segments import queries as segments
from app.segments.marks import MAX_MARKS
from app.segments.queries import StoredMark

NO_PROPERTY = NotFound("the newest version of the event type has no such property at its root")
NOT_MARKED = NotFound("the property is not marked")


async def mark_property(
    tenant_id: int, actor: Actor, event_type: str, path: str
) -> StoredMark | NotFound | Invalid | NotPermitted:
    """Keep a property's values for segments, from now on and of every event there is.

    path  JSON Pointer, as `spec.Property.path`: "/amount"
    A property that is marked already answers its mark.
    """
    name = _name_of(path)
    if name is None:
        return _not_segmentable()
    path = f"/{pointer_part(name)}"
    async with transaction() as connection:
        await lock_registry(connection, tenant_id)
        entry = await _find_type(connection, tenant_id, event_type)
        if entry is None:
            return NO_EVENT_TYPE
        live = await _live(connection, tenant_id, entry)
        if path in live:
            return live[path]
        histories = await queries.read_history(connection, tenant_id, [entry.event_type_id])
        history = histories.get(entry.event_type_id, [])
        documents = [version.document for version in history]
        if not documents or name not in documents[-1].get("properties", {}):
            return NO_PROPERTY
        new = candidate(entry.event_type_id, documents, name)
        if new is None:
            return _not_segmentable()
        if await segments.count_marks(connection, tenant_id, entry.event_type_id) >= MAX_MARKS:
            message = (
                f"{MAX_MARKS} properties of the event type are marked, or their values are still"
                " being dropped: unmark another first"
            )
            return Invalid([Finding("/path", "too_many_marks", message)])
        if new.pii == "direct" and not actor.may_approve:
            return NEEDS_APPROVER
        await add_mark(connection, tenant_id, event_type, new, actor.public_id)
        await queries.raise_draft_revisions(tenant_id, entry.event_type_id)
        await raise_registry_revision(tenant_id)
        return (await _live(connection, tenant_id, entry))[path]


async def unmark_property(
    tenant_id: int, actor: Actor, event_type: str, path: str, reason: str | None
) -> StoredMark | NotFound | Invalid:
    """Stop keeping a property's values and drop those that are there; the mark as it was."""
    if reason is not None and (findings := reason_findings("/reason", reason)):
        return Invalid(findings)
    name = _name_of(path)
    if name is None:
        return NOT_MARKED
    path = f"/{pointer_part(name)}"
    async with transaction() as connection:
        await lock_registry(connection, tenant_id)
        entry = await _find_type(connection, tenant_id, event_type)
        if entry is None:
            return NO_EVENT_TYPE
        held = (await _live(connection, tenant_id, entry)).get(path)
        if held is None:
            return NOT_MARKED
        await drop_mark(connection, tenant_id, held, actor.public_id, reason)
        await queries.raise_draft_revisions(tenant_id, entry.event_type_id)
        await raise_registry_revision(tenant_id)
        return held


async def _find_type(connection: Connection, tenant_id: int, name: str) -> EventTypeRow | None:
    if not is_event_type_name(name):
        return None
    return await queries.read_event_type(connection, tenant_id, name)


async def _live(
    connection: Connection, tenant_id: int, entry: EventTypeRow
) -> dict[str, StoredMark]:
    marks = await segments.read_stored_marks(connection, tenant_id, [entry.event_type_id])
    return {held.path: held for held in marks}


def _name_of(path: str) -> str | None:
    """The one name of a pointer to a property at the root; None for any other text."""
    name = path.removeprefix("/")
    if name == path or "/" in name:
        return None
    return name.replace("~1", "/").replace("~0", "~")


def _not_segmentable() -> Invalid:
    message = "only a property at the root that is a scalar, or an array of scalars, of one type"
    return Invalid([Finding("/path", "segmentable_place", message)])
