"""Governance of event types: drafts, deprecation with a date and a note, what files last said."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.db.migrate import raw_migration

ID = "2026-11-24T10:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "drafts of event types, their deprecation, the registry's audit trail by subject"

# One statement an entry: a distributed Postgres takes one DDL statement at a time.
STATEMENTS = [
    # ── event types: what senders of a deprecated or retired one are told ──────────────────────
    "alter table event_type add column status_since timestamptz",
    "alter table event_type add column status_note text",
    # By when senders are asked to stop. Nothing retires by itself.
    "alter table event_type add column sunset_at timestamptz",
    # Owner, names and compatibility as files said them when they were last applied: the third side
    # of the comparison that tells a change of theirs from one made over the API.
    "alter table event_type add column settings_in_files jsonb",
    # Until now files were the only way.
    """
    update event_type
    set settings_in_files = jsonb_build_object('owner', owner, 'display_name', display_name,
            'description', description, 'compatibility', compatibility)
    """,
    # Why it was published; an incompatible version always has a reason.
    "alter table event_type_version add column reason text",
    # It broke with versions before it. Later ones are held against it and what follows it only:
    # one decision to break is enough.
    "alter table event_type_version add column forced bool not null default false",
    """
    update event_type_version v
    set forced = true, reason = c.reason
    from event_type t, registry_change c
    where t.id = v.event_type_id and c.tenant_id = v.tenant_id and c.action = 'version_forced'
      and c.subject = t.name || '/' || v.version
    """,
    # ── drafts: what may become a version; no number before that ───────────────────────────────
    """
    create table event_type_draft (
        id             bigint generated always as identity primary key,
        tenant_id      bigint not null references tenant,
        event_type_id  bigint not null references event_type,
        state          text not null default 'DRAFT'
                       check (state in ('DRAFT', 'IN_REVIEW', 'PUBLISHED', 'DISCARDED')),
        document       jsonb not null,
        summary        text,
        -- The newest version when it was written; 0 is none.
        based_on       int not null check (based_on >= 0),
        -- Public ids of all keys that wrote it, the first one first: none of them may force it.
        authors        text[] not null check (cardinality(authors) > 0),
        created_at     timestamptz not null,
        changed_at     timestamptz not null,
        -- Raised by all that decides what publishing it does: edits, its state, versions published
        -- beside it, what is said of its event type, marks of its properties.
        revision       bigint not null default 1,
        version_id     bigint references event_type_version,
        -- A draft that was published leads to its version, and no other does.
        check ((state = 'PUBLISHED') = (version_id is not null))
    )
    """,
    # An event type's drafts, newest first.
    "create index event_type_draft_type on event_type_draft (event_type_id, id)",
    # A tenant's drafts, newest first.
    "create index event_type_draft_tenant on event_type_draft (tenant_id, id)",
    # ── who still sends it, and who changed it ─────────────────────────────────────────────────
    # The sources that send one event type, without reading other types' counters.
    "create index ingest_stat_event_type on ingest_stat (tenant_id, event_type_id, minute)",
    # Everything that was ever done to one subject, and to what is below it.
    'create index registry_change_subject on registry_change (tenant_id, subject collate "C", id)',
]

UNDO = [
    "drop index registry_change_subject",
    "drop index ingest_stat_event_type",
    "drop table event_type_draft",
    "alter table event_type_version drop column forced, drop column reason",
    "alter table event_type drop column settings_in_files, drop column sunset_at,"
    " drop column status_note, drop column status_since",
]


async def forwards() -> MigrationManager:
    return raw_migration(ID, DESCRIPTION, STATEMENTS, UNDO)
