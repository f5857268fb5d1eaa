"""Freshness knows since when it knows, and the gaps of its first day; replays what is ahead."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.db.migrate import raw_migration

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
    return raw_migration(ID, DESCRIPTION, STATEMENTS, UNDO)
