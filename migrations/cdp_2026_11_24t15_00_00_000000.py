"""Open quarantined items have an index of their own."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.db.migrate import raw_migration

ID = "2026-11-24T15:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "index of open quarantined items"

# One statement an entry: a distributed Postgres takes one DDL statement at a time.
STATEMENTS = [
    # Open items are found without reading those that were replayed or discarded.
    "create index quarantine_open on quarantine (tenant_id, received_at, quarantine_id) where resolution is null",
]  # fmt: skip

UNDO = ["drop index quarantine_open"]


async def forwards() -> MigrationManager:
    return raw_migration(ID, DESCRIPTION, STATEMENTS, UNDO)
