"""Undoes a merge, in one transaction that no flush of the tenant runs beside.

Whatever came before the merge is where it was; what came since is placed again (`separation.py`).
The two are not joined again. Never merges anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from app import clock, ids
from app.db.audit import record_change
from app.db.failures import DRIVER_ERRORS, LOCKED_OUT, is_too_slow
from app.db.pool import Connection, lent_pool
from app.db.transaction import transaction
from app.identity import queries as identities
from app.identity.resolution import Profile
from app.identity.unmerging import queries
from app.identity.unmerging.separation import (
    Member,
    Separation,
    Sides,
    apart_of,
    decide,
    separated,
    sides_of,
)
from app.segments.moving import move_values

MAX_EVENTS = 10_000
"""To be placed again. Ingest of the tenant waits meanwhile."""
MAX_IDENTIFIERS = 10_000
"""Of the person as it is."""
MAX_SEPARATIONS = 100
"""Of one person: each is compared with those of whoever might join."""
WAIT_SECONDS = 1.0
"""For flushes under way to end."""
STATEMENT_SECONDS = 2.0
"""For each statement: of somebody with a million events all may have to be looked at."""
MARGIN = timedelta(minutes=1)
"""By how much an event of after the merge can seem to be from before: its time of receipt is
taken when its flush begins, and clocks of workers differ."""


class NotUnmerged(StrEnum):
    """Why nothing was done."""

    NO_PROFILE = "no_profile"
    NOT_MERGED = "not_merged"
    TOO_MANY_EVENTS = "too_many_events"
    TOO_MANY_IDENTIFIERS = "too_many_identifiers"
    TOO_MANY_SEPARATIONS = "too_many_separations"
    BUSY = "busy"
    TOO_SLOW = "too_slow"


class Unmerged(msgspec.Struct, frozen=True):
    survivor_id: bytes
    restored_id: bytes
    events_moved: int
    identifiers_moved: int


class _Person(msgspec.Struct, frozen=True):
    """A person that a profile was merged into."""

    root_id: bytes
    members: Sequence[Member]
    sides: Sides


async def unmerge_profile(
    tenant_id: int, hash_key: bytes, profile_id: bytes, *, actor: str, reason: str
) -> Unmerged | NotUnmerged:
    """Make a merged profile a person again, with all that had been merged into it before.

    actor  the public id of the key that asks
    cost   0.6 s for MAX_EVENTS of which half move (measured); new events of the tenant wait
    """
    try:
        refusal = await _refuse_beforehand(tenant_id, profile_id)
        if refusal is not None:
            return refusal
        async with transaction() as connection:
            await queries.limit_time(connection, WAIT_SECONDS, STATEMENT_SECONDS)
            await queries.hold_graph(connection, tenant_id)
            return await _unmerge(connection, tenant_id, hash_key, profile_id, actor, reason)
    except LOCKED_OUT:
        return NotUnmerged.BUSY
    except DRIVER_ERRORS as error:
        # A TimeoutError is the client's own: who knows what has become of the commit.
        if is_too_slow(error) and not isinstance(error, TimeoutError):
            return NotUnmerged.TOO_SLOW
        raise


async def _refuse_beforehand(tenant_id: int, profile_id: bytes) -> NotUnmerged | None:
    """What can be seen without keeping anybody waiting; it is looked at again with the lock."""
    async with (
        lent_pool().acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await queries.limit_time(connection, WAIT_SECONDS, STATEMENT_SECONDS)
        person = await _find_person(connection, tenant_id, profile_id)
        if not isinstance(person, _Person):
            return person
        since = _since(person.sides)
        count = await queries.count_events_since(connection, tenant_id, since, MAX_EVENTS + 1)
    return NotUnmerged.TOO_MANY_EVENTS if count > MAX_EVENTS else None


async def _find_person(
    connection: Connection, tenant_id: int, profile_id: bytes
) -> _Person | NotUnmerged:
    root_id = await queries.find_root(connection, tenant_id, profile_id)
    if root_id is None:
        return NotUnmerged.NO_PROFILE
    if root_id == profile_id:
        return NotUnmerged.NOT_MERGED
    members = await queries.read_members(connection, tenant_id, root_id)
    member_ids = [member.profile_id for member in members]
    edges = await queries.read_edges(connection, tenant_id, member_ids)
    return _Person(root_id, members, sides_of(root_id, profile_id, member_ids, edges))


async def _unmerge(
    connection: Connection,
    tenant_id: int,
    hash_key: bytes,
    profile_id: bytes,
    actor: str,
    reason: str,
) -> Unmerged | NotUnmerged:
    """Read, decide and write, with the graph held."""
    person = await _find_person(connection, tenant_id, profile_id)
    if not isinstance(person, _Person):
        return person
    sides, since = person.sides, _since(person.sides)
    links = await queries.read_links(
        connection, tenant_id, sides.staying | sides.leaving, MAX_IDENTIFIERS + 1
    )
    if len(links) > MAX_IDENTIFIERS:
        return NotUnmerged.TOO_MANY_IDENTIFIERS
    events = await queries.read_events_since(connection, tenant_id, hash_key, since, MAX_EVENTS + 1)
    if len(events) > MAX_EVENTS:
        return NotUnmerged.TOO_MANY_EVENTS
    staying, leaving = separated(person.members, sides, ids.new_id())
    roots = _root(person.root_id, staying), _root(profile_id, leaving)
    if max(len(root.apart) for root in roots) > MAX_SEPARATIONS:
        return NotUnmerged.TOO_MANY_SEPARATIONS
    now = clock.now()
    decided = decide(sides, *roots, links, events, now)
    await queries.move_links(connection, tenant_id, decided.links, profile_id)
    await queries.split_person(connection, tenant_id, sides, staying, leaving, person.root_id)
    await identities.change_profiles(connection, tenant_id, (decided.staying, decided.leaving))
    await queries.undo_merge(connection, tenant_id, sides.edge, now, actor)
    await _move_events(connection, tenant_id, decided, profile_id)
    await identities.insert_conflicts(connection, tenant_id, decided.conflicts, now)
    unmerged = Unmerged(person.root_id, profile_id, len(decided.events), len(decided.links))
    await _record(tenant_id, sides, unmerged, actor, reason)
    return unmerged


def _since(sides: Sides) -> dict[bytes, datetime]:
    return {member: at - MARGIN for member, at in sides.shared_since.items()}


def _root(profile_id: bytes, members: Sequence[Member]) -> Profile:
    """What is known of a side's root before its links are looked at."""
    created_at = next(m.created_at for m in members if m.profile_id == profile_id)
    return Profile(profile_id, created_at, False, None, apart_of(members))


async def _move_events(
    connection: Connection, tenant_id: int, decided: Separation, profile_id: bytes
) -> None:
    """Events, and what segments keep of them."""
    await queries.move_events(connection, tenant_id, decided.events, profile_id)
    by_type: dict[int, list[tuple[datetime, bytes]]] = {}
    for event in decided.events:
        by_type.setdefault(event.event_type_id, []).append((event.received_at, event.event_id))
    await move_values(connection, tenant_id, by_type, profile_id)


async def _record(
    tenant_id: int, sides: Sides, unmerged: Unmerged, actor: str, reason: str
) -> None:
    def text(profile_id: bytes) -> str:
        return ids.encode(ids.PROFILE_PREFIX, profile_id)

    await record_change(
        tenant_id,
        actor=actor,
        action="profile_unmerged",
        subject=f"profile {text(unmerged.restored_id)}",
        reason=reason,
        before={
            "survivor": text(sides.edge.survivor_id),
            "merged_at": sides.edge.merged_at,
            "event_id": ids.encode(ids.EVENT_PREFIX, sides.edge.event_id),
        },
        after={
            "survivor": text(unmerged.survivor_id),
            "events_moved": unmerged.events_moved,
            "identifiers_moved": unmerged.identifiers_moved,
        },
    )
