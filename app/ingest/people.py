"""Finds what people did, for those who ask. Never decides who is who.

A person is a root profile and all that were merged into it: `Members` leads from the one to all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby

import msgspec

from app.db.pool import Connection
from app.db.scan import PAGE_BYTES, SCANNED_ROWS, Position, cut
from app.db.sql import load_statements
from app.ingest.by_property import kept_to_indexes, with_tests
from app.ingest.reading import EventPage, Selection, filters_of, read_pages, scan_parameters

SQL = load_statements(__file__)

Members = Mapping[bytes, Sequence[bytes]]

COUNTED_EVENTS = 10_000
"""Of each profile, when a person's events are counted."""


class TypeCount(msgspec.Struct):
    """One person's events of one type."""

    event_type: str
    events: int
    first_at: datetime
    last_at: datetime


class PersonCounts(msgspec.Struct):
    """What one person did, by event type; the most frequent first."""

    by_type: list[TypeCount]
    complete: bool
    """False where a profile has more than COUNTED_EVENTS: then only its newest were counted."""


async def find_person_pages(
    connection: Connection,
    tenant_id: int,
    selection: Selection,
    members: Members,
    *,
    first: int,
    after: Position | None = None,
) -> dict[bytes, EventPage]:
    """What each person did last, before `after`, in order of occurrence.

    Together their pages hold PAGE_BYTES, and look at SCANNED_ROWS where something is filtered.
    cost    2 statements, whatever the number of people; the first in a transaction of its own
    raises  StorageGone: a property is not marked any more
    """
    people, profile_ids = _pairs(members)
    scanned = first + 1
    if _is_filtered(selection):
        scanned = max(scanned, SCANNED_ROWS // len(profile_ids))
    parameters = [tenant_id, *scan_parameters(selection, scanned, first, after)]
    parameters += [people, profile_ids]
    sql = with_tests(SQL["scan_by_person"], "e", selection.properties, parameters)
    async with kept_to_indexes(connection):
        rows = await connection.fetch(sql, *parameters)
    found = {
        person: cut(list(group), first, scanned)
        for person, group in groupby(rows, key=lambda row: row["person"])
    }
    share = PAGE_BYTES // len(members)
    pages = await read_pages(connection, tenant_id, list(found.values()), share)
    page_of = dict(zip(found, pages, strict=True))
    return {person: page_of.get(person, EventPage([], None)) for person in members}


async def count_by_type(
    connection: Connection, tenant_id: int, members: Members
) -> dict[bytes, PersonCounts]:
    """What each person did, and how often."""
    rows = await connection.fetch(SQL["count_by_type"], tenant_id, *_pairs(members), COUNTED_EVENTS)
    types: dict[bytes, dict[str, TypeCount]] = {person: {} for person in members}
    counted: Counter[bytes] = Counter()
    for person, profile_id, event_type, events, first_at, last_at in rows:
        counted[profile_id] += events
        one = TypeCount(event_type, events, first_at, last_at)
        there = types[person].setdefault(event_type, one)
        if there is not one:
            there.events += events
            there.first_at = min(there.first_at, first_at)
            there.last_at = max(there.last_at, last_at)
    return {
        person: PersonCounts(
            sorted(found.values(), key=lambda count: (-count.events, count.event_type)),
            complete=all(counted[profile_id] < COUNTED_EVENTS for profile_id in members[person]),
        )
        for person, found in types.items()
    }


async def read_last_occurrences(
    connection: Connection, tenant_id: int, members: Members
) -> dict[bytes, datetime]:
    """When each person's latest event occurred; those without one are absent."""
    rows = await connection.fetch(SQL["read_last_occurrences"], tenant_id, *_pairs(members))
    return {row["person"]: row["last_at"] for row in rows}


def _pairs(members: Members) -> tuple[list[bytes], list[bytes]]:
    pairs = [(person, profile_id) for person, all_of in members.items() for profile_id in all_of]
    return [person for person, _ in pairs], [profile_id for _, profile_id in pairs]


def _is_filtered(selection: Selection) -> bool:
    filters = filters_of(selection)
    return bool(selection.properties) or any(wanted is not None for wanted in filters)
