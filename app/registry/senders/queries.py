"""Who still sends event types: sources from the counters, their keys from the newest rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from app.db.pool import Connection
from app.db.sql import load_statements

SQL = load_statements(__file__)


class SendingKey(msgspec.Struct, frozen=True):
    public_id: str
    name: str
    last_seen: datetime


class SendingSource(msgspec.Struct, frozen=True):
    name: str
    events: int
    """Deliveries of the event type, whatever became of them."""
    last_minute: datetime
    keys: list[SendingKey]
    """The latest first. A key that sends rarely, beside others that send much, can be missing."""


async def read_senders(
    connection: Connection,
    tenant_id: int,
    event_type_ids: Sequence[int],
    *,
    since: datetime,
    max_sources: int,
    sample: int,
) -> dict[int, list[SendingSource]]:
    """By event type, the busiest source first; complete but for max_sources.

    sample  of each event type's newest events, and of the tenant's newest rejected items, so many
            are looked at for their keys
    cost    2 statements, whatever the number of event types
    """
    keys: dict[tuple[int, str], list[SendingKey]] = {}
    for row in await connection.fetch(
        SQL["read_sending_keys"], tenant_id, event_type_ids, since, sample
    ):
        event_type_id, source, *key = row
        keys.setdefault((event_type_id, source), []).append(SendingKey(*key))
    found: dict[int, list[SendingSource]] = {}
    for row in await connection.fetch(
        SQL["read_sending_sources"], tenant_id, event_type_ids, since, max_sources
    ):
        event_type_id, name, events, last_minute = row
        found.setdefault(event_type_id, []).append(
            SendingSource(name, events, last_minute, keys.get((event_type_id, name), []))
        )
    return found
