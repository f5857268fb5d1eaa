"""The first schema. Its rules (docs/scaling.md) let it run unchanged on a distributed Postgres."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.db.migrate import raw_migration

ID = "2026-11-23T09:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "tenants, registry, ledger, events, identities, quarantine, counters"

# One statement an entry: a distributed Postgres takes one DDL statement at a time.
STATEMENTS = [
    # ── reference tables: rarely written, foreign keys among them ──────────────────────────────
    """
    create table tenant (
        id                 bigint generated always as identity primary key,
        name               text not null unique check (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
        -- Keys every event id and fingerprint. Never rotated: losing it loses every dedupe promise.
        hash_key           bytea not null check (length(hash_key) = 32),
        created_at         timestamptz not null,
        quarantine_days    int not null default 30 check (quarantine_days between 1 and 3650),
        events_per_minute  int check (events_per_minute > 0),
        max_sources        int not null default 1000 check (max_sources > 0),
        -- Raised by every change of keys, sources and event types: workers poll them.
        access_revision    bigint not null default 1,
        registry_revision  bigint not null default 1
    )
    """,
    """
    create table api_key (
        id                 bigint generated always as identity primary key,
        tenant_id          bigint not null references tenant,
        public_id          text not null unique,
        name               text not null,
        -- SHA-256 of 160 random bits; the secret itself is shown once and kept nowhere.
        secret_hash        bytea not null check (length(secret_hash) = 32),
        scopes             text[] not null,
        sources            text[],
        event_types        text[],
        events_per_minute  int check (events_per_minute > 0),
        created_at         timestamptz not null,
        expires_at         timestamptz,
        revoked_at         timestamptz,
        replaced_by        bigint references api_key
    )
    """,
    "create index api_key_tenant on api_key (tenant_id, id)",
    """
    create table source (
        id                    bigint generated always as identity primary key,
        tenant_id             bigint not null references tenant,
        name                  text not null,
        status                text not null default 'ACTIVE' check (status in ('ACTIVE', 'DISABLED')),
        on_mismatch           text not null default 'CONFLICT' check (on_mismatch in ('CONFLICT', 'DUPLICATE')),
        default_phone_region  text check (default_phone_region ~ '^[A-Z]{2}$'),
        owner                 text,
        first_seen_at         timestamptz not null,
        unique (tenant_id, name)
    )
    """,
    """
    create table event_type (
        id                  bigint generated always as identity primary key,
        tenant_id           bigint not null references tenant,
        name                text not null,
        display_name        text,
        description         text,
        owner               text,
        status              text not null default 'ACTIVE' check (status in ('ACTIVE', 'DEPRECATED', 'RETIRED')),
        compatibility       text not null default 'BACKWARD_TRANSITIVE',
        created_at          timestamptz not null,
        revision            bigint not null default 1,
        unique (tenant_id, name)
    )
    """,
    """
    create table event_type_version (
        id              bigint generated always as identity primary key,
        tenant_id       bigint not null references tenant,
        event_type_id   bigint not null references event_type,
        version         int not null check (version > 0),
        document        jsonb not null,
        checksum        text not null,
        published_at    timestamptz not null,
        published_by    text not null,
        -- An older version is still accepted until then (grace after an incompatible change).
        accepted_until  timestamptz,
        unique (event_type_id, version)
    )
    """,
    """
    create table property (
        id             bigint generated always as identity primary key,
        tenant_id      bigint not null references tenant,
        event_type_id  bigint not null references event_type,
        version_id     bigint not null references event_type_version,
        path           text not null,
        types          text[] not null,
        required       bool not null,
        nullable       bool not null,
        segmentable    bool not null,
        pii            text not null,
        description    text,
        unique (version_id, path)
    )
    """,
    """
    create table registry_change (
        id           bigint generated always as identity primary key,
        tenant_id    bigint not null references tenant,
        changed_at   timestamptz not null,
        actor        text not null,
        action       text not null,
        subject      text not null,
        reason       text,
        before       jsonb,
        after        jsonb
    )
    """,
    "create index registry_change_tenant on registry_change (tenant_id, changed_at, id)",
    # ── the key ledger: for ever, never partitioned by time, survives retention and erasure ────
    """
    create table event_key (
        bucket       int not null,
        event_key    uuid not null,
        tenant_id    bigint not null,
        fingerprint  uuid not null,
        received_at  timestamptz not null,
        -- 0 the event is or was there; 1 it was erased
        state        smallint not null default 0,
        -- Exactly once: one row a (tenant, source, externalEventId), whatever races.
        primary key (bucket, event_key)
    )
    """,
    # ── events: by month of receipt; retention drops whole partitions ──────────────────────────
    """
    create table event (
        bucket             int not null,
        event_key          uuid not null,
        received_at        timestamptz not null,
        tenant_id          bigint not null,
        source_id          bigint not null,
        event_type_id      bigint not null,
        version_id         bigint not null,
        api_key_id         bigint not null,
        external_event_id  text not null,
        occurred_at        timestamptz not null,
        occurred_at_sent   bool not null,
        profile_id         uuid,
        size_bytes         int not null,
        identity           jsonb not null,
        properties         jsonb not null,
        warnings           jsonb,
        primary key (bucket, event_key, received_at)
    ) partition by range (received_at)
    """,
    # Newest first within a tenant, one bounded scan a page.
    "create index event_received on event (tenant_id, received_at, event_key)",
    # One type over time, for charts and segments.
    "create index event_type_occurred on event (tenant_id, event_type_id, occurred_at)",
    # One person's history.
    "create index event_profile on event (profile_id, occurred_at)",
    # Events that identity resolution has not reached: the way back if it ever fails.
    "create index event_unresolved on event (tenant_id, received_at) where profile_id is null",
    # ── dedupe history: each duplicate or conflicting delivery ────────────────────────────────
    """
    create table delivery (
        bucket       int not null,
        event_key    uuid not null,
        received_at  timestamptz not null,
        delivery_id  uuid not null,
        tenant_id    bigint not null,
        source_id    bigint not null,
        api_key_id   bigint not null,
        outcome      smallint not null,
        differing    text[],
        primary key (bucket, event_key, received_at, delivery_id)
    ) partition by range (received_at)
    """,
    "create index delivery_received on delivery (tenant_id, received_at, event_key)",
    # ── identities: links never move, merges are a union-find, events are never rewritten ──────
    """
    create table identifier (
        bucket          int not null,
        identifier_key  uuid not null,
        tenant_id       bigint not null,
        kind            smallint not null check (kind between 1 and 4),
        value           text not null,
        profile_id      uuid not null,
        source_id       bigint not null,
        event_key       uuid not null,
        first_seen_at   timestamptz not null,
        -- One normalised value of one kind belongs to one profile of its tenant.
        primary key (bucket, identifier_key)
    )
    """,
    "create index identifier_profile on identifier (profile_id)",
    """
    create table profile (
        bucket        int not null,
        profile_id    uuid not null,
        tenant_id     bigint not null,
        -- Itself, or the survivor that it was merged into; chains are one step long.
        root_id       uuid not null,
        created_at    timestamptz not null,
        -- Has an identifier stronger than a device.
        known         bool not null,
        -- The one EXTERNAL identifier a profile may have.
        external_key  uuid,
        primary key (bucket, profile_id)
    )
    """,
    "create index profile_root on profile (root_id) where root_id <> profile_id",
    "create index profile_tenant on profile (tenant_id, created_at, profile_id)",
    """
    create table profile_merge (
        bucket       int not null,
        merge_id     uuid not null,
        tenant_id    bigint not null,
        survivor_id  uuid not null,
        merged_id    uuid not null,
        merged_at    timestamptz not null,
        event_key    uuid not null,
        -- Both as they were before: known, external_key, aliases.
        image        jsonb not null,
        primary key (bucket, merge_id)
    )
    """,
    "create index profile_merge_survivor on profile_merge (survivor_id, merged_at)",
    """
    create table identity_conflict (
        bucket          int not null,
        conflict_key    uuid not null,
        tenant_id       bigint not null,
        kind            smallint not null,
        identifier_key  uuid not null,
        -- Where the identifier stays, and where the event went instead.
        owner_id        uuid not null,
        chosen_id       uuid not null,
        rule            text not null,
        event_key       uuid not null,
        first_seen_at   timestamptz not null,
        -- One row a pair, however often a shared tablet repeats it.
        primary key (bucket, conflict_key)
    )
    """,
    "create index identity_conflict_tenant on identity_conflict (tenant_id, first_seen_at, conflict_key)",
    # ── quarantine: what was refused, for as long as the tenant keeps it ───────────────────────
    """
    create table quarantine (
        bucket             int not null,
        quarantine_id      uuid not null,
        tenant_id          bigint not null,
        received_at        timestamptz not null,
        expires_at         timestamptz not null,
        api_key_id         bigint not null,
        source             text,
        external_event_id  text,
        event_type         text,
        error_code         text not null,
        reasons            jsonb not null,
        size_bytes         int not null,
        -- As sent; bytes, for it may be no JSON at all. Null when it was over the size limit.
        payload            bytea,
        primary key (bucket, quarantine_id)
    )
    """,
    "create index quarantine_received on quarantine (tenant_id, received_at, quarantine_id)",
    "create index quarantine_expires on quarantine (expires_at)",
    # ── counters: received = accepted + duplicate + conflict + rejected ────────────────────────
    """
    create table ingest_stat (
        bucket         int not null,
        tenant_id      bigint not null,
        minute         timestamptz not null,
        -- 0 stands for every name that is not registered, so nobody can blow the table up.
        source_id      bigint not null,
        event_type_id  bigint not null,
        outcome        smallint not null,
        reason         text not null,
        -- A small number a flush lane: flushes do not wait for one another's row.
        writer         smallint not null,
        events         bigint not null,
        bytes          bigint not null,
        primary key (bucket, tenant_id, minute, source_id, event_type_id, outcome, reason, writer)
    )
    """,
    # What each worker let through lately, so that rate limits hold across workers. A hint that
    # may be lost: unlogged.
    """
    create unlogged table rate_usage (
        subject    text not null,
        minute     bigint not null,
        writer     uuid not null,
        events     bigint not null,
        primary key (subject, minute, writer)
    )
    """,
]

_TABLES = [
    "rate_usage", "ingest_stat", "quarantine", "identity_conflict", "profile_merge", "profile",
    "identifier", "delivery", "event", "event_key", "registry_change", "property",
    "event_type_version", "event_type", "source", "api_key", "tenant",
]  # fmt: skip

UNDO = [f"drop table {table}" for table in _TABLES]


async def forwards() -> MigrationManager:
    return raw_migration(ID, DESCRIPTION, STATEMENTS, UNDO)
