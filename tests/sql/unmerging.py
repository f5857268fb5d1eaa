"""A tenant whose events go through the real flush, and what must hold of its people."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from app import clock, ids
from app.access.keys import TenantSettings
from app.access.queries import register_sources
from app.db.pool import Connection
from app.identity.identifiers import Identifier, Kind
from app.identity.resolution import opposite
from app.identity.unmerging.service import NotUnmerged, Unmerged, unmerge_profile
from app.ingest.event import Accepted, Event
from app.ingest.flush import flush
from app.ingest.standing import Delivery
from app.segments.marks import Mark, Marks
from app.segments.queries import read_marks, value_table

KINDS = {"x": Kind.EXTERNAL, "e": Kind.EMAIL, "p": Kind.PHONE, "d": Kind.DEVICE}
FIELDS = {"x": "externalUserId", "e": "email", "p": "phone", "d": "deviceKey"}
TABLES = (
    "event", "event_key", "identifier", "profile", "profile_merge", "identity_conflict",
    "registry_change",
)  # fmt: skip

Names = Sequence[str]
"""The identity of an event: "x1", "e2", "p3", "d4"; one of a kind at most."""


class World:
    """One tenant with one marked property, and a clock that is set by hand."""

    def __init__(self, connection: Connection, tenant_id: int) -> None:
        self.connection = connection
        self.tenant = TenantSettings(tenant_id, "demo", b"k" * 32, 30, None, 1_000)
        self.marks = Marks()
        self.opened_at = self.time = clock.now()
        self.names = itertools.count()

    async def open(self) -> None:
        """Empty it."""
        self.time = self.opened_at
        await self.look()
        for table in (*TABLES, value_table(self.mark.mark_id)):
            await self.connection.execute(f"delete from {table}")

    async def look(self) -> None:
        """Learn what is there; enough to `check` what others have delivered."""
        marks = await read_marks(self.connection, self.tenant.tenant_id)
        self.mark: Mark = next(mark for mark in marks if mark.name == "amount")
        self.marks.replace(self.tenant.tenant_id, [self.mark])
        sources = await register_sources(self.connection, self.tenant.tenant_id, ["brand.pos"], 10)
        self.source = sources["brand.pos"]

    async def deliver(self, *identities: Names, later: timedelta = timedelta()) -> list[bytes]:
        """One flush; the events' ids."""
        self.time += later + timedelta(milliseconds=1)
        self.marks.confirm(time.monotonic())
        events = [self._event(names) for names in identities]
        outcomes = await flush(
            self.connection,
            self.tenant,
            [Delivery(event, 1, 100, self.source) for event in events],
            0,
            self.marks,
        )
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        return [event.event_id for event in events]

    def _event(self, names: Names) -> Event:
        ordered = sorted(names, key=lambda name: KINDS[name[0]])
        return Event(
            event_id=ids.new_id(),
            source="brand.pos",
            external_event_id=f"e{next(self.names)}",
            event_type="purchase_completed",
            event_type_id=self.mark.event_type_id,
            version_id=1,
            occurred_at=clock.now(),
            identity=msgspec.json.encode(identity_of(ordered)),
            identifiers=tuple(Identifier(KINDS[n[0]], value_of(n)) for n in ordered),
            properties=b'{"amount": 5}',
            fingerprint=bytes(16),
            size_bytes=100,
        )

    async def unmerge(
        self, profile_id: bytes, later: timedelta = timedelta()
    ) -> Unmerged | NotUnmerged:
        self.time += later + timedelta(milliseconds=1)
        return await unmerge_profile(
            self.tenant.tenant_id,
            self.tenant.hash_key,
            profile_id,
            actor="test",
            reason="two people",
        )

    async def merged(self) -> list[bytes]:
        rows = await self.connection.fetch(
            "select profile_id from profile where root_id <> profile_id"
            " order by created_at, profile_id"
        )
        return [row[0] for row in rows]

    async def people(self) -> set[frozenset[str]]:
        """The identifiers of each."""
        rows = await self.connection.fetch(
            "select p.root_id, i.kind, i.value from identifier i join profile p using (profile_id)"
        )
        found: dict[bytes, set[str]] = {}
        for root_id, kind, value in rows:
            found.setdefault(root_id, set()).add(name_of(kind, value))
        return {frozenset(names) for names in found.values()}

    async def assignment(self) -> dict[bytes, bytes]:
        """The person of every event and identifier."""
        rows = await self.connection.fetch(
            "select e.event_key, p.root_id from event e join profile p using (profile_id)"
            " union all"
            " select i.identifier_key, p.root_id from identifier i"
            " join profile p using (profile_id)"
        )
        return {row[0]: row[1] for row in rows}

    async def conflicts(self) -> set[tuple[str, str]]:
        rows = await self.connection.fetch(
            "select i.kind, i.value, c.rule from identity_conflict c"
            " join identifier i using (identifier_key)"
        )
        return {(name_of(kind, value), rule) for kind, value, rule in rows}

    async def check(self) -> None:
        """Assert all that must hold, whatever has happened."""
        await self._check_tree()
        await self._check_roots()
        await self._check_events()

    async def _check_tree(self) -> None:
        """Every merged profile has one merge that stands, and they lead to its root."""
        root_of = dict(await self.connection.fetch("select profile_id, root_id from profile"))
        edges = await self.connection.fetch(
            "select merged_id, survivor_id from profile_merge where undone_at is null"
        )
        survivor_of = dict(edges)
        assert len(survivor_of) == len(edges)
        assert survivor_of.keys() == {p for p, root_id in root_of.items() if p != root_id}
        for profile_id, root_id in root_of.items():
            while profile_id in survivor_of:
                profile_id = survivor_of[profile_id]
            assert profile_id == root_id

    async def _check_roots(self) -> None:
        """Roots say what their identifiers say; nobody is apart from himself."""
        rows = await self.connection.fetch(
            "select r.profile_id, r.known, r.external_key, r.apart,"
            " array(select i.identifier_key from identifier i join profile p using (profile_id)"
            "       where p.root_id = r.profile_id and i.kind = 1) as externals,"
            " exists (select from identifier i join profile p using (profile_id)"
            "         where p.root_id = r.profile_id and i.kind < 4) as is_known,"
            " array(select distinct t from profile p cross join unnest(p.set_apart) t"
            "       where p.root_id = r.profile_id order by t) as said"
            " from profile r where r.root_id = r.profile_id"
        )
        for row in rows:
            assert row["externals"] == ([row["external_key"]] if row["external_key"] else [])
            assert row["known"] == row["is_known"]
            assert (row["apart"] or []) == row["said"]
            assert not {opposite(token) for token in row["said"]} & set(row["said"])

    async def _check_events(self) -> None:
        """An event is where its strongest identifier leads, and its values are with it."""
        links = await self.connection.fetch(
            "select i.kind, i.value, p.root_id from identifier i join profile p using (profile_id)"
        )
        root_by_name = {name_of(kind, value): root_id for kind, value, root_id in links}
        events = await self.connection.fetch(
            "select e.identity, e.profile_id, p.root_id, v.profile_id as of_value"
            " from event e join profile p using (profile_id)"
            f" left join {value_table(self.mark.mark_id)} v using (event_key, received_at)"
        )
        everything = await self.connection.fetchval("select count(*) from event")
        assert len(events) == everything
        for event in events:
            assert event["of_value"] == event["profile_id"]
            identity = msgspec.json.decode(event["identity"])
            names = [name_of(KINDS[n], identity[f]) for n, f in FIELDS.items() if f in identity]
            assert root_by_name[names[0]] == event["root_id"]


_SHAPES = {"x": "L-{}", "e": "a{}@example.com", "p": "+4915112345{}78", "d": "device-{}"}


def value_of(name: str) -> str:
    """What a sender would write, in the form in which it is kept."""
    return _SHAPES[name[0]].format(name[1:])


def identity_of(names: Names) -> dict[str, str]:
    return {FIELDS[name[0]]: value_of(name) for name in names}


def name_of(kind: int, value: str) -> str:
    letter = next(letter for letter, of in KINDS.items() if of == kind)
    before, _, after = _SHAPES[letter].partition("{}")
    return letter + value.removeprefix(before).removesuffix(after)


def later(is_later: bool) -> timedelta:
    return timedelta(hours=1) if is_later else timedelta()
