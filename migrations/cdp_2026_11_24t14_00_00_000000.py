"""Roll-ups of the counters, freshness, and what became of quarantined items."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.db.migrate import raw_migration

ID = "2026-11-24T14:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "roll-ups by hour and day, freshness, replay and discarding of quarantine"

# One statement an entry: a distributed Postgres takes one DDL statement at a time.
STATEMENTS = [
    # ── roll-ups: made again from ingest_stat at any time, never written by a flush ────────────
    """
    create table ingest_stat_hour (
        bucket         int not null,
        tenant_id      bigint not null,
        -- -1 is the sum over all: a chart of totals must not read every source and type.
        source_id      bigint not null,
        event_type_id  bigint not null,
        hour           timestamptz not null,
        outcome        smallint not null,
        reason         text not null,
        events         bigint not null,
        -- The same by quarter of an hour: hours of Kolkata and Kathmandu begin there.
        quarters       bigint[] not null check (cardinality(quarters) = 4),
        -- One series is one range of the key, and nothing but the key is read: its rows lie an hour's
        -- worth of all others apart.
        primary key (bucket, tenant_id, source_id, event_type_id, hour, outcome, reason)
            include (events, quarters)
    ) with (
        -- Reading the key alone needs vacuumed pages; in proportion to a year they would come late.
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000,
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000
    )
    """,
    # A day is summed up from its hours without reading others.
    "create index ingest_stat_hour_time on ingest_stat_hour (tenant_id, hour)",
    """
    create table ingest_stat_day (
        bucket         int not null,
        tenant_id      bigint not null,
        source_id      bigint not null,
        event_type_id  bigint not null,
        -- Midnight UTC.
        day            timestamptz not null,
        outcome        smallint not null,
        reason         text not null,
        events         bigint not null,
        primary key (bucket, tenant_id, source_id, event_type_id, day, outcome, reason)
    )
    """,
    """
    create table ingest_stat_progress (
        bucket        int not null,
        tenant_id     bigint not null,
        -- Minutes before are in ingest_stat_hour, those from here on are added when it is read.
        rolled_until  timestamptz not null,
        days_until    timestamptz not null check (days_until <= rolled_until),
        primary key (bucket, tenant_id)
    )
    """,
    """
    create table ingest_freshness (
        bucket             int not null,
        tenant_id          bigint not null,
        source_id          bigint not null,
        event_type_id      bigint not null,
        last_minute        timestamptz not null,
        -- Null until there were gaps enough to call one usual.
        usual_gap_seconds  int check (usual_gap_seconds > 0),
        gap_noted_at       timestamptz not null default '-infinity',
        primary key (bucket, tenant_id, source_id, event_type_id)
    )
    """,
    # Gaps that are due are found without looking at the others.
    "create index ingest_freshness_gap on ingest_freshness (gap_noted_at)",
    # ── quarantine: what to group by, and what became of an item ───────────────────────────────
    """
    alter table quarantine
        add column reason text generated always as (reasons -> 0 ->> 'code') stored,
        add column path text generated always as (reasons -> 0 ->> 'path') stored,
        -- 1 accepted, 2 duplicate, 3 conflict: what its replay was answered. 4 discarded. Null: open.
        -- Never deleted for it: the item was received and rejected, and is counted so.
        add column resolution smallint check (resolution between 1 and 4),
        add column resolved_at timestamptz,
        add column event_key uuid,
        add constraint quarantine_resolved check ((resolution is null) = (resolved_at is null))
    """,
    """
    create table quarantine_replay (
        replay_id    uuid primary key,
        tenant_id    bigint not null references tenant,
        -- The key that asked; its limits are the replay's.
        public_id    text not null,
        -- JSON of app.quarantine.filter.Filter.
        filter       jsonb not null,
        dry_run      bool not null,
        state        text not null check (state in ('RUNNING', 'DONE', 'STOPPED')),
        reason       text,
        started_at   timestamptz not null,
        finished_at  timestamptz,
        -- Items are taken oldest first; the next step begins behind these.
        after_at     timestamptz not null,
        after_id     uuid not null,
        scanned      bigint not null default 0,
        accepted     bigint not null default 0,
        duplicate    bigint not null default 0,
        conflict     bigint not null default 0,
        rejected     bigint not null default 0,
        failed       bigint not null default 0,
        check ((state = 'RUNNING') = (finished_at is null))
    )
    """,
    "create index quarantine_replay_tenant on quarantine_replay (tenant_id, started_at, replay_id)",
    # One at a time in a tenant; and what is under way is found without reading what was.
    "create unique index quarantine_replay_running on quarantine_replay (tenant_id) where state = 'RUNNING'",
]  # fmt: skip

UNDO = [
    "drop table quarantine_replay",
    """
    alter table quarantine
        drop constraint quarantine_resolved,
        drop column event_key,
        drop column resolved_at,
        drop column resolution,
        drop column path,
        drop column reason
    """,
    "drop table ingest_freshness",
    "drop table ingest_stat_progress",
    "drop table ingest_stat_day",
    "drop table ingest_stat_hour",
]


async def forwards() -> MigrationManager:
    return raw_migration(ID, DESCRIPTION, STATEMENTS, UNDO)
