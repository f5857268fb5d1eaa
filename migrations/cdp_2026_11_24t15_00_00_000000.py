"""Open quarantined items have an index of their own."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

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
    manager = MigrationManager(migration_id=ID, app_name="cdp", description=DESCRIPTION)

    async def up() -> None:
        from app.db.piccolo_conf import DB

        connection = DB.current_transaction.get().connection
        for statement in STATEMENTS:
            await connection.execute(statement)

    async def down() -> None:
        from app.db.piccolo_conf import DB

        connection = DB.current_transaction.get().connection
        for statement in UNDO:
            await connection.execute(statement)

    manager.add_raw(up)
    manager.add_raw_backwards(down)
    return manager
