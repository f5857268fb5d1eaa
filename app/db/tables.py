"""Piccolo's view of the tables that people manage: tenants, keys, sources and the registry.

What the hot path writes (ledger, events, identities, counters) is spoken to in set-based SQL in
the `queries.sql` of its domain, never through these classes. A test holds both against the
migrated database.
"""

from __future__ import annotations

from piccolo.columns import (
    JSONB,
    Array,
    BigInt,
    BigSerial,
    Boolean,
    Bytea,
    ForeignKey,
    Integer,
    Text,
    Timestamptz,
)
from piccolo.table import Table

from app.db.piccolo_conf import DB


class Tenant(Table, tablename="tenant", db=DB):
    id = BigSerial(primary_key=True)
    name = Text()
    hash_key = Bytea()
    created_at = Timestamptz()
    quarantine_days = Integer(default=30)
    events_per_minute = Integer(null=True, default=None)
    max_sources = Integer(default=1000)
    access_revision = BigInt(default=1)
    registry_revision = BigInt(default=1)


class ApiKey(Table, tablename="api_key", db=DB):
    id = BigSerial(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False)
    public_id = Text()
    name = Text()
    secret_hash = Bytea()
    scopes = Array(base_column=Text())
    sources = Array(base_column=Text(), null=True, default=None)
    event_types = Array(base_column=Text(), null=True, default=None)
    events_per_minute = Integer(null=True, default=None)
    created_at = Timestamptz()
    expires_at = Timestamptz(null=True, default=None)
    revoked_at = Timestamptz(null=True, default=None)
    replaced_by = BigInt(null=True, default=None)


class Source(Table, tablename="source", db=DB):
    id = BigSerial(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False)
    name = Text()
    status = Text(default="ACTIVE")
    on_mismatch = Text(default="CONFLICT")
    default_phone_region = Text(null=True, default=None)
    owner = Text(null=True, default=None)
    first_seen_at = Timestamptz()


class EventType(Table, tablename="event_type", db=DB):
    id = BigSerial(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False)
    name = Text()
    display_name = Text(null=True, default=None)
    description = Text(null=True, default=None)
    owner = Text(null=True, default=None)
    status = Text(default="ACTIVE")
    status_since = Timestamptz(null=True, default=None)
    status_note = Text(null=True, default=None)
    sunset_at = Timestamptz(null=True, default=None)
    compatibility = Text(default="BACKWARD_TRANSITIVE")
    settings_in_files = JSONB(null=True, default=None)
    created_at = Timestamptz()
    revision = BigInt(default=1)


class EventTypeVersion(Table, tablename="event_type_version", db=DB):
    id = BigSerial(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False)
    event_type_id = ForeignKey(EventType, null=False)
    version = Integer()
    document = JSONB()
    checksum = Text()
    published_at = Timestamptz()
    published_by = Text()
    reason = Text(null=True, default=None)
    forced = Boolean(default=False)
    accepted_until = Timestamptz(null=True, default=None)


class EventTypeDraft(Table, tablename="event_type_draft", db=DB):
    id = BigSerial(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False)
    event_type_id = ForeignKey(EventType, null=False)
    state = Text(default="DRAFT")
    document = JSONB()
    summary = Text(null=True, default=None)
    based_on = Integer()
    authors = Array(base_column=Text())
    created_at = Timestamptz()
    changed_at = Timestamptz()
    revision = BigInt(default=1)
    version_id = ForeignKey(EventTypeVersion, null=True)


class Property(Table, tablename="property", db=DB):
    id = BigSerial(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False)
    event_type_id = ForeignKey(EventType, null=False)
    version_id = ForeignKey(EventTypeVersion, null=False)
    path = Text()
    types = Array(base_column=Text())
    required = Boolean()
    nullable = Boolean()
    segmentable = Boolean()
    pii = Text()
    description = Text(null=True, default=None)


class RegistryChange(Table, tablename="registry_change", db=DB):
    id = BigSerial(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False)
    changed_at = Timestamptz()
    actor = Text()
    action = Text()
    subject = Text()
    reason = Text(null=True, default=None)
    before = JSONB(null=True, default=None)
    after = JSONB(null=True, default=None)
