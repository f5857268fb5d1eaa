"""Event types, drafts and their audit trail in the database. Never decides what may be changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from app import clock
from app.db.pool import Connection
from app.db.sql import load_statements
from app.db.tables import EventType, EventTypeDraft
from app.registry.type_settings import TypeSettings

SQL = load_statements(__file__)

MAX_BIGINT = 2**63 - 1


class EventTypeRow(msgspec.Struct, frozen=True):
    event_type_id: int
    name: str
    display_name: str | None
    description: str | None
    owner: str | None
    status: str
    """ACTIVE, DEPRECATED (accepted with a warning) or RETIRED (refused)."""
    status_since: datetime | None
    status_note: str | None
    """What senders are told of a status that is not ACTIVE."""
    sunset_at: datetime | None
    compatibility: str
    created_at: datetime
    revision: int

    @property
    def settings(self) -> TypeSettings:
        return TypeSettings(self.owner, self.display_name, self.description, self.compatibility)


class VersionRow(msgspec.Struct, frozen=True):
    """A published version but for its document, which can be long."""

    version_id: int
    event_type_id: int
    version: int
    checksum: str
    published_at: datetime
    published_by: str
    reason: str | None
    forced: bool
    """It broke with versions before it."""
    accepted_until: datetime | None
    """End of its grace window, when a newer version was forced."""


class PropertyRow(msgspec.Struct, frozen=True):
    path: str
    types: list[str]
    required: bool
    nullable: bool
    segmentable: bool
    pii: str
    description: str | None


class DraftRow(msgspec.Struct, frozen=True):
    draft_id: int
    event_type_id: int
    state: str
    """DRAFT, IN_REVIEW, PUBLISHED or DISCARDED."""
    document: dict[str, Any]
    summary: str | None
    based_on: int
    authors: list[str]
    created_at: datetime
    changed_at: datetime
    revision: int
    version_id: int | None


class HistoricVersion(msgspec.Struct, frozen=True):
    version: int
    document: dict[str, Any]
    forced: bool
    marked: Collection[str]
    """Properties at the root whose values are kept for segments now."""


async def read_event_type(connection: Connection, tenant_id: int, name: str) -> EventTypeRow | None:
    row = await connection.fetchrow(SQL["read_event_type"], tenant_id, name)
    return EventTypeRow(*row) if row else None


async def read_event_types(
    connection: Connection, tenant_id: int, event_type_ids: Sequence[int]
) -> dict[int, EventTypeRow]:
    rows = await connection.fetch(SQL["read_event_types"], tenant_id, event_type_ids)
    return {row["id"]: EventTypeRow(*row) for row in rows}


async def list_event_types(
    connection: Connection,
    tenant_id: int,
    *,
    after: str,
    search: str | None,
    statuses: Sequence[str] | None,
    limit: int,
) -> list[EventTypeRow]:
    """after: the name that the page before ended with, "" for the first."""
    rows = await connection.fetch(
        SQL["list_event_types"], tenant_id, after, search, statuses, limit
    )
    return [EventTypeRow(*row) for row in rows]


async def read_event_type_names(connection: Connection, tenant_id: int) -> list[str]:
    return [row["name"] for row in await connection.fetch(SQL["read_event_type_names"], tenant_id)]


async def insert_event_type(tenant_id: int, name: str, settings: TypeSettings) -> int:
    entry = EventType(tenant_id=tenant_id, name=name, created_at=clock.now())
    for field, value in msgspec.structs.asdict(settings).items():
        setattr(entry, field, value)
    await entry.save()
    return int(entry.id)


async def update_event_type(tenant_id: int, event_type_id: int, changes: Mapping[str, Any]) -> None:
    """changes: column → value, only those to be changed. Raises the revision."""
    values: dict[Any, Any] = dict(changes) | {"revision": EventType.revision + 1}
    await EventType.update(values).where(
        EventType.tenant_id == tenant_id, EventType.id == event_type_id
    )


async def set_settings_in_files(tenant_id: int, event_type_id: int, settings: TypeSettings) -> None:
    """What the files say, now that they are applied. Changes nothing that anybody sees."""
    said = msgspec.json.encode(settings).decode()
    await EventType.update({EventType.settings_in_files: said}).where(
        EventType.tenant_id == tenant_id, EventType.id == event_type_id
    )


async def read_versions_of(
    connection: Connection, tenant_id: int, event_type_ids: Sequence[int]
) -> dict[int, list[VersionRow]]:
    """Newest first, by event type."""
    found: dict[int, list[VersionRow]] = {}
    for row in await connection.fetch(SQL["read_versions_of"], tenant_id, event_type_ids):
        found.setdefault(row["event_type_id"], []).append(VersionRow(*row))
    return found


async def read_history(
    connection: Connection, tenant_id: int, event_type_ids: Sequence[int]
) -> dict[int, list[HistoricVersion]]:
    """Oldest first, by event type."""
    found: dict[int, list[HistoricVersion]] = {}
    for row in await connection.fetch(SQL["read_history"], tenant_id, event_type_ids):
        found.setdefault(row["event_type_id"], []).append(
            HistoricVersion(
                row["version"],
                msgspec.json.decode(row["document"]),
                row["forced"],
                row["marked"],
            )
        )
    return found


async def read_documents(
    connection: Connection, tenant_id: int, version_ids: Sequence[int]
) -> dict[int, dict[str, Any]]:
    rows = await connection.fetch(SQL["read_documents"], tenant_id, version_ids)
    return {row["id"]: msgspec.json.decode(row["document"]) for row in rows}


async def read_properties(
    connection: Connection, tenant_id: int, version_ids: Sequence[int]
) -> dict[int, list[PropertyRow]]:
    found: dict[int, list[PropertyRow]] = {}
    for row in await connection.fetch(SQL["read_properties"], tenant_id, version_ids):
        version_id, *columns = row
        found.setdefault(version_id, []).append(PropertyRow(*columns))
    return found


async def read_draft(connection: Connection, tenant_id: int, draft_id: int) -> DraftRow | None:
    row = await connection.fetchrow(SQL["read_draft"], tenant_id, draft_id)
    return _draft(row) if row else None


async def read_open_drafts(
    connection: Connection, tenant_id: int, event_type_ids: Sequence[int]
) -> dict[int, list[DraftRow]]:
    """Newest first, by event type."""
    found: dict[int, list[DraftRow]] = {}
    for row in await connection.fetch(SQL["read_open_drafts"], tenant_id, event_type_ids):
        found.setdefault(row["event_type_id"], []).append(_draft(row))
    return found


async def list_drafts(
    connection: Connection,
    tenant_id: int,
    *,
    event_type_id: int | None,
    states: Sequence[str] | None,
    before: int,
    limit: int,
) -> list[DraftRow]:
    """before: the id that the page before ended with, MAX_BIGINT for the first."""
    rows = await connection.fetch(
        SQL["list_drafts"], tenant_id, event_type_id, states, before, limit
    )
    return [_draft(row) for row in rows]


async def count_open_drafts(connection: Connection, tenant_id: int, event_type_id: int) -> int:
    return int(await connection.fetchval(SQL["count_open_drafts"], tenant_id, event_type_id))


async def insert_draft(
    tenant_id: int,
    event_type_id: int,
    *,
    document: Mapping[str, Any],
    summary: str | None,
    based_on: int,
    author: str,
) -> int:
    now = clock.now()
    draft = EventTypeDraft(
        tenant_id=tenant_id,
        event_type_id=event_type_id,
        document=msgspec.json.encode(document).decode(),
        summary=summary,
        based_on=based_on,
        authors=[author],
        created_at=now,
        changed_at=now,
    )
    await draft.save()
    return int(draft.id)


async def update_draft(tenant_id: int, draft_id: int, changes: Mapping[str, Any]) -> None:
    """changes: column → value, only those to be changed. Raises the revision."""
    values: dict[Any, Any] = dict(changes) | {
        "changed_at": clock.now(),
        "revision": EventTypeDraft.revision + 1,
    }
    if "document" in changes:
        values["document"] = msgspec.json.encode(changes["document"]).decode()
    await EventTypeDraft.update(values).where(
        EventTypeDraft.tenant_id == tenant_id, EventTypeDraft.id == draft_id
    )


async def raise_draft_revisions(tenant_id: int, event_type_id: int) -> None:
    """What publishing an open draft would do has changed: who decided on it must look again."""
    await EventTypeDraft.update({EventTypeDraft.revision: EventTypeDraft.revision + 1}).where(
        EventTypeDraft.tenant_id == tenant_id,
        EventTypeDraft.event_type_id == event_type_id,
        EventTypeDraft.state.is_in(["DRAFT", "IN_REVIEW"]),
    )


async def read_compatibility_changes(
    connection: Connection, tenant_id: int, event_type: str
) -> list[tuple[str, str]]:
    """(who changed the mode, what it was before), newest first."""
    rows = await connection.fetch(SQL["read_compatibility_changes"], tenant_id, event_type)
    return [(row["actor"], row["mode_before"]) for row in rows]


async def read_key_replacements(connection: Connection, tenant_id: int) -> list[tuple[str, str]]:
    """(public id of a rotated key, of the one that replaced it)."""
    rows = await connection.fetch(SQL["read_key_replacements"], tenant_id)
    return [(row["public_id"], row["replaced_by"]) for row in rows]


def _draft(row: Any) -> DraftRow:
    draft_id, event_type_id, state, document, *others = row
    return DraftRow(draft_id, event_type_id, state, msgspec.json.decode(document), *others)
