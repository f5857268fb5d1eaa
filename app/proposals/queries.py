"""Reads what proposals are made from. Never decodes it."""

from __future__ import annotations

from app.db.pool import Connection
from app.db.sql import load_statements

SQL = load_statements(__file__)

MAX_ROWS = 5_000
"""Looked at, of quarantine and of events."""
MAX_SAMPLES = 1_000
MAX_SAMPLE_BYTES = 1 << 20
"""A tenth of a second of inference; one second if it is nothing but different names (measured)."""
MAX_STRIPPED = 1_000


async def read_rejected(
    connection: Connection, tenant_id: int, event_type: str, reason: str
) -> list[bytes]:
    """Payloads as sent. reason: a key of errors.REASONS."""
    rows = await connection.fetch(
        SQL["read_rejected"],
        tenant_id,
        event_type,
        reason,
        MAX_ROWS,
        MAX_SAMPLES,
        MAX_SAMPLE_BYTES,
    )
    return [row["payload"] for row in rows]


async def read_stripped(
    connection: Connection, tenant_id: int, event_type_id: int
) -> dict[str, int]:
    """JSON Pointer into an event → how many of the newest events had that property left out."""
    rows = await connection.fetch(
        SQL["read_stripped"], tenant_id, event_type_id, MAX_ROWS, MAX_STRIPPED
    )
    return {row["path"]: row["events"] for row in rows}
