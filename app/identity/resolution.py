"""Who is who: decides which profile each event belongs to, who is linked and who merges.

Pure. Works on what was read from the database and returns a plan; never reads or writes.

The rules (contract row 17):
- identifiers rank EXTERNAL > EMAIL > PHONE > DEVICE; the event goes to its strongest match
- a profile has at most one EXTERNAL identifier: two known customers never become one
- a device alone never joins two people; a profile that only a device ever named may be adopted
- what somebody has separated (unmerging/) is not joined again, whatever arrives
- no event moves an identifier: where a rule forbids to join, the first link stands and the clash
  is recorded
- of two profiles that merge, the older one survives
As long as no clash occurs, the resulting groups do not depend on the order of the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from app.identity.identifiers import Kind
from app.ids import ID_BYTES

TWO_CUSTOMERS = "two_customers"
"""Both profiles have an EXTERNAL identifier of their own."""
SHARED_DEVICE = "shared_device"
"""Only a device connects the two."""
SEPARATED = "separated"
"""Somebody said that these are two people."""


class Keyed(NamedTuple):
    """One normalised identifier and its key (`ids.identifier_key`)."""

    key: bytes
    kind: Kind
    value: str


class Profile(msgspec.Struct, frozen=True):
    """What is known of a root profile."""

    profile_id: bytes
    created_at: datetime
    known: bool
    """Has an identifier stronger than a device."""
    external_key: bytes | None
    apart: frozenset[bytes] = frozenset()
    """One token for each separation; whoever has its `opposite` is somebody else."""


class Subject(NamedTuple):
    """An event to be resolved; its identifiers sorted by kind, strongest first, at least one."""

    event_id: bytes
    identifiers: Sequence[Keyed]


class Link(NamedTuple):
    identifier: Keyed
    profile_id: bytes
    event_id: bytes


class Merge(NamedTuple):
    survivor: Profile
    merged: Profile
    """Both as they were before."""
    event_id: bytes


class Conflict(NamedTuple):
    identifier: Keyed
    owner_id: bytes
    chosen_id: bytes
    rule: str
    event_id: bytes


class Plan(msgspec.Struct):
    """What must be written so that the events are where they belong."""

    profile_id_by_event_id: dict[bytes, bytes]
    new_profiles: list[Profile]
    links: list[Link]
    merges: list[Merge]
    """Of profiles that existed before, in order."""
    root_by_merged_id: dict[bytes, bytes]
    """Where each merged profile ends up after all merges."""
    changed: dict[bytes, tuple[Profile, Profile]]
    """Existing roots that merge or change: (as read, as they must become)."""
    conflicts: list[Conflict]

    @property
    def writes_nothing(self) -> bool:
        return not (self.links or self.changed or self.conflicts)


def profile_id_of(event_id: bytes) -> bytes:
    """The id of the profile that this event would create: the same at every attempt."""
    return blake2b(event_id, digest_size=ID_BYTES, person=b"cdp-profile").digest()


def opposite(token: bytes) -> bytes:
    """What the other side of a separation has: the same but for the last bit."""
    return token[:-1] + bytes([token[-1] ^ 1])


def are_apart(one: Profile, other: Profile) -> bool:
    """Whether somebody said that these are two people."""
    return any(opposite(token) in other.apart for token in one.apart)


def plan_resolution(
    subjects: Iterable[Subject],
    owner_by_key: Mapping[bytes, bytes],
    roots: Mapping[bytes, Profile],
    now: datetime,
) -> Plan:
    """Decide for all subjects, in order.

    owner_by_key  identifier key → root profile id, for the links that exist
    roots         every profile named there
    """
    planner = Planner(dict(owner_by_key), dict(roots), now)
    for subject in subjects:
        planner.place(subject)
    return planner.plan(roots)


class Planner:
    """The groups while events are placed: a union-find over profiles, existing and new."""

    def __init__(
        self, owner_by_key: dict[bytes, bytes], profiles: dict[bytes, Profile], now: datetime
    ) -> None:
        self.owner_by_key = owner_by_key
        self.profiles = profiles
        self.now = now
        self.parent: dict[bytes, bytes] = {}
        self.new_ids: set[bytes] = set()
        self.placed: list[tuple[bytes, bytes]] = []
        self.links: list[Link] = []
        self.merges: list[Merge] = []
        self.conflicts: list[Conflict] = []

    def root(self, profile_id: bytes) -> bytes:
        while profile_id in self.parent:
            profile_id = self.parent[profile_id]
        return profile_id

    def place(self, subject: Subject, home: bytes | None = None) -> None:
        """Choose the profile, join what may be joined, link what is new.

        home  the profile of an event that leads nowhere; None: one of its own
        """
        strongest = subject.identifiers[0]
        external = strongest.key if strongest.kind is Kind.EXTERNAL else None
        chosen: bytes | None = None
        clashes: list[tuple[Keyed, str]] = []
        for identifier in subject.identifiers:
            owner = self.owner_by_key.get(identifier.key)
            if owner is None:
                continue
            owner = self.root(owner)
            if owner == chosen:
                continue
            rule = self._objection(identifier, owner, chosen, external, strongest.kind)
            if rule is not None:
                clashes.append((identifier, rule))
            elif chosen is None:
                chosen = owner
            else:
                chosen = self._merge(chosen, owner, subject.event_id)
        if chosen is None:
            chosen = self._create(subject.event_id) if home is None else home
        self._link(subject, chosen, external)
        self.placed.append((subject.event_id, chosen))
        for identifier, rule in clashes:
            owner = self.root(self.owner_by_key[identifier.key])
            if owner != self.root(chosen):
                self.conflicts.append(Conflict(identifier, owner, chosen, rule, subject.event_id))

    def leads_somewhere(self, subject: Subject) -> bool:
        """Whether a profile that one of its identifiers leads to may have the event."""
        strongest = subject.identifiers[0]
        external = strongest.key if strongest.kind is Kind.EXTERNAL else None
        owners = ((i, self.owner_by_key.get(i.key)) for i in subject.identifiers)
        return any(
            owner is not None
            and not self._objection(i, self.root(owner), None, external, strongest.kind)
            for i, owner in owners
        )

    def _objection(
        self,
        identifier: Keyed,
        owner: bytes,
        chosen: bytes | None,
        external: bytes | None,
        strongest: Kind,
    ) -> str | None:
        """Why the event's profile and this identifier's owner may not be one, or None."""
        there = self.profiles[owner]
        here = self.profiles[chosen] if chosen is not None else None
        if here is not None and are_apart(here, there):
            return SEPARATED
        mine = here.external_key if here is not None else None
        for mine_or_sent in (mine, external):
            if mine_or_sent and there.external_key and there.external_key != mine_or_sent:
                return TWO_CUSTOMERS
        if identifier.kind is Kind.DEVICE and strongest is not Kind.DEVICE and there.known:
            return SHARED_DEVICE
        return None

    def _create(self, event_id: bytes) -> bytes:
        profile_id = profile_id_of(event_id)
        self.profiles[profile_id] = Profile(profile_id, self.now, False, None)
        self.new_ids.add(profile_id)
        return profile_id

    def _merge(self, first: bytes, second: bytes, event_id: bytes) -> bytes:
        """Join two roots; the older survives, and one that existed before a new one."""
        survivor, merged = sorted(
            (self.profiles[first], self.profiles[second]),
            key=lambda p: (p.profile_id in self.new_ids, p.created_at, p.profile_id),
        )
        if merged.profile_id not in self.new_ids:
            self.merges.append(Merge(survivor, merged, event_id))
        self.parent[merged.profile_id] = survivor.profile_id
        self.profiles[survivor.profile_id] = Profile(
            survivor.profile_id,
            survivor.created_at,
            survivor.known or merged.known,
            survivor.external_key or merged.external_key,
            survivor.apart | merged.apart,
        )
        return survivor.profile_id

    def _link(self, subject: Subject, chosen: bytes, external: bytes | None) -> None:
        for identifier in subject.identifiers:
            if identifier.key not in self.owner_by_key:
                self.owner_by_key[identifier.key] = chosen
                self.links.append(Link(identifier, chosen, subject.event_id))
        profile = self.profiles[chosen]
        known = profile.known or subject.identifiers[0].kind is not Kind.DEVICE
        if known != profile.known or (external and profile.external_key is None):
            self.profiles[chosen] = Profile(
                chosen,
                profile.created_at,
                known,
                profile.external_key or external,
                profile.apart,
            )

    def plan(self, before: Mapping[bytes, Profile]) -> Plan:
        merged_ids = {merge.merged.profile_id for merge in self.merges}
        survivor_ids = {self.root(merge.survivor.profile_id) for merge in self.merges}
        changed = {
            profile_id: (profile, self.profiles[profile_id])
            for profile_id, profile in before.items()
            if profile_id in merged_ids
            or profile_id in survivor_ids
            or self.profiles[profile_id] != profile
        }
        return Plan(
            profile_id_by_event_id={e: self.root(p) for e, p in self.placed},
            new_profiles=[self.profiles[p] for p in sorted(self.new_ids) if p not in self.parent],
            links=[Link(i, self.root(p), e) for i, p, e in self.links],
            merges=self.merges,
            root_by_merged_id={p: self.root(p) for p in merged_ids},
            changed=changed,
            conflicts=[
                Conflict(i, self.root(o), self.root(c), rule, e)
                for i, o, c, rule, e in self.conflicts
            ],
        )
