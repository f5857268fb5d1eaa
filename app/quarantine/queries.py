"""Keeps what was refused, and why. Never judges."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from app import ids
from app.db.pool import Connection
from app.db.sql import load_statements
from app.errors import Violation

SQL = load_statements(__file__)

_COLUMNS = (
    "bucket",
    "quarantine_id",
    "tenant_id",
    "received_at",
    "expires_at",
    "api_key_id",
    "source",
    "external_event_id",
    "event_type",
    "error_code",
    "reasons",
    "size_bytes",
    "payload",
)


class NewItem(msgspec.Struct, frozen=True):
    api_key_id: int
    error_code: str
    reasons: Sequence[Violation]
    size_bytes: int
    payload: bytes | None
    source: str | None
    external_event_id: str | None
    event_type: str | None


async def insert_items(
    connection: Connection,
    tenant_id: int,
    items: Sequence[NewItem],
    received_at: datetime,
    keep_days: int,
) -> None:
    records = []
    for item in items:
        new_id = ids.new_id()
        records.append(
            (
                ids.bucket_of(new_id),
                new_id,
                tenant_id,
                received_at,
                received_at + timedelta(days=keep_days),
                item.api_key_id,
                item.source,
                item.external_event_id,
                item.event_type,
                item.error_code,
                msgspec.json.encode(item.reasons),
                item.size_bytes,
                item.payload,
            )
        )
    await connection.copy_records_to_table("quarantine", columns=_COLUMNS, records=records)


async def delete_expired(connection: Connection, now: datetime, limit: int) -> int:
    """Delete up to `limit` items past their time; returns how many."""
    return int((await connection.execute(SQL["delete_expired"], now, limit)).split()[-1])
