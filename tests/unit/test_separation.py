"""A merge undone on paper: who is on which side, and where what arrived since belongs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from app.identity.identifiers import Kind
from app.identity.resolution import Keyed, Link, Profile, opposite, profile_id_of
from app.identity.unmerging.separation import (
    Edge,
    Member,
    PastEvent,
    Separation,
    Sides,
    apart_of,
    decide,
    separated,
    sides_of,
)

T0 = datetime(2026, 5, 20, tzinfo=UTC)
KINDS = {"x": Kind.EXTERNAL, "e": Kind.EMAIL, "p": Kind.PHONE, "d": Kind.DEVICE}
TOKEN = bytes(16)
STAYS, LEAVES = b"stays", b"leaves"
PAIR = Sides(
    Edge(b"m", STAYS, LEAVES, T0, b"joins"),
    frozenset({STAYS}),
    frozenset({LEAVES}),
    {STAYS: T0},
)


def edge(survivor: bytes, merged: bytes, hour: int) -> Edge:
    return Edge(survivor + merged, survivor, merged, T0 + timedelta(hours=hour), b"e")


def keyed(name: str) -> Keyed:
    return Keyed(name.encode(), KINDS[name[0]], name)


def link(name: str, profile_id: bytes, event_id: bytes = b"long ago") -> Link:
    return Link(keyed(name), profile_id, event_id)


def came(event_id: bytes, names: Sequence[str], minute: int = 0) -> PastEvent:
    return PastEvent(
        event_id, T0 + timedelta(minutes=minute), 1, STAYS, [keyed(name) for name in names]
    )


def undo(links: Sequence[Link], events: Sequence[PastEvent]) -> Separation:
    staying = Profile(STAYS, T0, False, None, frozenset({TOKEN}))
    leaving = Profile(LEAVES, T0, False, None, frozenset({opposite(TOKEN)}))
    return decide(PAIR, staying, leaving, links, events, T0)


def moved(found: Separation) -> tuple[set[bytes], set[str]]:
    return {e.event_id for e in found.events}, {one.identifier.value for one in found.links}


def test_the_merged_profile_takes_along_what_had_been_merged_into_it() -> None:
    edges = [edge(b"b", b"c", 1), edge(b"a", b"b", 2), edge(b"a", b"d", 3), edge(b"r", b"a", 4)]
    sides = sides_of(b"r", b"b", [b"r", b"a", b"b", b"c", b"d"], edges)
    assert sides.leaving == {b"b", b"c"}
    assert sides.staying == {b"r", b"a", b"d"}
    assert sides.edge == edges[1]


def test_events_are_shared_on_the_way_up_each_since_its_own_merge() -> None:
    edges = [edge(b"a", b"b", 2), edge(b"a", b"d", 3), edge(b"r", b"a", 4)]
    sides = sides_of(b"r", b"b", [b"r", b"a", b"b", b"d"], edges)
    assert sides.shared_since == {
        b"a": T0 + timedelta(hours=2),
        b"r": T0 + timedelta(hours=4),
    }


def test_all_members_know_of_the_separation_and_of_those_before() -> None:
    members = [Member(STAYS, T0, frozenset()), Member(LEAVES, T0, frozenset({b"before"}))]
    staying, leaving = separated(members, PAIR, TOKEN)
    assert apart_of(staying) == {TOKEN}
    assert apart_of(leaving) == {b"before", opposite(TOKEN)}


def test_the_event_that_joined_them_goes_to_its_strongest_identifier() -> None:
    found = undo([link("e:s", STAYS), link("x:q", LEAVES)], [came(b"joins", ["x:q", "e:s"])])
    assert moved(found) == ({b"joins"}, set())
    assert [(c.identifier.value, c.rule) for c in found.conflicts] == [("e:s", "separated")]


def test_both_roots_are_known_by_their_own_identifiers_again() -> None:
    links = [link("d:s", STAYS), link("x:q", LEAVES), link("p:q", STAYS, b"since")]
    found = undo(links, [came(b"since", ["x:q", "p:q"], 1)])
    assert moved(found) == ({b"since"}, {"p:q"})
    assert (found.staying.known, found.staying.external_key) == (False, None)
    assert (found.leaving.known, found.leaving.external_key) == (True, b"x:q")


def test_the_event_that_made_a_link_comes_before_others_that_name_it_whatever_the_clocks_say() -> (
    None
):
    links = [link("e:s", STAYS), link("x:q", LEAVES), link("p:s", STAYS, b"made")]
    events = [came(b"joins", ["x:q", "p:s"], 1), came(b"made", ["e:s", "p:s"], 2)]
    assert moved(undo(links, events)) == ({b"joins"}, set())


def test_the_event_that_made_a_profile_stays_with_it_though_it_seems_to_be_of_after() -> None:
    creator = b"creator"
    profile_id = profile_id_of(creator)
    sides = Sides(
        edge(profile_id, LEAVES, 0),
        frozenset({profile_id}),
        frozenset({LEAVES}),
        {profile_id: T0},
    )
    links = [link("p:s", profile_id, creator), link("x:q", LEAVES)]
    found = decide(
        sides,
        Profile(profile_id, T0, False, None, frozenset({TOKEN})),
        Profile(LEAVES, T0, False, None, frozenset({opposite(TOKEN)})),
        links,
        [
            came(b"joins", ["x:q", "p:s"], 1)._replace(profile_id=profile_id),
            came(creator, ["p:s"], 2)._replace(profile_id=profile_id),
        ],
        T0,
    )
    assert moved(found) == ({b"joins"}, set())


def test_an_event_that_leads_nowhere_yet_waits_for_one_that_does() -> None:
    links = [link("e:s", STAYS), link("x:q", LEAVES), link("p:q", STAYS, b"first")]
    events = [came(b"first", ["p:q"], 1), came(b"second", ["x:q", "p:q"], 2)]
    assert moved(undo(links, events)) == ({b"first", b"second"}, {"p:q"})


def test_what_leads_nowhere_at_all_stays() -> None:
    links = [link("x:q", LEAVES), link("p:n", STAYS, b"lonely")]
    events = [came(b"lonely", ["p:n"]), came(b"nameless", ["d:erased"])]
    assert moved(undo(links, events)) == (set(), set())


def test_a_link_goes_with_the_event_that_made_it_though_it_is_normalised_differently_now() -> None:
    links = [link("x:q", LEAVES), link("p:old", STAYS, b"since")]
    found = undo(links, [came(b"since", ["x:q", "p:new"])])
    assert moved(found) == ({b"since"}, {"p:old"})


def test_identifiers_of_others_do_not_count() -> None:
    found = undo([link("p:q", LEAVES)], [came(b"since", ["e:somebody", "p:q"])])
    assert moved(found) == ({b"since"}, set())
