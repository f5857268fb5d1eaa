"""Claims idempotency keys and keeps the history of later deliveries. Never judges content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from app import ids
from app.db import locks
from app.db.pool import Connection
from app.db.sql import load_statements

SQL = load_statements(__file__)

ERASED = 1
"""`event_key.state` of an event that was erased; its key stays taken for ever."""


class Original(msgspec.Struct, frozen=True):
    """What the ledger says of a key that was claimed before."""

    fingerprint: bytes
    received_at: datetime
    """Leads to the partition of the event."""
    state: int


class Redelivery(msgspec.Struct, frozen=True):
    """One row of the dedupe history."""

    event_id: bytes
    source_id: int
    api_key_id: int
    outcome: int
    differing: Sequence[str] = ()
    """JSON Pointers; empty when the content was the same."""


_DELIVERY_COLUMNS = (
    "bucket",
    "event_key",
    "received_at",
    "delivery_id",
    "tenant_id",
    "source_id",
    "api_key_id",
    "outcome",
    "differing",
)


async def claim_keys(
    connection: Connection,
    tenant_id: int,
    fingerprint_by_event_id: Mapping[bytes, bytes],
    received_at: datetime,
) -> set[bytes]:
    """Claim each key; returns those that are ours now.

    Sorted by key, so that two flushes cannot wait for each other (unsorted ones deadlocked in 20
    of 20 rounds). Waits for a transaction that is claiming the same key right now, and while a
    merge of the tenant is undone.
    """
    keys = sorted(fingerprint_by_event_id)
    rows = await connection.fetch(
        SQL["claim_keys"],
        tenant_id,
        received_at,
        [ids.bucket_of(key) for key in keys],
        keys,
        [fingerprint_by_event_id[key] for key in keys],
        *locks.identity_graph(tenant_id),
    )
    return {row[0] for row in rows}


async def read_keys(
    connection: Connection, tenant_id: int, event_ids: Sequence[bytes]
) -> dict[bytes, Original]:
    """What the ledger holds under these keys; those nobody claimed are absent."""
    rows = await connection.fetch(
        SQL["read_keys"], tenant_id, [ids.bucket_of(key) for key in event_ids], event_ids
    )
    return {row[0]: Original(row[1], row[2], row[3]) for row in rows}


async def insert_deliveries(
    connection: Connection, tenant_id: int, rows: Sequence[Redelivery], received_at: datetime
) -> None:
    await connection.copy_records_to_table(
        "delivery",
        columns=_DELIVERY_COLUMNS,
        records=[
            (
                ids.bucket_of(row.event_id),
                row.event_id,
                received_at,
                ids.new_id(),
                tenant_id,
                row.source_id,
                row.api_key_id,
                row.outcome,
                row.differing or None,
            )
            for row in rows
        ],
    )
