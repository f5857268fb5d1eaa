"""Counts outcomes, in the transaction that makes them. Never estimates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

import msgspec

from app.db.pool import Connection
from app.db.sql import load_statements

SQL = load_statements(__file__)

UNREGISTERED = 0
"""Source and event type id of every name that is not registered."""


class OutcomeKind(IntEnum):
    """`outcome` in ingest_stat and delivery."""

    ACCEPTED = 1
    DUPLICATE = 2
    CONFLICT = 3
    REJECTED = 4


class CountKey(NamedTuple):
    source_id: int
    event_type_id: int
    outcome: OutcomeKind
    reason: str
    """The first violation's code of a rejected item, else ""."""


class Reconciliation(msgspec.Struct, frozen=True):
    """Counters against rows. All is well when `balanced`."""

    received: int
    accepted: int
    duplicate: int
    conflict: int
    rejected: int
    event_rows: int
    key_rows: int
    delivery_rows: int
    quarantine_rows: int

    @property
    def balanced(self) -> bool:
        return (
            self.received == self.accepted + self.duplicate + self.conflict + self.rejected
            and self.accepted == self.event_rows == self.key_rows
            and self.duplicate + self.conflict == self.delivery_rows
            and self.rejected == self.quarantine_rows
        )


async def add_counts(
    connection: Connection,
    tenant_id: int,
    counts: Mapping[CountKey, tuple[int, int]],
    received_at: datetime,
    writer: int,
) -> None:
    """Add (events, bytes) to the minute's counters. Rows are locked in a fixed order."""
    keys = sorted(counts)
    await connection.execute(
        SQL["add_counts"],
        tenant_id,
        received_at.replace(second=0, microsecond=0),
        writer,
        [key.source_id for key in keys],
        [key.event_type_id for key in keys],
        [key.outcome for key in keys],
        [key.reason for key in keys],
        [counts[key][0] for key in keys],
        [counts[key][1] for key in keys],
    )


async def read_reconciliation(
    connection: Connection, tenant_id: int, start: datetime, end: datetime
) -> Reconciliation:
    """The proof that nothing was lost or counted twice between two whole minutes.

    Holds while nothing was dropped: retention removes event rows, a TTL quarantine rows.
    """
    row = await connection.fetchrow(SQL["read_reconciliation"], tenant_id, start, end)
    return msgspec.convert(dict(row or {}), Reconciliation)
