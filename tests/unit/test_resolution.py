"""Who is who: the rules of identity resolution, and that order does not matter without a clash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.identity.identifiers import Kind
from app.identity.resolution import (
    SEPARATED,
    SHARED_DEVICE,
    TWO_CUSTOMERS,
    Keyed,
    Plan,
    Profile,
    Subject,
    opposite,
    plan_resolution,
    profile_id_of,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """What the database would hold: applies each plan as the queries do."""

    def __init__(self) -> None:
        self.owner: dict[bytes, bytes] = {}
        self.profiles: dict[bytes, Profile] = {}
        self.root: dict[bytes, bytes] = {}
        self.conflicts: set[tuple[str, str]] = set()
        self.merged: list[tuple[bytes, bytes]] = []
        self.clock = START

    def deliver(self, *events: tuple[str, Sequence[str]]) -> Plan:
        """Events as (id, identifiers like "x:1" "e:a" "p:5" "d:t"), all in one flush."""
        self.clock += timedelta(seconds=1)
        subjects = [subject(event_id, names) for event_id, names in events]
        keys = {i.key for s in subjects for i in s.identifiers}
        owners = {k: self.root_of(self.owner[k]) for k in keys if k in self.owner}
        roots = {root: self.profiles[root] for root in owners.values()}
        plan = plan_resolution(subjects, owners, roots, self.clock)
        for link in plan.links:
            assert link.identifier.key not in self.owner, "links never move"
            self.owner[link.identifier.key] = link.profile_id
        for profile in plan.new_profiles:
            self.profiles[profile.profile_id] = profile
            self.root[profile.profile_id] = profile.profile_id
        for profile_id, (before, after) in plan.changed.items():
            assert self.profiles[profile_id] == before
            if profile_id not in plan.root_by_merged_id:
                self.profiles[profile_id] = after
        for profile_id, root in list(self.root.items()):
            self.root[profile_id] = plan.root_by_merged_id.get(root, root)
        self.merged += [(m.survivor.profile_id, m.merged.profile_id) for m in plan.merges]
        self.conflicts |= {(c.identifier.value, c.rule) for c in plan.conflicts}
        return plan

    def set_apart(self, one: str, other: str, token: bytes = bytes(16)) -> None:
        """Say that the owners of two identifiers are two people."""
        for name, own in ((one, token), (other, opposite(token))):
            profile = self.profiles[self.root_of(self.owner[name.encode()])]
            self.profiles[profile.profile_id] = replace(profile, apart=profile.apart | {own})

    def root_of(self, profile_id: bytes) -> bytes:
        return self.root[profile_id]

    def groups(self) -> set[frozenset[str]]:
        """Identifiers that belong to one person."""
        found: dict[bytes, set[str]] = {}
        for key, owner in self.owner.items():
            found.setdefault(self.root_of(owner), set()).add(key.decode())
        return {frozenset(group) for group in found.values()}


KINDS = {"x": Kind.EXTERNAL, "e": Kind.EMAIL, "p": Kind.PHONE, "d": Kind.DEVICE}


def subject(event_id: str, names: Iterable[str]) -> Subject:
    identifiers = [Keyed(name.encode(), KINDS[name[0]], name) for name in names]
    return Subject(event_id.encode(), sorted(identifiers, key=lambda i: i.kind))


def test_identifiers_of_one_event_belong_to_one_profile() -> None:
    world = World()
    plan = world.deliver(("e1", ["x:1", "e:a", "p:5", "d:t"]))
    assert world.groups() == {frozenset({"x:1", "e:a", "p:5", "d:t"})}
    assert plan.profile_id_by_event_id == {b"e1": profile_id_of(b"e1")}
    assert plan.new_profiles == [Profile(profile_id_of(b"e1"), world.clock, True, b"x:1")]


def test_links_are_transitive_within_one_batch() -> None:
    world = World()
    plan = world.deliver(("e1", ["e:a"]), ("e2", ["p:5"]), ("e3", ["e:a", "p:5"]))
    assert world.groups() == {frozenset({"e:a", "p:5"})}
    assert len(set(plan.profile_id_by_event_id.values())) == 1
    assert len(plan.new_profiles) == 1
    assert plan.merges == [], "profiles that nobody has seen need no alias"


def test_the_older_profile_survives_a_merge_and_the_image_is_of_before() -> None:
    world = World()
    world.deliver(("e1", ["p:5"]))
    world.deliver(("e2", ["x:1", "e:a"]))
    plan = world.deliver(("e3", ["e:a", "p:5"]))
    older, younger = profile_id_of(b"e1"), profile_id_of(b"e2")
    assert world.merged == [(older, younger)]
    assert plan.merges[0].survivor.external_key is None
    assert plan.merges[0].merged.external_key == b"x:1"
    assert plan.changed[older][1].external_key == b"x:1"
    assert plan.profile_id_by_event_id == {b"e3": older}


def test_chained_merges_in_one_flush_end_at_the_oldest() -> None:
    world = World()
    for number, name in enumerate(["e:a", "e:b", "e:c"]):
        world.deliver((f"e{number}", [name]))
    plan = world.deliver(("m1", ["e:c", "p:1"]), ("m2", ["e:b", "p:1"]), ("m3", ["e:a", "p:1"]))
    oldest = profile_id_of(b"e0")
    assert set(plan.root_by_merged_id.values()) == {oldest}
    assert len(plan.merges) == 2
    assert set(plan.profile_id_by_event_id.values()) == {oldest}


def test_two_known_customers_are_never_merged_and_the_clash_is_recorded() -> None:
    world = World()
    world.deliver(("e1", ["x:1", "e:a"]))
    plan = world.deliver(("e2", ["x:2", "e:a"]))
    assert world.groups() == {frozenset({"x:1", "e:a"}), frozenset({"x:2"})}
    assert world.conflicts == {("e:a", TWO_CUSTOMERS)}
    assert plan.profile_id_by_event_id == {b"e2": profile_id_of(b"e2")}


@pytest.mark.contract("4.17: on a clash the event goes to the match of highest priority")
def test_a_clash_sends_the_event_to_its_strongest_match() -> None:
    world = World()
    world.deliver(("e1", ["x:1", "e:a"]), ("e2", ["x:2", "p:5"]))
    plan = world.deliver(("e3", ["e:a", "p:5"]))
    assert plan.profile_id_by_event_id == {b"e3": profile_id_of(b"e1")}
    assert world.conflicts == {("p:5", TWO_CUSTOMERS)}


def test_a_shared_tablet_joins_nobody() -> None:
    world = World()
    for person in range(5):
        world.deliver((f"e{person}", [f"e:{person}", "d:tablet"]))
    assert len(world.groups()) == 5
    assert world.conflicts == {("d:tablet", SHARED_DEVICE)}


def test_an_anonymous_device_is_adopted_when_its_owner_logs_in() -> None:
    world = World()
    world.deliver(("e1", ["d:phone"]))
    plan = world.deliver(("e2", ["e:a", "d:phone"]))
    assert world.groups() == {frozenset({"e:a", "d:phone"})}
    assert plan.profile_id_by_event_id == {b"e2": profile_id_of(b"e1")}


def test_a_known_person_adopts_an_anonymous_device_profile() -> None:
    world = World()
    world.deliver(("e1", ["e:a"]))
    world.deliver(("e2", ["d:phone"]))
    world.deliver(("e3", ["e:a", "d:phone"]))
    assert world.groups() == {frozenset({"e:a", "d:phone"})}
    assert world.merged == [(profile_id_of(b"e1"), profile_id_of(b"e2"))]


def test_a_repeat_customer_costs_no_write() -> None:
    world = World()
    world.deliver(("e1", ["x:1", "e:a"]))
    assert world.deliver(("e2", ["x:1", "e:a"])).writes_nothing


def test_people_who_were_separated_are_not_joined_and_the_clash_is_recorded() -> None:
    world = World()
    world.deliver(("e1", ["e:a"]), ("e2", ["p:5"]))
    world.set_apart("e:a", "p:5")
    plan = world.deliver(("e3", ["e:a", "p:5"]))
    assert world.groups() == {frozenset({"e:a"}), frozenset({"p:5"})}
    assert plan.profile_id_by_event_id == {b"e3": profile_id_of(b"e1")}
    assert world.conflicts == {("p:5", SEPARATED)}


def test_a_separation_holds_for_whoever_joined_either_side_since() -> None:
    world = World()
    world.deliver(("e1", ["e:a"]), ("e2", ["p:5"]), ("e3", ["e:b"]), ("e4", ["d:t"]))
    world.set_apart("e:a", "p:5")
    world.deliver(("e5", ["p:6", "e:a"]), ("e6", ["e:b", "p:5"]), ("e7", ["e:b", "d:t"]))
    world.deliver(("e8", ["p:6", "d:t"]), ("e9", ["e:b", "p:6"]))
    assert world.groups() == {frozenset({"e:a", "p:6"}), frozenset({"e:b", "p:5", "d:t"})}
    assert world.conflicts == {("d:t", SEPARATED), ("p:6", SEPARATED)}


def test_a_separation_holds_within_one_flush_too() -> None:
    world = World()
    world.deliver(("e1", ["e:a"]), ("e2", ["p:5"]))
    world.set_apart("e:a", "p:5")
    world.deliver(("e3", ["e:a", "d:t"]), ("e4", ["p:5", "d:t"]), ("e5", ["p:5", "d:t"]))
    assert world.groups() == {frozenset({"e:a", "d:t"}), frozenset({"p:5"})}


NAMES = st.lists(
    st.one_of(
        st.integers(1, 3).map(lambda n: f"x:{n}"),
        st.integers(1, 5).map(lambda n: f"e:{n}"),
        st.integers(1, 5).map(lambda n: f"p:{n}"),
        st.integers(1, 4).map(lambda n: f"d:{n}"),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda name: name[0],
)
HISTORY = st.lists(NAMES, min_size=1, max_size=9)


def clashes(history: Sequence[Sequence[str]]) -> bool:
    """Would any order meet a clash? Two customers in one strong component, or a device in two."""
    component = {name: name for names in history for name in names}

    def find(name: str) -> str:
        while component[name] != name:
            name = component[name]
        return name

    for names in history:
        strong = [name for name in names if name[0] != "d"]
        for one, other in combinations(strong, 2):
            component[find(one)] = find(other)
    externals: dict[str, set[str]] = {}
    devices: dict[str, set[str]] = {}
    for names in history:
        strong = [name for name in names if name[0] != "d"]
        for name in names:
            if name[0] == "x":
                externals.setdefault(find(name), set()).add(name)
            if name[0] == "d" and strong:
                devices.setdefault(name, set()).add(find(strong[0]))
    return any(len(v) > 1 for v in [*externals.values(), *devices.values()])


@pytest.mark.contract("4.17: who is who does not depend on the order of arrival")
@settings(max_examples=400)
@given(HISTORY, st.randoms(use_true_random=False), st.integers(1, 4))
def test_without_a_clash_the_groups_do_not_depend_on_order_or_batching(
    history: list[list[str]], random: object, flush: int
) -> None:
    assume(not clashes(history))
    event("compared")
    events = [(f"e{number}", names) for number, names in enumerate(history)]
    in_order, shuffled = World(), World()
    for one in events:
        in_order.deliver(one)
    random.shuffle(events)  # type: ignore[attr-defined]
    for start in range(0, len(events), flush):
        shuffled.deliver(*events[start : start + flush])
    assert in_order.groups() == shuffled.groups()


@pytest.mark.contract("4.17: a device alone never merges anybody")
@settings(max_examples=300)
@given(HISTORY)
def test_whatever_comes_no_profile_has_two_customers_and_no_device_joins_two_people(
    history: list[list[str]],
) -> None:
    world = World()
    for number, names in enumerate(history):
        plan = world.deliver((f"e{number}", names))
        assert set(plan.profile_id_by_event_id) == {f"e{number}".encode()}
    for group in world.groups():
        assert len([name for name in group if name[0] == "x"]) <= 1
    strong_only = World()
    for number, names in enumerate(history):
        strong = [name for name in names if name[0] != "d"]
        if strong:
            strong_only.deliver((f"s{number}", strong))
    joined = {frozenset(n for n in g if n[0] != "d") for g in world.groups()} - {frozenset()}
    assert joined == strong_only.groups(), "devices change nothing among people"
