"""Finds profiles for people who ask. Never decides who is who, and never hides a value."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec

from app import ids
from app.db.pool import Connection
from app.db.scan import EVER, SCANNED_ROWS, Found, Position, Window, cut, newest
from app.db.sql import load_statements
from app.identity import queries as identities
from app.identity.identifiers import Kind

SQL = load_statements(__file__)

MAX_ALIASES = 1_000
MAX_IDENTIFIERS = 1_000
"""Of each profile that belongs to a person. More are not a person's; a shared device's, perhaps."""
MAX_MERGES = 1_000
MAX_CONFLICTS = 100
"""From either side of each profile that belongs to a person."""


class StoredProfile(msgspec.Struct, frozen=True):
    """A root profile."""

    profile_id: bytes
    created_at: datetime
    known: bool


class StoredIdentifier(msgspec.Struct, frozen=True):
    """One link: the identifier leads to the profile."""

    key: bytes
    kind: Kind
    value: str
    profile_id: bytes
    """As it was linked; it may be an alias by now."""
    event_id: bytes
    """The event that linked it."""
    first_seen_at: datetime
    source: str | None


class StoredMerge(msgspec.Struct, frozen=True):
    merge_id: bytes
    survivor_id: bytes
    merged_id: bytes
    merged_at: datetime
    event_id: bytes
    undone_at: datetime | None = None
    """None: the merge stands."""
    undone_by: str | None = None


class StoredConflict(msgspec.Struct, frozen=True):
    """A clash, once a pair of profiles and identifier."""

    conflict_key: bytes
    kind: Kind
    identifier_key: bytes
    owner_id: bytes
    """Where the identifier stays."""
    chosen_id: bytes
    """Where the event went instead."""
    rule: str
    event_id: bytes
    first_seen_at: datetime


class ProfilePage(msgspec.Struct, frozen=True):
    profiles: list[StoredProfile]
    resume: Position | None


class ConflictPage(msgspec.Struct, frozen=True):
    conflicts: list[StoredConflict]
    resume: Position | None


async def find_profiles(
    connection: Connection, tenant_id: int, profile_ids: Collection[bytes]
) -> dict[bytes, StoredProfile]:
    """The profiles that these ids stand for today; unknown ones are absent.

    cost  1 statement, 2 where one was merged: chains are one step long
    """
    rows = await _read_profiles(connection, tenant_id, profile_ids)
    missing = {row["root_id"] for row in rows} - {row["profile_id"] for row in rows}
    roots = rows + (await _read_profiles(connection, tenant_id, missing) if missing else [])
    by_id = {row["profile_id"]: _profile(row) for row in roots}
    return {row["profile_id"]: by_id[row["root_id"]] for row in rows if row["root_id"] in by_id}


async def find_profile_page(
    connection: Connection,
    tenant_id: int,
    *,
    first: int,
    after: Position | None = None,
    created: Window = EVER,
    known: bool | None = None,
) -> ProfilePage:
    """Profiles, newest first. May be short of `first` and still be followed by another page."""
    found = await _scan(connection, "scan_profiles", tenant_id, created, after, first, known)
    profiles = [StoredProfile(row["key"], row["created_at"], row["known"]) for row in found.rows]
    return ProfilePage(profiles, found.resume)


async def read_members(
    connection: Connection, tenant_id: int, root_ids: Sequence[bytes]
) -> dict[bytes, list[bytes]]:
    """Each root with all that were merged into it, itself first."""
    members = {root_id: [root_id] for root_id in root_ids}
    for row in await connection.fetch(SQL["read_aliases"], tenant_id, root_ids, MAX_ALIASES):
        members[row["root_id"]].append(row["profile_id"])
    return members


async def read_identifiers_of(
    connection: Connection, tenant_id: int, profile_ids: Sequence[bytes]
) -> list[StoredIdentifier]:
    """What leads to these profiles, strongest kinds first, oldest first."""
    rows = await connection.fetch(
        SQL["read_identifiers_of"], tenant_id, profile_ids, MAX_IDENTIFIERS
    )
    found = [_identifier(row) for row in rows]
    return sorted(found, key=lambda found: (found.kind, found.first_seen_at, found.key))


async def read_identifiers(
    connection: Connection, tenant_id: int, keys: Collection[bytes]
) -> dict[bytes, StoredIdentifier]:
    """Links by identifier key; those that nobody has are absent."""
    rows = await connection.fetch(
        SQL["read_identifiers"], tenant_id, [ids.bucket_of(key) for key in keys], list(keys)
    )
    return {row["identifier_key"]: _identifier(row) for row in rows}


async def read_merges(
    connection: Connection, tenant_id: int, profile_ids: Sequence[bytes]
) -> list[StoredMerge]:
    """Merges into these profiles, oldest first, those included that were undone."""
    rows = await connection.fetch(SQL["read_merges"], tenant_id, profile_ids, MAX_MERGES)
    merges = [
        StoredMerge(
            merge_id=row["merge_id"],
            survivor_id=row["survivor_id"],
            merged_id=row["merged_id"],
            merged_at=row["merged_at"],
            event_id=row["event_key"],
            undone_at=row["undone_at"],
            undone_by=row["undone_by"],
        )
        for row in rows
    ]
    return sorted(merges, key=lambda merge: (merge.merged_at, merge.merge_id))


async def read_conflicts_of(
    connection: Connection, tenant_id: int, profile_ids: Sequence[bytes]
) -> list[StoredConflict]:
    """Clashes in which these profiles were either side, newest first."""
    rows = await connection.fetch(SQL["read_conflicts_of"], tenant_id, profile_ids, MAX_CONFLICTS)
    by_key = {row["conflict_key"]: _conflict(row) for row in rows}
    return sorted(
        by_key.values(), key=lambda found: (found.first_seen_at, found.conflict_key), reverse=True
    )


async def find_conflict_page(
    connection: Connection,
    tenant_id: int,
    *,
    first: int,
    after: Position | None = None,
    seen: Window = EVER,
    rule: str | None = None,
) -> ConflictPage:
    """Clashes, newest first. May be short of `first` and still be followed by another page."""
    found = await _scan(connection, "scan_conflicts", tenant_id, seen, after, first, rule)
    return ConflictPage([_conflict(row) for row in found.rows], found.resume)


async def _scan(
    connection: Connection,
    statement: str,
    tenant_id: int,
    window: Window,
    after: Position | None,
    first: int,
    wanted: object,
) -> Found:
    rows = await connection.fetch(
        SQL[statement],
        tenant_id,
        window.start,
        *newest(window, after),
        SCANNED_ROWS,
        first + 1,
        wanted,
    )
    return cut(rows, first, SCANNED_ROWS)


async def _read_profiles(
    connection: Connection, tenant_id: int, profile_ids: Collection[bytes]
) -> list[Any]:
    keys = sorted(profile_ids)
    return await connection.fetch(
        identities.SQL["read_profiles"], tenant_id, [ids.bucket_of(key) for key in keys], keys
    )


def _profile(row: Any) -> StoredProfile:
    return StoredProfile(row["profile_id"], row["created_at"], row["known"])


def _identifier(row: Any) -> StoredIdentifier:
    return StoredIdentifier(
        key=row["identifier_key"],
        kind=Kind(row["kind"]),
        value=row["value"],
        profile_id=row["profile_id"],
        event_id=row["event_key"],
        first_seen_at=row["first_seen_at"],
        source=row["source"],
    )


def _conflict(row: Any) -> StoredConflict:
    return StoredConflict(
        conflict_key=row["conflict_key"],
        kind=Kind(row["kind"]),
        identifier_key=row["identifier_key"],
        owner_id=row["owner_id"],
        chosen_id=row["chosen_id"],
        rule=row["rule"],
        event_id=row["event_key"],
        first_seen_at=row["first_seen_at"],
    )
