"""Index of marked properties' values: a value's events in the whole order of a list."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.db.migrate import raw_migration

ID = "2026-11-24T17:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "values of marked properties are lists that are newest first"

# One statement an entry: a distributed Postgres takes one DDL statement at a time. Each mark has a
# table of its own; segment_value_0 stands for all of them.
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
    return raw_migration(ID, DESCRIPTION, STATEMENTS, UNDO)
