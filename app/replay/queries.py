"""Replays as they are kept: asked for, claimed for a step, advanced, finished. Never delivers."""

from __future__ import annotations

from datetime import datetime

import msgspec

from app import ids
from app.db.pool import Connection
from app.db.scan import Position, Window
from app.db.sql import load_statements
from app.quarantine.filter import Filter

SQL = load_statements(__file__)

RUNNING, DONE, STOPPED = "RUNNING", "DONE", "STOPPED"
MAX_COUNTED = 1_000_000
"""Items that are counted before a replay starts: 0.1 to 0.2 s, 0.7 s on pages not yet vacuumed."""


class Tally(msgspec.Struct):
    """What became of items: those that were meant come to one of the last five."""

    scanned: int = 0
    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    rejected: int = 0
    """Still refused, or their payload was not kept."""
    failed: int = 0
    """A fault of the service; they stay open."""


class Claimed(msgspec.Struct, frozen=True):
    """A replay that this worker is at."""

    tenant_id: int
    replay_id: bytes
    public_id: str
    filter: Filter
    dry_run: bool
    after: Position


class Replay(msgspec.Struct, frozen=True):
    replay_id: bytes
    public_id: str
    """Of the key that asked for it."""
    dry_run: bool
    state: str
    reason: str | None
    started_at: datetime
    finished_at: datetime | None
    after_at: datetime
    """Items received until then have been looked at."""
    total: int | None
    """Items to look at, when it started; None: more than MAX_COUNTED."""
    scanned: int
    accepted: int
    duplicate: int
    conflict: int
    rejected: int
    failed: int


async def start_replay(
    connection: Connection,
    tenant_id: int,
    *,
    public_id: str,
    which: Filter,
    dry_run: bool,
    now: datetime,
) -> bytes | None:
    """The new replay's id; None when the tenant has one under way."""
    start, end = which.received
    received = Window(start, min(end, now))  # what is refused from now on is not part of it
    replay_id: bytes | None = await connection.fetchval(
        SQL["start_replay"],
        tenant_id,
        ids.new_id(),
        public_id,
        msgspec.json.encode(msgspec.structs.replace(which, received=received)),
        dry_run,
        now,
        start,
        bytes(ids.ID_BYTES),
        received.end,
        MAX_COUNTED,
    )
    return replay_id


async def is_under_way(connection: Connection, tenant_id: int) -> bool:
    return bool(await connection.fetchval(SQL["is_under_way"], tenant_id))


async def claim_replay(connection: Connection) -> Claimed | None:
    """One that no other worker is at, until the end of the transaction."""
    row = await connection.fetchrow(SQL["claim_replay"])
    if row is None:
        return None
    return Claimed(
        tenant_id=row["tenant_id"],
        replay_id=row["replay_id"],
        public_id=row["public_id"],
        filter=msgspec.json.decode(row["filter"], type=Filter),
        dry_run=row["dry_run"],
        after=Position(row["after_at"], row["after_id"]),
    )


async def advance(
    connection: Connection, tenant_id: int, replay_id: bytes, after: Position, tally: Tally
) -> None:
    """Note a step: the next one begins behind `after`."""
    await connection.execute(
        SQL["advance"], tenant_id, replay_id, *after, *msgspec.structs.astuple(tally)
    )


async def finish(
    connection: Connection,
    tenant_id: int,
    replay_id: bytes,
    state: str,
    now: datetime,
    reason: str | None = None,
) -> bool:
    """End it as DONE or STOPPED; whether it was running."""
    ended = await connection.fetchval(SQL["finish"], tenant_id, replay_id, state, reason, now)
    return ended is not None


async def list_replays(
    connection: Connection, tenant_id: int, before: Position, limit: int
) -> list[Replay]:
    """One page, newest first, before this position."""
    rows = await connection.fetch(SQL["list_replays"], tenant_id, *before, limit)
    return [Replay(*row) for row in rows]


async def find_replay(connection: Connection, tenant_id: int, replay_id: bytes) -> Replay | None:
    row = await connection.fetchrow(SQL["find_replay"], tenant_id, replay_id)
    return Replay(*row) if row else None
