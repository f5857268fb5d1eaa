"""Segmentable properties: which are marked. Their values have a table a mark, made when marked."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.db.migrate import raw_migration

ID = "2026-11-24T11:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "segmentable properties and the way from a merged profile to its survivor"

# One statement an entry: a distributed Postgres takes one DDL statement at a time.
STATEMENTS = [
    # ── a reference table: rarely written ──────────────────────────────────────────────────────
    """
    create table segment_property (
        id              bigint generated always as identity primary key,
        tenant_id       bigint not null references tenant,
        event_type_id   bigint not null references event_type,
        -- JSON Pointer into an event's properties, and the one name in it.
        path            text not null,
        name            text not null,
        value_type      text not null check (value_type in ('TEXT', 'NUMBER', 'BOOLEAN', 'TIMESTAMP')),
        is_array        bool not null,
        pii             text not null,
        state           text not null default 'BUILDING' check (state in ('BUILDING', 'READY', 'DROPPING')),
        created_at      timestamptz not null,
        created_by      text not null,
        ready_at        timestamptz,
        -- From then on every flush knows of the state; null until a job has seen it committed.
        known_at        timestamptz,
        -- How far the backfill has come: the last event it looked at, in the order of receipt.
        cursor_at       timestamptz,
        cursor_key      uuid,
        -- The job comes back to it then; of several the one that waited longest is next.
        next_at         timestamptz not null,
        events_scanned  bigint not null default 0,
        events_total    bigint,
        values_written  bigint not null default 0,
        -- The share of the type's latest events that carry the property.
        coverage        float8 check (coverage between 0 and 1),
        measured_at     timestamptz
    )
    """,
    # One live mark a property; an unmarked one may wait for its storage to go beside it.
    """
    create unique index segment_property_live on segment_property (tenant_id, event_type_id, path)
    where state <> 'DROPPING'
    """,
    # ── who is who: few profiles are ever merged, and all of them are here ─────────────────────
    """
    create index profile_merged on profile (tenant_id, profile_id) include (root_id)
    where root_id <> profile_id
    """,
]

UNDO = [
    "drop table if exists segment_value_0",
    "drop index profile_merged",
    "drop table segment_property",
]


async def forwards() -> MigrationManager:
    return raw_migration(ID, DESCRIPTION, STATEMENTS, UNDO)
