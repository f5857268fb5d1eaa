"""Collects what the fields of one request look up, and asks for it in one statement a kind."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from strawberry.dataloader import DataLoader

from app.access.keys import Principal
from app.api.graphql.registry_loaders import RegistryLoaders
from app.db.pool import Lender
from app.db.scan import Position
from app.dedupe import reading as deliveries
from app.dedupe.reading import Asked, StoredDelivery
from app.identity import reading as identities
from app.identity.reading import StoredConflict, StoredIdentifier, StoredMerge, StoredProfile
from app.ingest import people
from app.ingest import reading as events
from app.ingest.people import PersonCounts
from app.ingest.reading import EventPage, Names, Selection, StoredEvent
from app.registry.masking import Mask, mask_of
from app.segments.queries import Statistics, StoredMark, read_statistics, read_stored_marks


class Wording(NamedTuple):
    """Names of a filter."""

    event_type: str | None
    version: int | None
    source: str | None


class PersonPage(NamedTuple):
    """One page of what a person did."""

    root_id: bytes
    selection: Selection
    first: int
    after: Position | None


class Loaders:
    """One for each request: nothing is remembered beyond it, nothing is shared between tenants."""

    def __init__(self, pool: Lender, principal: Principal) -> None:
        self._pool = pool
        self._tenant_id = principal.tenant.tenant_id
        self.registry = RegistryLoaders(pool, principal.tenant.tenant_id)
        self.mask: DataLoader[int, Mask] = DataLoader(self._masks)
        """By version id."""
        self.segment_statistics: DataLoader[int, Statistics | None] = DataLoader(self._statistics)
        """By the id of one of the tenant's own marks."""
        self.marks_of: DataLoader[int, list[StoredMark]] = DataLoader(self._marks_of)
        """By event type id."""
        self.names: DataLoader[Wording, Names] = DataLoader(self._names)
        self.event: DataLoader[bytes, StoredEvent | None] = DataLoader(self._events)
        self.history: DataLoader[Asked, list[StoredDelivery]] = DataLoader(self._histories)
        self.profile: DataLoader[bytes, StoredProfile | None] = DataLoader(self._profiles)
        """By the id of a profile or of one that was merged into it."""
        self.identifier: DataLoader[bytes, StoredIdentifier | None] = DataLoader(self._identifiers)
        """By identifier key."""
        self.members: DataLoader[bytes, list[bytes]] = DataLoader(self._members)
        """From here on by root profile: a person is it and all that were merged into it."""
        self.identifiers_of: DataLoader[bytes, list[StoredIdentifier]] = DataLoader(
            self._identifiers_of
        )
        self.merges_into: DataLoader[bytes, list[StoredMerge]] = DataLoader(self._merges_into)
        self.conflicts_of: DataLoader[bytes, list[StoredConflict]] = DataLoader(self._conflicts_of)
        self.last_occurrence: DataLoader[bytes, datetime | None] = DataLoader(
            self._last_occurrences
        )
        self.person_page: DataLoader[PersonPage, EventPage] = DataLoader(self._person_pages)
        self.counts: DataLoader[bytes, PersonCounts] = DataLoader(self._counts)

    def forget(self) -> None:
        """All that was looked up: a subscription goes on, or this very request has changed it."""
        for loader in (*vars(self).values(), *vars(self.registry).values()):
            if isinstance(loader, DataLoader):
                loader.clear_all()

    async def _masks(self, version_ids: list[int]) -> list[Mask]:
        async with self._pool.acquire() as connection:
            found = await events.read_documents(connection, self._tenant_id, version_ids)
        return [mask_of(found[version_id]) for version_id in version_ids]

    async def _statistics(self, mark_ids: list[int]) -> list[Statistics | None]:
        async with self._pool.acquire() as connection:
            found = await read_statistics(connection, mark_ids)
        return [found.get(mark_id) for mark_id in mark_ids]

    async def _marks_of(self, event_type_ids: list[int]) -> list[list[StoredMark]]:
        async with self._pool.acquire() as connection:
            found = await read_stored_marks(connection, self._tenant_id, event_type_ids)
        return [[one for one in found if one.mark.event_type_id == id] for id in event_type_ids]

    async def _names(self, asked: list[Wording]) -> list[Names]:
        """One statement a filter; a list and the lists in its rows have few."""
        async with self._pool.acquire() as connection:
            return [
                await events.find_ids(connection, self._tenant_id, **one._asdict()) for one in asked
            ]

    async def _events(self, event_ids: list[bytes]) -> list[StoredEvent | None]:
        async with self._pool.acquire() as connection:
            found = await events.find_events(connection, self._tenant_id, event_ids)
        return [found.get(event_id) for event_id in event_ids]

    async def _histories(self, asked: list[Asked]) -> list[list[StoredDelivery]]:
        async with self._pool.acquire() as connection:
            return await deliveries.read_histories(connection, self._tenant_id, asked)

    async def _profiles(self, profile_ids: list[bytes]) -> list[StoredProfile | None]:
        async with self._pool.acquire() as connection:
            found = await identities.find_profiles(connection, self._tenant_id, profile_ids)
        return [found.get(profile_id) for profile_id in profile_ids]

    async def _identifiers(self, keys: list[bytes]) -> list[StoredIdentifier | None]:
        async with self._pool.acquire() as connection:
            found = await identities.read_identifiers(connection, self._tenant_id, keys)
        return [found.get(key) for key in keys]

    async def _members(self, root_ids: list[bytes]) -> list[list[bytes]]:
        async with self._pool.acquire() as connection:
            found = await identities.read_members(connection, self._tenant_id, root_ids)
        return [found[root_id] for root_id in root_ids]

    async def _identifiers_of(self, root_ids: list[bytes]) -> list[list[StoredIdentifier]]:
        members = await self.members.load_many(root_ids)
        everybody = [profile_id for all_of in members for profile_id in all_of]
        async with self._pool.acquire() as connection:
            found = await identities.read_identifiers_of(connection, self._tenant_id, everybody)
        return [[one for one in found if one.profile_id in all_of] for all_of in members]

    async def _merges_into(self, root_ids: list[bytes]) -> list[list[StoredMerge]]:
        members = await self.members.load_many(root_ids)
        everybody = [profile_id for all_of in members for profile_id in all_of]
        async with self._pool.acquire() as connection:
            found = await identities.read_merges(connection, self._tenant_id, everybody)
        return [[one for one in found if one.survivor_id in all_of] for all_of in members]

    async def _conflicts_of(self, root_ids: list[bytes]) -> list[list[StoredConflict]]:
        members = await self.members.load_many(root_ids)
        everybody = [profile_id for all_of in members for profile_id in all_of]
        async with self._pool.acquire() as connection:
            found = await identities.read_conflicts_of(connection, self._tenant_id, everybody)
        return [
            [one for one in found if one.owner_id in all_of or one.chosen_id in all_of]
            for all_of in members
        ]

    async def _last_occurrences(self, root_ids: list[bytes]) -> list[datetime | None]:
        members = dict(zip(root_ids, await self.members.load_many(root_ids), strict=True))
        async with self._pool.acquire() as connection:
            found = await people.read_last_occurrences(connection, self._tenant_id, members)
        return [found.get(root_id) for root_id in root_ids]

    async def _person_pages(self, asked: list[PersonPage]) -> list[EventPage]:
        """Pages that differ only in their person share a scan."""
        root_ids = [one.root_id for one in asked]
        members = dict(zip(root_ids, await self.members.load_many(root_ids), strict=True))
        together: dict[PersonPage, list[bytes]] = {}
        for one in asked:
            together.setdefault(one._replace(root_id=b""), []).append(one.root_id)
        found: dict[PersonPage, EventPage] = {}
        async with self._pool.acquire() as connection:
            for page, persons in together.items():
                events_of = await people.find_person_pages(
                    connection,
                    self._tenant_id,
                    page.selection,
                    {root_id: members[root_id] for root_id in persons},
                    first=page.first,
                    after=page.after,
                )
                found |= {page._replace(root_id=key): value for key, value in events_of.items()}
        return [found[one] for one in asked]

    async def _counts(self, root_ids: list[bytes]) -> list[PersonCounts]:
        members = dict(zip(root_ids, await self.members.load_many(root_ids), strict=True))
        async with self._pool.acquire() as connection:
            found = await people.count_by_type(connection, self._tenant_id, members)
        return [found[root_id] for root_id in root_ids]
