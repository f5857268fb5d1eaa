"""A replay of quarantined items, as far as it has come."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry

from app import ids
from app.api.graphql.scalars import Number
from app.replay import queries
from app.replay.queries import Replay


@strawberry.enum(description="How far a replay is.")
class ReplayState(Enum):
    RUNNING = strawberry.enum_value(queries.RUNNING, description="It goes on by itself.")
    DONE = strawberry.enum_value(queries.DONE, description="Every item was looked at.")
    STOPPED = strawberry.enum_value(queries.STOPPED, description="It ended before that: `reason`.")


@strawberry.type(description="Quarantined items, judged again and delivered.")
class QuarantineReplay:
    id: strawberry.ID = strawberry.field(description="`rpl_…`")
    api_key_id: strawberry.ID = strawberry.field(description="Public id of the key that asked.")
    dry_run: bool = strawberry.field(description="Nothing is delivered, only counted.")
    state: ReplayState = strawberry.field(description="How far it is.")
    reason: str | None = strawberry.field(
        description="Why it was stopped: asked_for, or key_not_valid any more."
    )
    started_at: datetime = strawberry.field(description="Items refused later are not part of it.")
    finished_at: datetime | None = strawberry.field(description="Null while it runs.")
    scanned_until: datetime | None = strawberry.field(
        description="Items received until then were looked at, oldest first; null before the first."
    )
    total: Number | None = strawberry.field(
        description="About how many there are to look at; null where it was not counted: more than"
        f" {queries.MAX_COUNTED:,}."
    )
    scanned: Number = strawberry.field(description="Items looked at, meant or not.")
    accepted: Number = strawberry.field(description="Made an event.")
    duplicate: Number = strawberry.field(description="The same fact was there already.")
    conflict: Number = strawberry.field(
        description="Their key belongs to another fact, or to an erased one."
    )
    rejected: Number = strawberry.field(
        description="Would be refused again, or what was sent was not kept; they stay open."
    )
    failed: Number = strawberry.field(description="A fault of the service; they stay open.")
    replay_id: strawberry.Private[bytes]


def replay_of(replay: Replay) -> QuarantineReplay:
    return QuarantineReplay(
        id=strawberry.ID(ids.encode(ids.REPLAY_PREFIX, replay.replay_id)),
        api_key_id=strawberry.ID(replay.public_id),
        dry_run=replay.dry_run,
        state=ReplayState(replay.state),
        reason=replay.reason,
        started_at=replay.started_at,
        finished_at=replay.finished_at,
        scanned_until=replay.after_at if replay.scanned else None,
        total=None if replay.total is None else Number(replay.total),
        scanned=Number(replay.scanned),
        accepted=Number(replay.accepted),
        duplicate=Number(replay.duplicate),
        conflict=Number(replay.conflict),
        rejected=Number(replay.rejected),
        failed=Number(replay.failed),
        replay_id=replay.replay_id,
    )
