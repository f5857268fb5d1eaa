"""Takes quarantined items through the normal path again, step by step, in the background.

An item that passes today is a delivery of its own: counted, deduplicated by its own key, answered.
Never changes what was received, and never delivers what would be refused again: it stays as it is.
A step that is lost between its commit and its note is done again, and answered "duplicate".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from app import clock
from app.access.directory import Directory
from app.access.keys import Principal, Scope
from app.db.pool import Connection, Pool
from app.dedupe.queries import ERASED, Original, read_keys
from app.errors import AppError, ErrorCode
from app.ingest.event import Accepted, Duplicate, Event, Outcome
from app.ingest.service import Ingest
from app.metrics import OUTCOMES
from app.quarantine.filter import ItemState
from app.quarantine.reading import Scanned, resolve, scan_oldest
from app.replay import queries
from app.replay.queries import DONE, STOPPED, Claimed, Tally

STEP_ITEMS = 200
"""Looked at in one step: as many as a flush takes."""
STEP_BYTES = 4 << 20
"""Or the one item that is larger: events of others wait in the same queue."""

log = structlog.get_logger()


class Passing(msgspec.Struct, frozen=True):
    """An item that today's rules let through."""

    item: Scanned
    event: Event
    payload: bytes


class Replayer:
    """One worker's part in the replays of all tenants."""

    def __init__(
        self,
        pool: Pool,
        directory: Directory,
        look_again: Callable[[], Awaitable[None]],
        ingest: Ingest,
    ) -> None:
        self._pool = pool
        self._directory = directory
        self._look_again = look_again
        self._ingest = ingest

    async def run(self) -> None:
        """Work until nothing is left, or the service has no room: then the next turn goes on."""
        try:
            await paced(self.step)
        except AppError as error:
            log.info("replay_waits", code=error.code)

    async def step(self) -> bool:
        """One step of one replay; whether there was one.

        raises  AppError UNAVAILABLE: nothing was noted, the step will be done again
        """
        async with self._pool.acquire(timeout=2) as connection, connection.transaction():
            replay = await queries.claim_replay(connection)
            if replay is None:
                return False
            principal = await self._principal(replay.public_id)
            if principal is None:
                await self._finish(connection, replay, STOPPED, "key_not_valid")
                return True
            scanned = _bounded(
                await scan_oldest(
                    connection, replay.tenant_id, replay.filter, replay.after, STEP_ITEMS
                )
            )
            if not scanned:
                await self._finish(connection, replay, DONE)
                return True
            tally = await self._replay(connection, principal, replay, scanned)
            await queries.advance(
                connection, replay.tenant_id, replay.replay_id, scanned[-1].position, tally
            )
            return True

    async def _principal(self, public_id: str) -> Principal | None:
        """The key that asked, if it is valid and may write; what it may not, the replay may not."""
        found = self._directory.find(public_id, clock.now())
        if found is None:
            await self._look_again()
            found = self._directory.find(public_id, clock.now())
        return found if found is not None and found.may(Scope.EVENTS_WRITE) else None

    async def _finish(
        self, connection: Connection, replay: Claimed, state: str, reason: str | None = None
    ) -> None:
        await queries.finish(
            connection, replay.tenant_id, replay.replay_id, state, clock.now(), reason
        )

    async def _replay(
        self,
        connection: Connection,
        principal: Principal,
        replay: Claimed,
        scanned: Sequence[Scanned],
    ) -> Tally:
        meant = [item for item in scanned if item.is_meant]
        kept = [item for item in meant if item.payload is not None]
        payloads = [item.payload or b"" for item in kept]
        judged = await self._ingest.judge(principal, payloads)
        if not replay.dry_run:
            judged = await self._ingest.admit(principal, judged, payloads)
        passing = [
            Passing(item, event, payload)
            for item, event, payload in zip(kept, judged, payloads, strict=True)
            if isinstance(event, Event)
        ]
        if replay.dry_run:
            answers = await _foresee(connection, replay.tenant_id, passing)
        else:
            answers = await self._deliver(connection, principal, passing)
        return Tally(
            scanned=len(scanned),
            accepted=answers.count(ItemState.ACCEPTED),
            duplicate=answers.count(ItemState.DUPLICATE),
            conflict=answers.count(ItemState.CONFLICT),
            rejected=len(meant) - len(passing),
            failed=answers.count(None),
        )

    async def _deliver(
        self, connection: Connection, principal: Principal, passing: Sequence[Passing]
    ) -> list[ItemState | None]:
        """Deliver them, and note on each item what it was answered."""
        if not passing:
            return []
        outcomes = await self._ingest.commit(
            principal,
            [each.event for each in passing],
            [each.payload for each in passing],
            [each.item.received_at for each in passing],
        )
        answers = [_state(outcome) for outcome in outcomes]
        for answer in answers:
            OUTCOMES.labels(answer.name.lower() if answer is not None else "rejected").inc()
        await resolve(
            connection,
            principal.tenant.tenant_id,
            [
                (each.item.quarantine_id, answer, each.event.event_id)
                for each, answer in zip(passing, answers, strict=True)
                if answer is not None
            ],
            clock.now(),
        )
        return answers


def _bounded(scanned: Sequence[Scanned]) -> Sequence[Scanned]:
    size = 0
    for number, item in enumerate(scanned):
        size += len(item.payload or b"")
        if size > STEP_BYTES and number:
            return scanned[:number]
    return scanned


async def paced(step: Callable[[], Awaitable[bool]]) -> None:
    """Step until there is nothing to do, resting after each step for as long as it took.

    A million items take twice as long, and leave half of the room to those who deliver meanwhile.
    """
    while True:
        began = time.monotonic()
        if not await step():
            return
        await asyncio.sleep(time.monotonic() - began)


async def _foresee(
    connection: Connection, tenant_id: int, passing: Sequence[Passing]
) -> list[ItemState | None]:
    """What a delivery would be answered, as far as can be told without one.

    Other content under a known key counts as a conflict, also where the source calls it duplicate.
    """
    event_ids = sorted({each.event.event_id for each in passing})
    originals = await read_keys(connection, tenant_id, event_ids)
    taken = {event_id: original.fingerprint for event_id, original in originals.items()}
    answers: list[ItemState | None] = []
    for event in (each.event for each in passing):
        original = originals.get(event.event_id)
        if event.event_id not in taken:
            taken[event.event_id] = event.fingerprint
            answers.append(ItemState.ACCEPTED)
        elif taken[event.event_id] == event.fingerprint and not _is_erased(original):
            answers.append(ItemState.DUPLICATE)
        else:
            answers.append(ItemState.CONFLICT)
    return answers


def _is_erased(original: Original | None) -> bool:
    return original is not None and original.state == ERASED


def _state(outcome: Outcome) -> ItemState | None:
    """None for a fault of the service: the item stays open."""
    if isinstance(outcome, Accepted):
        return ItemState.ACCEPTED
    if isinstance(outcome, Duplicate):
        return ItemState.DUPLICATE
    return None if outcome.code is ErrorCode.INTERNAL_ERROR else ItemState.CONFLICT
