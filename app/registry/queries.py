"""Event types and their versions in the database. Never decides what may be published."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec

from app import clock
from app.db.pool import Connection
from app.db.sql import load_statements
from app.db.tables import EventTypeVersion, Property, Tenant
from app.registry import spec
from app.registry.catalog import PublishedVersion, RegisteredType
from app.registry.type_settings import TypeSettings, settings_of

SQL = load_statements(__file__)


class StoredVersion(msgspec.Struct, frozen=True):
    """One immutable version as it is kept."""

    version: int
    checksum: str
    document: dict[str, Any]
    forced: bool = False
    """It broke with versions before it: later ones are held against it and what follows only."""
    published_by: str = "cli"
    marked: Collection[str] = ()
    """Properties at the root whose values are kept for segments now."""


class StoredType(msgspec.Struct, frozen=True):
    """One event type, as files are compared with it."""

    event_type_id: int
    status: str
    settings: TypeSettings
    settings_in_files: TypeSettings
    """As the files said when they were last applied; without such, as the newest version says."""
    versions: list[StoredVersion]
    """Oldest first."""


async def read_catalog(connection: Connection, tenant_id: int) -> list[RegisteredType]:
    """What is in force: for the worker's snapshot."""
    rows = await connection.fetch(SQL["read_catalog"], tenant_id, clock.now())
    return [
        RegisteredType(
            event_type_id=versions[0]["event_type_id"],
            name=name,
            status=versions[0]["status"],
            status_note=versions[0]["status_note"],
            sunset_at=versions[0]["sunset_at"],
            versions=tuple(
                PublishedVersion(v["version_id"], v["version"], v["document"], v["accepted_until"])
                for v in versions
            ),
        )
        for name, versions in ((n, list(g)) for n, g in groupby(rows, key=lambda row: row["name"]))
    ]


async def read_stored_types(connection: Connection, tenant_id: int) -> dict[str, StoredType]:
    """Every event type with all its versions, by name."""
    versions: dict[str, list[StoredVersion]] = {}
    for row in await connection.fetch(SQL["read_versions"], tenant_id):
        versions.setdefault(row["name"], []).append(
            StoredVersion(
                version=row["version"],
                checksum=row["checksum"],
                document=msgspec.json.decode(row["document"]),
                forced=row["forced"],
                published_by=row["published_by"],
                marked=row["marked"],
            )
        )
    return {
        row["name"]: _stored_type(row, versions.get(row["name"], []))
        for row in await connection.fetch(SQL["read_settings"], tenant_id)
    }


def _stored_type(row: Any, versions: list[StoredVersion]) -> StoredType:
    in_files = row["settings_in_files"]
    if in_files is not None:
        base = msgspec.json.decode(in_files, type=TypeSettings)
    else:
        base = settings_of(versions[-1].document) if versions else TypeSettings()
    return StoredType(
        event_type_id=row["id"],
        status=row["status"],
        settings=TypeSettings(
            row["owner"], row["display_name"], row["description"], row["compatibility"]
        ),
        settings_in_files=base,
        versions=versions,
    )


async def lock_registry(connection: Connection, tenant_id: int) -> None:
    await connection.execute(SQL["lock_registry"], tenant_id)


async def insert_version(
    tenant_id: int,
    event_type_id: int,
    version: int,
    document: Mapping[str, Any],
    checksum: str,
    published_by: str,
    *,
    reason: str | None = None,
    forced: bool = False,
) -> int:
    """Publish one version with its properties; returns its id."""
    row = EventTypeVersion(
        tenant_id=tenant_id,
        event_type_id=event_type_id,
        version=version,
        document=msgspec.json.encode(document).decode(),
        checksum=checksum,
        published_at=clock.now(),
        published_by=published_by,
        reason=reason,
        forced=forced,
    )
    await row.save()
    properties = [
        Property(
            tenant_id=tenant_id,
            event_type_id=event_type_id,
            version_id=row.id,
            path=p.path,
            types=list(p.types),
            required=p.required,
            nullable=p.nullable,
            segmentable=p.segmentable,
            pii=p.pii,
            description=p.description,
        )
        for p in spec.properties(document)
    ]
    if properties:
        await Property.insert(*properties)
    return int(row.id)


async def set_grace(
    tenant_id: int, event_type_id: int, version: int, accepted_until: datetime
) -> None:
    """Let an older version be accepted until then."""
    await EventTypeVersion.update({EventTypeVersion.accepted_until: accepted_until}).where(
        EventTypeVersion.tenant_id == tenant_id,
        EventTypeVersion.event_type_id == event_type_id,
        EventTypeVersion.version == version,
    )


async def raise_registry_revision(tenant_id: int) -> None:
    """Every worker takes the change over within a second."""
    await Tenant.update({Tenant.registry_revision: Tenant.registry_revision + 1}).where(
        Tenant.id == tenant_id
    )
