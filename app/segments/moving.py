"""Puts values on the profile that their events are put on, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from app.db.pool import Connection
from app.segments import queries


async def move_values(
    connection: Connection,
    tenant_id: int,
    events: Mapping[int, Sequence[tuple[datetime, bytes]]],
    profile_id: bytes,
) -> None:
    """Move what is kept of some events; the caller holds the identity graph.

    events  (received_at, event_key) by event type
    cost    one statement for each mark, one look-up for each event and mark
    """
    for mark in await queries.read_marks(connection, tenant_id):
        if moved := events.get(mark.event_type_id):
            await connection.execute(
                queries.on_values("move_values", mark.mark_id),
                [received_at for received_at, _ in moved],
                [key for _, key in moved],
                profile_id,
            )
