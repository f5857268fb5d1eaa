"""Freshness knows since when it knows, and the gaps of its first day; replays what is ahead."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

ID = "2026-11-24T18:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "freshness: known since when, and longest gap; how much a replay has ahead"

# One statement an entry: a distributed Postgres takes one DDL statement at a time.
STATEMENTS = [
    """
    alter table ingest_freshness
        -- The first minute with events after a fortnight or more without. What was there before
        -- this column is taken for old until its usual gap is noted again.
        add column known_since timestamptz not null default '-infinity',
        -- Between minutes with events since then; null while there was one such minute only.
        add column longest_gap_seconds int check (longest_gap_seconds > 0)
    """,
    # So that it soon is: a few pairs a turn.
    "update ingest_freshness set gap_noted_at = '-infinity'",
    # Null: was not counted.
    "alter table quarantine_replay add column total bigint check (total >= 0)",
]

UNDO = [
    "alter table quarantine_replay drop column total",
    """
    alter table ingest_freshness
        drop column longest_gap_seconds,
        drop column known_since
    """,
]


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
