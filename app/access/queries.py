"""Tenants, API keys and sources in the database. Never decides who may do what."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app import clock
from app.access.keys import NewKey, Principal, Scope, TenantSettings, generate_key
from app.db.audit import CLI, record_change
from app.db.pool import Connection
from app.db.sql import load_statements
from app.db.tables import ApiKey, Source, Tenant
from app.db.transaction import transaction

SQL = load_statements(__file__)
_SOURCE_INFO = (
    Source.name,
    Source.status,
    Source.on_mismatch,
    Source.default_phone_region,
    Source.owner,
    Source.first_seen_at,
)


class SourceSettings(msgspec.Struct, frozen=True):
    """What the hot path needs of a source."""

    source_id: int
    name: str
    disabled: bool
    duplicate_on_mismatch: bool
    """onMismatch DUPLICATE: other content under a known key answers duplicate, not conflict."""
    default_phone_region: str | None


class KeyInfo(msgspec.Struct, frozen=True):
    """One API key as lists show it: everything but the secret."""

    number: int
    """Order of creation; pages continue behind it."""
    id: str
    name: str
    scopes: list[str]
    sources: list[str] | None
    event_types: list[str] | None
    events_per_minute: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class SourceInfo(msgspec.Struct, frozen=True):
    """One source as lists show it."""

    name: str
    status: str
    on_mismatch: str
    default_phone_region: str | None
    owner: str | None
    first_seen_at: datetime


class Revisions(msgspec.Struct, frozen=True):
    """Raised by every change; workers compare them with what they hold."""

    tenant_id: int
    access: int
    registry: int


async def create_tenant(name: str) -> int:
    """Create a tenant with a hash key of its own; returns its id.

    raises  asyncpg.UniqueViolationError, asyncpg.CheckViolationError
    """
    tenant = Tenant(name=name, hash_key=os.urandom(32), created_at=clock.now())
    await tenant.save()
    return int(tenant.id)


async def find_tenant(name: str) -> int | None:
    row = await Tenant.select(Tenant.id).where(Tenant.name == name).first()
    return row["id"] if row else None


async def list_tenants() -> list[tuple[int, str, datetime]]:
    rows = await Tenant.select(Tenant.id, Tenant.name, Tenant.created_at).order_by(Tenant.name)
    return [(row["id"], row["name"], row["created_at"]) for row in rows]


async def set_tenant(tenant_id: int, settings: Mapping[str, int]) -> None:
    """Change a tenant's settings. settings: column → value, only those to be changed."""
    async with transaction():
        changes: dict[Any, Any] = dict(settings)
        await Tenant.update(changes).where(Tenant.id == tenant_id)
        await _raise_access_revision(tenant_id)


async def read_revisions(connection: Connection) -> list[Revisions]:
    """One small row a tenant: what every worker asks a few times a second."""
    return [Revisions(*row) for row in await connection.fetch(SQL["read_revisions"])]


async def read_principals(connection: Connection) -> dict[str, Principal]:
    """Every key that is neither revoked nor expired, by its public id."""
    tenants: dict[int, TenantSettings] = {}
    principals = {}
    for row in await connection.fetch(SQL["read_principals"], clock.now()):
        tenant = tenants.setdefault(
            row["tenant_id"],
            TenantSettings(
                tenant_id=row["tenant_id"],
                name=row["tenant_name"],
                hash_key=row["hash_key"],
                quarantine_days=row["quarantine_days"],
                events_per_minute=row["tenant_events_per_minute"],
                max_sources=row["max_sources"],
            ),
        )
        principals[row["public_id"]] = Principal(
            key_id=row["id"],
            public_id=row["public_id"],
            name=row["name"],
            secret_hash=row["secret_hash"],
            tenant=tenant,
            scopes=frozenset(row["scopes"]),
            sources=frozenset(row["sources"]) if row["sources"] else None,
            event_types=frozenset(row["event_types"]) if row["event_types"] else None,
            events_per_minute=row["events_per_minute"],
            expires_at=row["expires_at"],
        )
    return principals


async def create_key(
    tenant_id: int,
    *,
    name: str,
    scopes: Sequence[Scope],
    environment: str,
    sources: Sequence[str] = (),
    event_types: Sequence[str] = (),
    events_per_minute: int | None = None,
    expires_at: datetime | None = None,
    actor: str = CLI,
) -> NewKey:
    """Create a key; what is returned is the only time its secret is seen."""
    new = generate_key(environment)
    async with transaction():
        await ApiKey(
            tenant_id=tenant_id,
            public_id=new.public_id,
            name=name,
            secret_hash=new.secret_hash,
            scopes=[str(scope) for scope in scopes],
            sources=list(sources) or None,
            event_types=list(event_types) or None,
            events_per_minute=events_per_minute,
            created_at=clock.now(),
            expires_at=expires_at,
        ).save()
        await record_change(
            tenant_id,
            actor=actor,
            action="key_created",
            subject=f"key {new.public_id}",
            after={
                "name": name,
                "scopes": scopes,
                "sources": sources,
                "event_types": event_types,
                "events_per_minute": events_per_minute,
                "expires_at": expires_at,
            },
        )
        await _raise_access_revision(tenant_id)
    return new


async def list_keys(
    tenant_id: int, *, after_number: int = 0, limit: int | None = None
) -> list[KeyInfo]:
    """Keys in the order of their creation, expired and revoked ones too; a page of them."""
    query = (
        ApiKey.select()
        .where(ApiKey.tenant_id == tenant_id, ApiKey.id > after_number)
        .order_by(ApiKey.id)
    )
    return [_key_info(row) for row in await (query.limit(limit) if limit else query)]


async def find_key(tenant_id: int, public_id: str) -> KeyInfo | None:
    row = await ApiKey.select().where(_is_key(tenant_id, public_id)).first()
    return _key_info(row) if row else None


async def revoke_key(tenant_id: int, public_id: str, *, actor: str = CLI) -> bool:
    """Revoke now; every worker refuses it within a second. False: there is no such live key."""
    async with transaction():
        revoked = (
            await ApiKey.update({ApiKey.revoked_at: clock.now()})
            .where(_is_key(tenant_id, public_id), ApiKey.revoked_at.is_null())
            .returning(ApiKey.id)
        )
        if revoked:
            await record_change(
                tenant_id, actor=actor, action="key_revoked", subject=f"key {public_id}"
            )
            await _raise_access_revision(tenant_id)
    return bool(revoked)


async def rotate_key(
    tenant_id: int, public_id: str, *, environment: str, grace: timedelta, actor: str = CLI
) -> NewKey | None:
    """A new key that may do the same; the old one works on for the grace.

    None: there is no such live key, or it was rotated before: its successor is the one to rotate,
    so that each key leads to all others of the same holder.
    """
    async with transaction():
        old = (
            await ApiKey.objects()
            .where(
                _is_key(tenant_id, public_id),
                ApiKey.revoked_at.is_null(),
                ApiKey.replaced_by.is_null(),
                ApiKey.expires_at.is_null() | (ApiKey.expires_at > clock.now()),
            )
            .lock_rows()
            .first()
        )
        if old is None:
            return None
        new = generate_key(environment)
        replacement = ApiKey(
            tenant_id=tenant_id,
            public_id=new.public_id,
            name=old.name,
            secret_hash=new.secret_hash,
            scopes=old.scopes,
            sources=old.sources,
            event_types=old.event_types,
            events_per_minute=old.events_per_minute,
            created_at=clock.now(),
            expires_at=old.expires_at,
        )
        await replacement.save()
        ends_at = clock.now() + grace
        old.expires_at = min(old.expires_at, ends_at) if old.expires_at else ends_at
        old.replaced_by = replacement.id
        await old.save([ApiKey.expires_at, ApiKey.replaced_by])
        await record_change(
            tenant_id,
            actor=actor,
            action="key_rotated",
            subject=f"key {public_id}",
            after={"replaced_by": new.public_id, "works_until": old.expires_at},
        )
        await _raise_access_revision(tenant_id)
        return new


async def read_sources(connection: Connection, tenant_id: int) -> dict[str, SourceSettings]:
    rows = await connection.fetch(SQL["read_sources"], tenant_id)
    return {row["name"]: _source(row) for row in rows}


async def register_sources(
    connection: Connection, tenant_id: int, names: Sequence[str], max_sources: int
) -> dict[str, SourceSettings]:
    """Register sources on first sight, as long as the tenant may have more; returns those there."""
    async with connection.transaction():
        await connection.execute(SQL["lock_tenant"], tenant_id)
        await connection.execute(
            SQL["register_sources"], tenant_id, sorted(names), max_sources, clock.now()
        )
        rows = await connection.fetch(SQL["read_sources"], tenant_id)
    return {row["name"]: _source(row) for row in rows}


async def list_sources(
    tenant_id: int, *, after_name: str = "", limit: int | None = None
) -> list[SourceInfo]:
    """Sources by name; a page of them."""
    query = (
        Source.select(*_SOURCE_INFO)
        .where(Source.tenant_id == tenant_id, Source.name > after_name)
        .order_by(Source.name)
    )
    return [SourceInfo(**row) for row in await (query.limit(limit) if limit else query)]


async def find_source(tenant_id: int, name: str) -> SourceInfo | None:
    row = (
        await Source.select(*_SOURCE_INFO)
        .where(Source.tenant_id == tenant_id, Source.name == name)
        .first()
    )
    return SourceInfo(**row) if row else None


async def find_phone_region(connection: Connection, tenant_id: int, name: str) -> str | None:
    region: str | None = await connection.fetchval(SQL["find_phone_region"], tenant_id, name)
    return region


async def set_source(
    tenant_id: int, name: str, settings: Mapping[str, str | None], *, actor: str = CLI
) -> None:
    """Create or change a source. settings: column → value, only those to be changed.

    raises  asyncpg.CheckViolationError for a value that is not allowed.
    """
    async with transaction() as connection:
        await connection.execute(SQL["lock_tenant"], tenant_id)
        source = (
            await Source.objects().where(Source.tenant_id == tenant_id, Source.name == name).first()
        )
        if source is None:
            source = Source(tenant_id=tenant_id, name=name, first_seen_at=clock.now())
        before = {column: getattr(source, column) for column in settings}
        for column, value in settings.items():
            setattr(source, column, value)
        await source.save([Source.name, *settings])
        await record_change(
            tenant_id,
            actor=actor,
            action="source_changed",
            subject=f"source {name}",
            before=before,
            after=settings,
        )
        await _raise_access_revision(tenant_id)


async def _raise_access_revision(tenant_id: int) -> None:
    await Tenant.update({Tenant.access_revision: Tenant.access_revision + 1}).where(
        Tenant.id == tenant_id
    )


def _is_key(tenant_id: int, public_id: str) -> Any:
    return (ApiKey.tenant_id == tenant_id) & (ApiKey.public_id == public_id)


def _key_info(row: Mapping[str, Any]) -> KeyInfo:
    return KeyInfo(
        number=row["id"],
        id=row["public_id"],
        name=row["name"],
        scopes=row["scopes"],
        sources=row["sources"],
        event_types=row["event_types"],
        events_per_minute=row["events_per_minute"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


def _source(row: object) -> SourceSettings:
    return SourceSettings(
        source_id=row["id"],  # type: ignore[index]
        name=row["name"],  # type: ignore[index]
        disabled=row["status"] == "DISABLED",  # type: ignore[index]
        duplicate_on_mismatch=row["on_mismatch"] == "DUPLICATE",  # type: ignore[index]
        default_phone_region=row["default_phone_region"],  # type: ignore[index]
    )
