"""Event types and their versions in the database. Never decides what may be published."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec

from app import clock
from app.db.pool import Connection
from app.db.sql import load_statements
from app.db.tables import EventType, EventTypeVersion, Property, RegistryChange, Tenant
from app.registry import spec
from app.registry.catalog import PublishedVersion, RegisteredType

SQL = load_statements(__file__)


class StoredVersion(msgspec.Struct, frozen=True):
    """One immutable version as it is kept."""

    event_type: str
    compatibility: str
    version: int
    checksum: str
    document: dict[str, Any]


async def read_catalog(connection: Connection, tenant_id: int) -> list[RegisteredType]:
    """What is in force: for the worker's snapshot."""
    rows = await connection.fetch(SQL["read_catalog"], tenant_id, clock.now())
    return [
        RegisteredType(
            event_type_id=versions[0]["event_type_id"],
            name=name,
            status=versions[0]["status"],
            versions=tuple(
                PublishedVersion(v["version_id"], v["version"], v["document"], v["accepted_until"])
                for v in versions
            ),
        )
        for name, versions in ((n, list(g)) for n, g in groupby(rows, key=lambda row: row["name"]))
    ]


async def read_versions(connection: Connection, tenant_id: int) -> dict[str, list[StoredVersion]]:
    """All versions, oldest first, by event type."""
    rows = await connection.fetch(SQL["read_versions"], tenant_id)
    found: dict[str, list[StoredVersion]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(
            StoredVersion(
                event_type=row["name"],
                compatibility=row["compatibility"],
                version=row["version"],
                checksum=row["checksum"],
                document=msgspec.json.decode(row["document"]),
            )
        )
    return found


async def lock_registry(connection: Connection, tenant_id: int) -> None:
    await connection.execute(SQL["lock_registry"], tenant_id)


async def upsert_event_type(tenant_id: int, name: str, document: Mapping[str, Any]) -> int:
    """Create the type, or take over its settings from its newest document; returns its id."""
    settings = spec.settings(document)
    entry = (
        await EventType.objects()
        .where(EventType.tenant_id == tenant_id, EventType.name == name)
        .first()
    )
    if entry is None:
        entry = EventType(tenant_id=tenant_id, name=name, created_at=clock.now())
    else:
        entry.revision += 1
    entry.owner = settings.owner
    entry.display_name = settings.display_name
    entry.compatibility = settings.compatibility
    entry.description = document.get("description")
    await entry.save()
    return int(entry.id)


async def insert_version(
    tenant_id: int,
    event_type_id: int,
    version: int,
    document: Mapping[str, Any],
    checksum: str,
    published_by: str,
) -> None:
    """Publish one version with its properties."""
    row = EventTypeVersion(
        tenant_id=tenant_id,
        event_type_id=event_type_id,
        version=version,
        document=msgspec.json.encode(document).decode(),
        checksum=checksum,
        published_at=clock.now(),
        published_by=published_by,
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


async def set_grace(event_type_id: int, version: int, accepted_until: datetime) -> None:
    """Let an older version be accepted until then."""
    await EventTypeVersion.update({EventTypeVersion.accepted_until: accepted_until}).where(
        EventTypeVersion.event_type_id == event_type_id, EventTypeVersion.version == version
    )


async def record_change(
    tenant_id: int,
    *,
    actor: str,
    action: str,
    subject: str,
    reason: str | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """One line of the registry's audit trail."""
    await RegistryChange(
        tenant_id=tenant_id,
        changed_at=clock.now(),
        actor=actor,
        action=action,
        subject=subject,
        reason=reason,
        after=msgspec.json.encode(after).decode() if after is not None else None,
    ).save()


async def raise_registry_revision(tenant_id: int) -> None:
    """Every worker takes the change over within a second."""
    await Tenant.update({Tenant.registry_revision: Tenant.registry_revision + 1}).where(
        Tenant.id == tenant_id
    )
