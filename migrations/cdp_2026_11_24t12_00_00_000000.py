"""Impact runs: what publishing a document would change, judged against what was really sent."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.db.migrate import raw_migration

ID = "2026-11-24T12:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "impact of a document before it is published"

# One statement an entry: a distributed Postgres takes one DDL statement at a time.
STATEMENTS = [
    """
    create table impact_run (
        run_id         uuid primary key,
        tenant_id      bigint not null references tenant,
        event_type     text not null,
        -- Null while nothing of that name is published: there are no events then.
        event_type_id  bigint references event_type,
        -- What accepted its events when this was asked for: the current version, then those in
        -- grace. They are immutable, so the figures do not depend on what is published meanwhile.
        version_ids    bigint[] not null,
        document       jsonb not null,
        -- No limit when null.
        last_days      int check (last_days > 0),
        -- Of the events, and of the quarantined items, the newest so many.
        max_events     int not null check (max_events > 0),
        requested_by   text not null,
        requested_at   timestamptz not null,
        state          text not null default 'QUEUED'
                       check (state in ('QUEUED', 'RUNNING', 'DONE', 'CANCELLED', 'FAILED')),
        stage          text not null default 'EVENTS' check (stage in ('EVENTS', 'QUARANTINE')),
        -- The last row of the stage that is in the result.
        cursor_at      timestamptz not null,
        cursor_id      uuid not null,
        -- How many rows there are to judge; null until they are counted.
        total          int check (total >= 0),
        result         jsonb not null,
        -- Before then the batch under way is somebody's. Each claim has another value, so what is
        -- written under a claim that was lost is not written.
        claimed_until  timestamptz not null,
        -- Claims in a row that led to nothing.
        attempts       int not null default 0,
        finished_at    timestamptz,
        -- Whatever has ended says when.
        check ((state in ('QUEUED', 'RUNNING')) = (finished_at is null))
    )
    """,
    # The next turn is found without a look at runs that have ended.
    "create index impact_run_unfinished on impact_run (claimed_until) where finished_at is null",
    # One event type's runs, newest first.
    "create index impact_run_type on impact_run (tenant_id, event_type, requested_at, run_id)",
    # How many a tenant has under way, without a look at those that have ended.
    "create index impact_run_active on impact_run (tenant_id) where finished_at is null",
    # Old runs are deleted without a look at the others.
    "create index impact_run_requested on impact_run (requested_at)",
    # What was refused of one event type, newest first, one bounded scan a batch.
    "create index quarantine_type_received on quarantine (tenant_id, event_type, received_at, quarantine_id)",
]

UNDO = ["drop index quarantine_type_received", "drop table impact_run"]


async def forwards() -> MigrationManager:
    return raw_migration(ID, DESCRIPTION, STATEMENTS, UNDO)
