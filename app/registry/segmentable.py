"""Which properties of published types are kept for segments, as their documents and people say.

A document that says `x-segmentable` marks the property when it is published; one that does not say
it any more unmarks nothing: dropping what segments are built on is a decision of its own. Never
touches the values themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from app.db.audit import record_change
from app.db.pool import Connection
from app.registry.governance.queries import read_history
from app.registry.spec import PII_CLASSES, pointer_part
from app.segments import queries as segments
from app.segments.marks import MAX_MARKS
from app.segments.queries import NewMark, StoredMark
from app.segments.values import value_type_of


def candidate(
    event_type_id: int, documents: Sequence[Mapping[str, Any]], name: str
) -> NewMark | None:
    """A property as it would be marked; None when it is no scalar and no array of scalars.

    documents  every version, the newest last: it says the type. The class of personal data is the
               strongest of all, for values of events of each are kept.
    """
    schema = documents[-1].get("properties", {}).get(name)
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
        pii=strongest(_pii(document, name) for document in documents),
    )


def strongest(classes: Iterable[str]) -> str:
    return max(classes, key=PII_CLASSES.index)


async def unmarked_personal_data(
    connection: Connection, tenant_id: int, event_type_id: int, document: Mapping[str, Any]
) -> list[str]:
    """Paths of what publishing would mark, or go on keeping, as direct personal data from now on.

    That takes an approver.
    """
    documents = await _documents(connection, tenant_id, event_type_id, document)
    live = await _live(connection, tenant_id, event_type_id)
    named = dict.fromkeys([*live, *_declared(document)])
    found = (candidate(event_type_id, documents, name) for name in named)
    return [
        new.path
        for new in found
        if new and new.pii == "direct" and not (new.name in live and live[new.name].pii == "direct")
    ]


async def surplus_marks(
    connection: Connection, tenant_id: int, event_type_id: int, document: Mapping[str, Any]
) -> int:
    """How many marks too many publishing would leave; those whose storage still goes count too."""
    live = await _live(connection, tenant_id, event_type_id)
    named = dict.fromkeys([*live, *_declared(document)])
    found = (candidate(event_type_id, [document], name) for name in named)
    opened = sum(new is not None and _is_to_open(new, live.get(new.name)) for new in found)
    held = await segments.count_marks(connection, tenant_id, event_type_id)
    return max(held + opened - MAX_MARKS, 0) if opened else 0


async def mark_published(
    connection: Connection,
    tenant_id: int,
    event_type_id: int,
    event_type: str,
    document: Mapping[str, Any],
    actor: str,
) -> None:
    """Mark what a document that was just published declares; in the transaction of the publish.

    A property whose type was changed by force is marked anew: its storage is built again. The class
    of personal data only ever gets stronger; one that the document does not name any more, and yet
    lets in, is hidden in its events, so its values become indirect.
    """
    documents = await _documents(connection, tenant_id, event_type_id, document)
    live = await _live(connection, tenant_id, event_type_id)
    for name in dict.fromkeys([*live, *_declared(document)]):
        new, held = candidate(event_type_id, documents, name), live.get(name)
        if held is not None and held.pii == "none" and _lets_in(document, name):
            await _class_mark(connection, tenant_id, held, "indirect", actor)
        if new is None:
            continue
        if held is not None:
            new = msgspec.structs.replace(new, pii=strongest((held.pii, new.pii)))
        if _is_to_open(new, held):
            if held is not None:
                await drop_mark(connection, tenant_id, held, actor)
            await add_mark(connection, tenant_id, event_type, new, actor)
        elif held is not None and new.pii != held.pii:
            await _class_mark(connection, tenant_id, held, new.pii, actor)


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


async def _class_mark(
    connection: Connection, tenant_id: int, held: StoredMark, pii: str, actor: str
) -> None:
    await segments.set_pii(connection, tenant_id, held.mark.mark_id, pii)
    await record_change(
        tenant_id,
        actor=actor,
        action="property_classed",
        subject=f"{held.event_type}{held.path}",
        before={"pii": held.pii},
        after={"pii": pii},
    )


def _is_to_open(new: NewMark, held: StoredMark | None) -> bool:
    """Whether it takes storage of its own: there is none yet, or that of another type."""
    return held is None or (new.value_type, new.is_array) != (
        held.mark.value_type,
        held.mark.is_array,
    )


def _pii(document: Mapping[str, Any], name: str) -> str:
    """Of the property and, if it is an array, its items: their values are what is kept."""
    schema = document.get("properties", {}).get(name, {})
    return strongest(part.get("x-pii", "none") for part in (schema, schema.get("items", {})))


def _lets_in(document: Mapping[str, Any], name: str) -> bool:
    """Whether its events may have a property that it says nothing of: readers see none of it."""
    is_named = name in document.get("properties", {})
    return not is_named and document.get("x-unknown-properties") == "allow"


def _declared(document: Mapping[str, Any]) -> list[str]:
    members = document.get("properties", {})
    return [name for name, schema in members.items() if schema.get("x-segmentable")]


async def _documents(
    connection: Connection, tenant_id: int, event_type_id: int, newest: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Every published one, and the newest, whether it is published yet or not."""
    histories = await read_history(connection, tenant_id, [event_type_id])
    return [*(version.document for version in histories.get(event_type_id, ())), newest]


async def _live(
    connection: Connection, tenant_id: int, event_type_id: int
) -> dict[str, StoredMark]:
    marks = await segments.read_stored_marks(connection, tenant_id, [event_type_id])
    return {held.mark.name: held for held in marks}
