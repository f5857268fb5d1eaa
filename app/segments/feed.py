"""Values of new events, written in the transaction of the events themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from app.db.pool import Connection
from app.ids import bucket_of
from app.segments import queries
from app.segments.marks import Mark
from app.segments.queries import ValueRow
from app.segments.values import decode_stored, values_of


class FedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of a type that has marks."""

    event_key: bytes
    event_type_id: int
    profile_id: bytes
    occurred_at: datetime
    properties: bytes
    """As stored."""


async def feed(
    connection: Connection,
    marks: Mapping[int, Sequence[Mark]],
    events: Iterable[FedEvent],
    received_at: datetime,
) -> None:
    """Write the values of events that are in this very transaction, and in no other.

    marks  by event type
    cost   one COPY for each mark that these events have values of
    """
    rows: dict[int, list[ValueRow]] = {}
    for event in events:
        key = event.event_key
        head = (bucket_of(key), received_at, key, event.profile_id, event.occurred_at)
        properties = decode_stored(event.properties)
        for mark in marks[event.event_type_id]:
            sent = properties.get(mark.name)
            for value in () if sent is None else values_of(mark, sent):
                rows.setdefault(mark.mark_id, []).append((*head, value))
    for mark_id in sorted(rows):
        await queries.insert_values(connection, mark_id, rows[mark_id])
