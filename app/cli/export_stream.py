"""Reads what an export is of, page by page, newest first. Never holds more than one.

Each page is a few short statements: no snapshot or transaction stays open, however long the export
takes. The next page begins behind a position, so what arrives meanwhile shifts nothing, and a page
that failed is simply read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from app.cli.export_filter import Wanted
from app.cli.export_rows import Exported, exported
from app.cli.runtime import Problem
from app.db.failures import DRIVER_ERRORS, is_transient
from app.db.pool import Connection, Pool
from app.db.scan import Position
from app.identity import reading as identities
from app.identity.reading import StoredProfile
from app.ingest import people
from app.ingest import reading as events
from app.ingest.by_property import StorageGone
from app.ingest.reading import EventPage, StoredEvent
from app.registry.masking import Mask, mask_of

T = TypeVar("T")

PAGE_EVENTS = 1_000
"""As fast as more, and a page is a short statement: 1,000 events in 25 to 35 ms (measured)."""
PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Before a page is read again; half a minute, then the export fails."""


class Source:
    """One export's events."""

    def __init__(
        self, pool: Pool, wanted: Wanted, *, personal: bool, told: Callable[[str], None]
    ) -> None:
        """
        personal  whether personal values are shown
        told      is called with a line for people when Postgres is away
        """
        self._pool = pool
        self._wanted = wanted
        self._personal = personal
        self._told = told
        self._mask_by_version_id: dict[int, Mask] = {}

    async def read(self, limit: int | None) -> AsyncIterator[list[Exported]]:
        """Page after page; one can be empty.

        raises  Problem, or what the driver says when Postgres stays away
        """
        after: Position | None = None
        left = limit
        while left is None or left > 0:
            first = PAGE_EVENTS if left is None else min(PAGE_EVENTS, left)
            page, rows = await self._steadily(lambda c: self._page(c, first, after))  # noqa: B023
            yield rows
            left = None if left is None else left - len(rows)
            if page.resume is None:
                return
            after = page.resume

    async def _page(
        self, connection: Connection, first: int, after: Position | None
    ) -> tuple[EventPage, list[Exported]]:
        page = await self._find(connection, first, after)
        await self._read_masks(connection, page.events)
        roots = await identities.find_profiles(
            connection,
            self._wanted.tenant_id,
            {event.profile_id for event in page.events if event.profile_id is not None},
        )
        return page, [self._exported(event, roots) for event in page.events]

    def _exported(self, event: StoredEvent, roots: Mapping[bytes, StoredProfile]) -> Exported:
        root = None if event.profile_id is None else roots.get(event.profile_id)
        mask = None if self._personal else self._mask_by_version_id[event.version_id]
        return exported(event, None if root is None else root.profile_id, mask)

    async def _find(self, connection: Connection, first: int, after: Position | None) -> EventPage:
        tenant_id, selection = self._wanted.tenant_id, self._wanted.selection
        try:
            if not self._wanted.members:
                return await events.find_event_page(
                    connection, tenant_id, selection, first=first, after=after
                )
            root_id = self._wanted.members[0]
            pages = await people.find_person_pages(
                connection,
                tenant_id,
                selection,
                {root_id: self._wanted.members},
                first=first,
                after=after,
            )
        except StorageGone:
            raise Problem("a property of --where was unmarked in this moment") from None
        return pages[root_id]

    async def _read_masks(self, connection: Connection, found: Iterable[StoredEvent]) -> None:
        if self._personal:
            return
        unknown = {event.version_id for event in found} - self._mask_by_version_id.keys()
        if unknown:
            documents = await events.read_documents(
                connection, self._wanted.tenant_id, sorted(unknown)
            )
            self._mask_by_version_id |= {key: mask_of(doc) for key, doc in documents.items()}

    async def _steadily(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """What `read` returns, tried again while Postgres is away."""
        for pause in PAUSES_SECONDS:
            try:
                return await self._once(read)
            except DRIVER_ERRORS as error:
                if not is_transient(error):
                    raise
                self._told(f"Postgres does not answer; again in {pause:g} s")
            await asyncio.sleep(pause)
        return await self._once(read)

    async def _once(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._pool.acquire() as connection:
            return await read(connection)
