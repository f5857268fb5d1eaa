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

BEFORE_ALL = b"\xff" * ids.ID_BYTES


class NewItem(msgspec.Struct, frozen=True):
    api_key_id: int
    error_code: str
    reasons: Sequence[Violation]
    size_bytes: int
    payload: bytes | None
    source: str | None
    external_event_id: str | None
    event_type: str | None


class Item(msgspec.Struct, frozen=True):
    """One rejected item as it is kept."""

    quarantine_id: bytes
    received_at: datetime
    source: str | None
    external_event_id: str | None
    event_type: str | None
    error_code: str
    reasons: list[Violation]
    size_bytes: int
    payload: bytes | None


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


async def list_items(
    connection: Connection,
    tenant_id: int,
    *,
    before: tuple[datetime, bytes],
    source: str | None = None,
    event_type: str | None = None,
    limit: int = 50,
) -> list[Item]:
    """One page, newest first. before: (received_at, id) of the last row of the page before."""
    rows = await connection.fetch(SQL["list_items"], tenant_id, *before, source, event_type, limit)
    return [
        Item(
            quarantine_id=row["quarantine_id"],
            received_at=row["received_at"],
            source=row["source"],
            external_event_id=row["external_event_id"],
            event_type=row["event_type"],
            error_code=row["error_code"],
            reasons=msgspec.json.decode(row["reasons"], type=list[Violation]),
            size_bytes=row["size_bytes"],
            payload=row["payload"],
        )
        for row in rows
    ]


async def delete_expired(connection: Connection, now: datetime, limit: int) -> int:
    """Delete up to `limit` items past their time; returns how many."""
    return int((await connection.execute(SQL["delete_expired"], now, limit)).split()[-1])
