"""Reads what was committed lately. Never waits for more, and never decides what is new."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple

from app import ids
from app.db.pool import Connection
from app.db.scan import Position
from app.db.sql import load_statements
from app.live.outcome import Outcome
from app.stats.queries import OutcomeKind

SQL = load_statements(__file__)


class Place(IntEnum):
    """The table that has an outcome."""

    EVENT = 1
    DELIVERY = 2
    QUARANTINE = 3


class Committed(NamedTuple):
    """One outcome, by its key."""

    at: datetime
    key: bytes
    place: int


async def scan_outcomes(
    connection: Connection, tenant_id: int, after: Position, limit: int
) -> list[Committed]:
    """The next outcomes behind a position, oldest first."""
    rows = await connection.fetch(SQL["scan_outcomes"], tenant_id, *after, limit)
    return [Committed(*row) for row in rows]


async def read_outcomes(
    connection: Connection, tenant_id: int, committed: Sequence[Committed]
) -> list[Outcome]:
    """The outcomes behind keys, in their order; those that are gone by now are left out.

    cost  1 statement for each table that has some
    """
    keys: dict[int, list[bytes]] = {place: [] for place in Place}
    times: dict[int, list[datetime]] = {place: [] for place in Place}
    for one in committed:
        keys[one.place].append(one.key)
        times[one.place].append(one.at)
    found: dict[bytes, Outcome] = {}
    if accepted := keys[Place.EVENT]:
        buckets = [ids.bucket_of(key) for key in accepted]
        for row in await connection.fetch(
            SQL["read_accepted"], tenant_id, buckets, accepted, times[Place.EVENT]
        ):
            found[row["key"]] = _outcome(row, kind=OutcomeKind.ACCEPTED, event_id=row["key"])
    if redelivered := keys[Place.DELIVERY]:
        for row in await connection.fetch(
            SQL["read_redelivered"], tenant_id, redelivered, times[Place.DELIVERY]
        ):
            found[row["key"]] = _outcome(
                row,
                kind=OutcomeKind(row["outcome"]),
                event_id=row["event_key"],
                differing=row["differing"] or (),
            )
    if rejected := keys[Place.QUARANTINE]:
        buckets = [ids.bucket_of(key) for key in rejected]
        for row in await connection.fetch(SQL["read_rejected"], tenant_id, buckets, rejected):
            found[row["key"]] = _outcome(
                row,
                kind=OutcomeKind.REJECTED,
                quarantine_id=row["key"],
                error_code=row["error_code"],
                reasons=row["reasons"],
            )
    return [found[one.key] for one in committed if one.key in found]


def _outcome(row: Any, **of_its_kind: Any) -> Outcome:
    return Outcome(
        received_at=row["received_at"],
        source=row["source"],
        event_type=row["event_type"],
        external_event_id=row["external_event_id"],
        key_id=row["key_id"],
        key_name=row["key_name"],
        **of_its_kind,
    )
