"""Index of marked properties' values: a value's events in the whole order of a list."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

ID = "2026-11-24T17:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "values of marked properties are lists that are newest first"

MARKS = "select id from segment_property order by id"

# One statement an entry: a distributed Postgres takes one DDL statement at a time. Each mark has a
# table of its own; segment_value_0 stands for it.
STATEMENTS = [
    "drop index segment_value_0_value",
    # Events with a value, newest first, whatever occurred at one instant: a day's events of a
    # sender that knows days only would be sorted anew for each page.
    """
    create index segment_value_0_value on segment_value_0 (value, occurred_at, event_key)
    include (profile_id)
    """,
]

UNDO = [
    "drop index segment_value_0_value",
    """
    create index segment_value_0_value on segment_value_0 (value, occurred_at)
    include (profile_id)
    """,
]


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="cdp", description=DESCRIPTION)

    async def on_every_mark(statements: list[str]) -> None:
        from app.db.piccolo_conf import DB

        connection = DB.current_transaction.get().connection
        for row in await connection.fetch(MARKS):
            for statement in statements:
                await connection.execute(
                    statement.replace("segment_value_0", f"segment_value_{row['id']:d}")
                )

    async def up() -> None:
        await on_every_mark(STATEMENTS)

    async def down() -> None:
        await on_every_mark(UNDO)

    manager.add_raw(up)
    manager.add_raw_backwards(down)
    return manager
