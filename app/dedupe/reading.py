"""Finds what was delivered again, for people who ask. Never judges and never writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from app import ids
from app.db.pool import Connection
from app.db.scan import EVER, SCANNED_ROWS, Position, Window, cut, newest
from app.db.sql import load_statements

SQL = load_statements(__file__)


class StoredDelivery(msgspec.Struct, frozen=True):
    """One later delivery of a key: a duplicate or a conflict."""

    delivery_id: bytes
    event_id: bytes
    received_at: datetime
    outcome: int
    differing: Sequence[str]
    """JSON Pointers; empty when the content was the same."""
    source: str | None
    key_id: str | None
    key_name: str | None


class DeliveryPage(msgspec.Struct, frozen=True):
    deliveries: list[StoredDelivery]
    resume: Position | None


class Asked(NamedTuple):
    """Later deliveries of one key: `most` of them behind a position."""

    event_id: bytes
    after: Position
    """The original's time of receipt at the earliest."""
    most: int


async def find_delivery_page(
    connection: Connection,
    tenant_id: int,
    *,
    first: int,
    after: Position | None = None,
    received: Window = EVER,
    source_id: int | None = None,
    outcome: int | None = None,
) -> DeliveryPage:
    """Later deliveries of a tenant, newest first.

    A page may be short, or empty, and still be followed by another: it looks at SCANNED_ROWS.
    """
    rows = await connection.fetch(
        SQL["scan_deliveries"],
        tenant_id,
        received.start,
        *newest(received, after),
        SCANNED_ROWS,
        first + 1,
        source_id,
        outcome,
    )
    found = cut(rows, first, SCANNED_ROWS)
    return DeliveryPage([_delivery(row) for row in found.rows], found.resume)


async def read_histories(
    connection: Connection, tenant_id: int, asked: Sequence[Asked]
) -> list[list[StoredDelivery]]:
    """Later deliveries of each key, oldest first, in the order of `asked`.

    cost  1 statement, whatever their number
    """
    rows = await connection.fetch(
        SQL["read_history"],
        tenant_id,
        [ids.bucket_of(one.event_id) for one in asked],
        [one.event_id for one in asked],
        [one.after.at for one in asked],
        [one.after.key for one in asked],
        [one.most for one in asked],
    )
    histories: list[list[StoredDelivery]] = [[] for _ in asked]
    for row in rows:
        histories[row["place"] - 1].append(_delivery(row))
    return histories


def _delivery(row: Any) -> StoredDelivery:
    return StoredDelivery(
        delivery_id=row["key"],
        event_id=row["event_key"],
        received_at=row["at"],
        outcome=row["outcome"],
        differing=row["differing"] or (),
        source=row["source"],
        key_id=row["key_id"],
        key_name=row["key_name"],
    )
