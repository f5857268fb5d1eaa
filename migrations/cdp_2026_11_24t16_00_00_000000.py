"""Merges can be undone, and what was separated stays apart."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.db.migrate import raw_migration

ID = "2026-11-24T16:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "unmerging profiles"

# One statement an entry: a distributed Postgres takes one DDL statement at a time.
STATEMENTS = [
    """
    alter table profile
        -- Separations that were said about this profile, alone or as part of a person.
        add column set_apart uuid[],
        -- Of a root: those of all its members. Whoever has the other side of one may not join.
        add column apart uuid[]
    """,
    """
    alter table profile_merge
        -- Null while the merge stands.
        add column undone_at timestamptz,
        add column undone_by text
    """,
    # Where a merged profile went: its one merge that stands.
    "create index profile_merge_standing on profile_merge (merged_id) where undone_at is null",
]

UNDO = [
    "drop index profile_merge_standing",
    "alter table profile_merge drop column undone_at, drop column undone_by",
    "alter table profile drop column set_apart, drop column apart",
]


async def forwards() -> MigrationManager:
    return raw_migration(ID, DESCRIPTION, STATEMENTS, UNDO)
