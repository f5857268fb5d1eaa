"""What the fields of the registry look up: one statement a kind, however long the list."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from strawberry.dataloader import DataLoader

from app.db.pool import Lender
from app.registry.governance import queries
from app.registry.governance.queries import (
    DraftRow,
    EventTypeRow,
    HistoricVersion,
    PropertyRow,
    VersionRow,
)
from app.registry.senders.queries import SendingSource, read_senders

SENDERS_SAMPLE = 10_000
"""Newest rows that are looked at for the keys of all event types of a page together."""
MIN_SENDERS_SAMPLE = 200


class SendersKey(NamedTuple):
    """Fields that ask for different windows cannot share a statement."""

    event_type_id: int
    since: datetime
    max_sources: int


class RegistryLoaders:
    """One for each request; by event type id unless it says otherwise."""

    def __init__(self, pool: Lender, tenant_id: int) -> None:
        self._pool = pool
        self._tenant_id = tenant_id
        self.event_type: DataLoader[int, EventTypeRow] = DataLoader(self._event_types)
        self.versions: DataLoader[int, list[VersionRow]] = DataLoader(self._versions)
        """Newest first."""
        self.history: DataLoader[int, list[HistoricVersion]] = DataLoader(self._histories)
        """Oldest first, with documents."""
        self.open_drafts: DataLoader[int, list[DraftRow]] = DataLoader(self._open_drafts)
        """Newest first."""
        self.document: DataLoader[int, dict[str, Any]] = DataLoader(self._documents)
        """By version id."""
        self.properties: DataLoader[int, list[PropertyRow]] = DataLoader(self._properties)
        """By version id."""
        self.senders: DataLoader[SendersKey, list[SendingSource]] = DataLoader(self._senders)

    async def _event_types(self, ids: list[int]) -> list[EventTypeRow]:
        async with self._pool.acquire() as connection:
            found = await queries.read_event_types(connection, self._tenant_id, ids)
        return [found[event_type_id] for event_type_id in ids]

    async def _versions(self, ids: list[int]) -> list[list[VersionRow]]:
        async with self._pool.acquire() as connection:
            found = await queries.read_versions_of(connection, self._tenant_id, ids)
        return [found.get(event_type_id, []) for event_type_id in ids]

    async def _histories(self, ids: list[int]) -> list[list[HistoricVersion]]:
        async with self._pool.acquire() as connection:
            found = await queries.read_history(connection, self._tenant_id, ids)
        return [found.get(event_type_id, []) for event_type_id in ids]

    async def _open_drafts(self, ids: list[int]) -> list[list[DraftRow]]:
        async with self._pool.acquire() as connection:
            found = await queries.read_open_drafts(connection, self._tenant_id, ids)
        return [found.get(event_type_id, []) for event_type_id in ids]

    async def _documents(self, ids: list[int]) -> list[dict[str, Any]]:
        async with self._pool.acquire() as connection:
            found = await queries.read_documents(connection, self._tenant_id, ids)
        return [found[version_id] for version_id in ids]

    async def _properties(self, ids: list[int]) -> list[list[PropertyRow]]:
        async with self._pool.acquire() as connection:
            found = await queries.read_properties(connection, self._tenant_id, ids)
        return [found.get(version_id, []) for version_id in ids]

    async def _senders(self, asked: list[SendersKey]) -> list[list[SendingSource]]:
        found: dict[SendersKey, list[SendingSource]] = {}
        async with self._pool.acquire() as connection:
            for since, max_sources in {(key.since, key.max_sources) for key in asked}:
                ids = [key.event_type_id for key in asked if key[1:] == (since, max_sources)]
                senders = await read_senders(
                    connection,
                    self._tenant_id,
                    ids,
                    since=since,
                    max_sources=max_sources,
                    sample=max(SENDERS_SAMPLE // len(ids), MIN_SENDERS_SAMPLE),
                )
                for event_type_id in ids:
                    key = SendersKey(event_type_id, since, max_sources)
                    found[key] = senders.get(event_type_id, [])
        return [found[key] for key in asked]
