"""Indexes of the read side: each list's index is in the list's whole order, ties included."""

from __future__ import annotations

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.db.migrate import raw_migration

ID = "2026-11-24T13:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "indexes of the read side"

# One statement an entry: a distributed Postgres takes one DDL statement at a time.
STATEMENTS = [
    # One type by occurrence, whatever occurred at one instant: an import of a million events
    # dated by day only would be sorted anew for each page.
    "drop index event_type_occurred",
    "create index event_type_occurred on event (tenant_id, event_type_id, occurred_at, event_key)",
    # Later deliveries, newest first. By the delivery's own id: a batch can deliver one key often.
    "drop index delivery_received",
    "create index delivery_received on delivery (tenant_id, received_at, delivery_id)",
    # The clashes of one person, from either side.
    "create index identity_conflict_owner on identity_conflict (owner_id, first_seen_at)",
    "create index identity_conflict_chosen on identity_conflict (chosen_id, first_seen_at)",
]

UNDO = [
    "drop index identity_conflict_chosen",
    "drop index identity_conflict_owner",
    "drop index delivery_received",
    "create index delivery_received on delivery (tenant_id, received_at, event_key)",
    "drop index event_type_occurred",
    "create index event_type_occurred on event (tenant_id, event_type_id, occurred_at)",
]


async def forwards() -> MigrationManager:
    return raw_migration(ID, DESCRIPTION, STATEMENTS, UNDO)
