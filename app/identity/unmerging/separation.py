"""A merge undone: who is on which side, and where what arrived since belongs.

Pure. The merges that stand form a tree; to undo one takes its edge away. So the order in which
merges are undone does not matter to who is whose. What was linked before the merge tells its side
by itself: links made by then still carry the profile of then. What came since is placed again by
the rules of `resolution`, between these two sides only: an unmerge never joins anybody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from app.identity.identifiers import Kind
from app.identity.resolution import (
    Conflict,
    Keyed,
    Link,
    Planner,
    Profile,
    Subject,
    opposite,
    profile_id_of,
)


class Edge(NamedTuple):
    """A merge that stands."""

    merge_id: bytes
    survivor_id: bytes
    merged_id: bytes
    merged_at: datetime
    event_id: bytes


class Member(NamedTuple):
    """One profile of a person, itself the root or merged into it."""

    profile_id: bytes
    created_at: datetime
    set_apart: frozenset[bytes]
    """What was said about it in earlier separations."""


class Sides(msgspec.Struct, frozen=True):
    """The two people that one becomes."""

    edge: Edge
    staying: frozenset[bytes]
    """The profiles that keep their root."""
    leaving: frozenset[bytes]
    """The merged profile, which is a root again, and all that had been merged into it."""
    shared_since: dict[bytes, datetime]
    """The staying profiles that events of either side were put on, and since when."""


class PastEvent(NamedTuple):
    """An event as far as it matters here."""

    event_id: bytes
    received_at: datetime
    event_type_id: int
    profile_id: bytes
    identifiers: Sequence[Keyed]


class Separation(NamedTuple):
    """What must be written, beside the tree."""

    staying: Profile
    leaving: Profile
    """The two roots as they are from now on."""
    events: list[PastEvent]
    links: list[Link]
    """What goes to the leaving side; everything else stays where it is."""
    conflicts: list[Conflict]


def sides_of(
    root_id: bytes, merged_id: bytes, members: Iterable[bytes], edges: Iterable[Edge]
) -> Sides:
    """Take the edge of `merged_id` away.

    edges  the merges of these members that stand: one of each but the root
    """
    edge_of = {edge.merged_id: edge for edge in edges}
    edge = edge_of[merged_id]
    shared_since = {edge.survivor_id: edge.merged_at}
    above = edge
    while above.survivor_id != root_id:
        above = edge_of[above.survivor_id]
        shared_since[above.survivor_id] = above.merged_at
    leaving = {member for member in members if _leads_to(member, merged_id, edge_of)}
    return Sides(edge, frozenset(members) - leaving, frozenset(leaving), shared_since)


def separated(
    members: Iterable[Member], sides: Sides, token: bytes
) -> tuple[list[Member], list[Member]]:
    """The members of both sides, staying and leaving ones; each now knows of the separation."""
    staying, leaving = [], []
    for member in members:
        if member.profile_id in sides.leaving:
            leaving.append(member._replace(set_apart=member.set_apart | {opposite(token)}))
        else:
            staying.append(member._replace(set_apart=member.set_apart | {token}))
    return staying, leaving


def apart_of(members: Iterable[Member]) -> frozenset[bytes]:
    """What a root has whose members these are."""
    return frozenset[bytes]().union(*(member.set_apart for member in members))


def decide(
    sides: Sides,
    staying: Profile,
    leaving: Profile,
    links: Sequence[Link],
    events: Iterable[PastEvent],
    now: datetime,
) -> Separation:
    """Place what arrived since the merge again.

    staying, leaving  the roots: apart as of now; what they are known by is found out here
    links             all that lead to one of the members
    events            those on `sides.shared_since`, each since its time; some of before do no
                      harm, they are placed as they were
    """
    events = [event for event in events if not _is_creator(event)]
    replaced = {event.event_id for event in events}
    owner_by_key: dict[bytes, bytes] = {}
    open_links: list[Link] = []
    for link in links:
        if link.event_id in replaced and link.profile_id in sides.shared_since:
            open_links.append(link)
        else:
            is_leaving = link.profile_id in sides.leaving
            owner_by_key[link.identifier.key] = (leaving if is_leaving else staying).profile_id
    roots = {root.profile_id: _known_by(root, links, owner_by_key) for root in (staying, leaving)}
    planner = Planner(dict(owner_by_key), roots, now)
    _place_all(planner, _in_order(events, links, open_links), staying.profile_id)
    plan = planner.plan({})
    owner_by_key = planner.owner_by_key
    moved = leaving.profile_id
    return Separation(
        staying=_known_by(staying, links, owner_by_key),
        leaving=_known_by(leaving, links, owner_by_key),
        events=[e for e in events if plan.profile_id_by_event_id.get(e.event_id) == moved],
        links=[link for link in open_links if owner_by_key[link.identifier.key] == moved],
        conflicts=plan.conflicts,
    )


def _leads_to(member: bytes, profile_id: bytes, edge_of: Mapping[bytes, Edge]) -> bool:
    while member != profile_id and member in edge_of:
        member = edge_of[member].survivor_id
    return member == profile_id


def _is_creator(event: PastEvent) -> bool:
    """Before it there was nothing: it says whose the identifiers are that it came with."""
    return profile_id_of(event.event_id) == event.profile_id


def _known_by(root: Profile, links: Iterable[Link], owner_by_key: Mapping[bytes, bytes]) -> Profile:
    """The root with what the links that lead to it say."""
    own = [i for i, _, _ in links if owner_by_key.get(i.key) == root.profile_id]
    return Profile(
        root.profile_id,
        root.created_at,
        any(identifier.kind is not Kind.DEVICE for identifier in own),
        next((identifier.key for identifier in own if identifier.kind is Kind.EXTERNAL), None),
        root.apart,
    )


def _in_order(
    events: Sequence[PastEvent], links: Iterable[Link], open_links: Iterable[Link]
) -> Iterator[Subject]:
    """Events as they came, with those of their identifiers that belong to either side.

    By time of receipt; but an event that a link was made by comes before all others that name the
    identifier, for that is certain, and clocks and flushes side by side are not.
    """
    linked = {link.identifier.key for link in links}
    made_by: dict[bytes, bytes] = {}
    made: dict[bytes, list[Keyed]] = {}
    for link in open_links:
        made_by[link.identifier.key] = link.event_id
        made.setdefault(link.event_id, []).append(link.identifier)
    subject_of = {
        event.event_id: _subject(event, linked, made.get(event.event_id, ()))
        for event in sorted(events, key=lambda event: (event.received_at, event.event_id))
    }
    begun: set[bytes] = set()
    for subject in subject_of.values():
        waiting = [subject] if subject.event_id not in begun else []
        begun.add(subject.event_id)
        while waiting:
            makers = (made_by.get(i.key) for i in waiting[-1].identifiers)
            before = next((maker for maker in makers if maker and maker not in begun), None)
            if before is None:
                yield waiting.pop()
            else:
                begun.add(before)
                waiting.append(subject_of[before])


def _subject(event: PastEvent, linked: Collection[bytes], made: Iterable[Keyed]) -> Subject:
    """Of an event's identifiers, and those that it linked, the ones that lead to either side."""
    found = {i.key: i for i in (*made, *event.identifiers) if i.key in linked}
    return Subject(event.event_id, sorted(found.values(), key=lambda i: (i.kind, i.key)))


def _place_all(planner: Planner, subjects: Iterable[Subject], home: bytes) -> None:
    """An event that nothing leads anywhere yet waits for one that does; at last it stays."""
    waiting: dict[bytes, list[Subject]] = {}
    unplaced: dict[bytes, Subject] = {}
    for subject in subjects:
        if not subject.identifiers or not planner.leads_somewhere(subject):
            unplaced[subject.event_id] = subject
            for identifier in subject.identifiers:
                waiting.setdefault(identifier.key, []).append(subject)
            continue
        ready = [subject]
        while ready:
            placed = ready.pop()
            planner.place(placed, home)
            for identifier in placed.identifiers:
                for next_one in waiting.pop(identifier.key, ()):
                    if next_one.event_id in unplaced and planner.leads_somewhere(next_one):
                        ready.append(unplaced.pop(next_one.event_id))
    for subject in unplaced.values():
        if subject.identifiers:
            planner.place(subject, home)
