"""Which properties of published types are kept for segments, as their documents and people say.

A document that says `x-segmentable` marks the property when it is published; one that does not say
it any more unmarks nothing: dropping what segments are built on is a decision of its own. Never
touches the values themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.db.audit import record_change
from app.db.pool import Connection
from app.registry.spec import pointer_part
from app.segments import queries as segments
from app.segments.queries import NewMark, StoredMark
from app.segments.values import value_type_of


def candidate(event_type_id: int, document: Mapping[str, Any], name: str) -> NewMark | None:
    """A property as it would be marked; None when it is no scalar and no array of scalars."""
    schema = document.get("properties", {}).get(name)
    kind = None if schema is None else value_type_of(schema)
    if kind is None:
        return None
    value_type, is_array = kind
    return NewMark(
        event_type_id=event_type_id,
        path=f"/{pointer_part(name)}",
        name=name,
        value_type=value_type,
        is_array=is_array,
        pii=schema.get("x-pii", "none"),
    )


async def unmarked_personal_data(
    connection: Connection, tenant_id: int, event_type_id: int, document: Mapping[str, Any]
) -> list[str]:
    """Paths of direct personal data that publishing would mark: that takes an approver."""
    declared = _declared(event_type_id, document)
    live = await _live(connection, tenant_id, event_type_id)
    return [new.path for new in declared if new.pii == "direct" and new.name not in live]


async def mark_published(
    connection: Connection,
    tenant_id: int,
    event_type_id: int,
    event_type: str,
    document: Mapping[str, Any],
    actor: str,
) -> None:
    """Mark what a document that was just published declares; in the transaction of the publish.

    A property whose type was changed by force is marked anew: its storage is built again.
    """
    live = await _live(connection, tenant_id, event_type_id)
    declared = _declared(event_type_id, document)
    for name, held in live.items():
        new = candidate(event_type_id, document, name)
        if new is None:
            continue
        if (new.value_type, new.is_array) != (held.mark.value_type, held.mark.is_array):
            await drop_mark(connection, tenant_id, held, actor)
            await add_mark(connection, tenant_id, event_type, new, actor)
        elif new.pii != held.pii:
            await segments.set_pii(connection, tenant_id, held.mark.mark_id, new.pii)
    for new in declared:
        if new.name not in live:
            await add_mark(connection, tenant_id, event_type, new, actor)


async def add_mark(
    connection: Connection, tenant_id: int, event_type: str, new: NewMark, actor: str
) -> int:
    """The mark's id. The caller raises the registry's revision."""
    mark_id = await segments.open_mark(connection, tenant_id, new, actor)
    await record_change(
        tenant_id,
        actor=actor,
        action="property_marked",
        subject=f"{event_type}{new.path}",
        after={"valueType": new.value_type, "isArray": new.is_array, "pii": new.pii},
    )
    return mark_id


async def drop_mark(
    connection: Connection, tenant_id: int, held: StoredMark, actor: str, reason: str | None = None
) -> None:
    """The caller raises the registry's revision."""
    await segments.unmark(connection, tenant_id, held.mark.mark_id)
    await record_change(
        tenant_id,
        actor=actor,
        action="property_unmarked",
        subject=f"{held.event_type}{held.path}",
        reason=reason,
        before={
            "valueType": held.mark.value_type,
            "isArray": held.mark.is_array,
            "pii": held.pii,
            "values": held.values_written,
        },
    )


def _declared(event_type_id: int, document: Mapping[str, Any]) -> list[NewMark]:
    found = (
        candidate(event_type_id, document, name)
        for name, schema in document.get("properties", {}).items()
        if schema.get("x-segmentable")
    )
    return [new for new in found if new is not None]


async def _live(
    connection: Connection, tenant_id: int, event_type_id: int
) -> dict[str, StoredMark]:
    marks = await segments.read_stored_marks(connection, tenant_id, [event_type_id])
    return {held.mark.name: held for held in marks}
