"""Keeps what a worker knows of keys, sources and registry at most a second old."""

from __future__ import annotations

import asyncio
import time

from app.access import queries as access
from app.access.directory import Directory
from app.access.queries import Revisions
from app.db.failures import DRIVER_ERRORS
from app.db.pool import Pool
from app.errors import AppError, ErrorCode
from app.registry import queries as registry
from app.registry.catalog import Catalog
from app.segments import queries as segments
from app.segments.marks import Marks

LOOK_AGAIN_SECONDS = 0.1
"""Unknown keys cause at most one look at the database in this time."""
WAIT_SECONDS = 1.8
"""For a look that was asked for; it goes on, but its caller is told to come back."""


class Refresher:
    """One look at a time, on a pool that no other work can exhaust."""

    def __init__(self, pool: Pool, directory: Directory, catalog: Catalog, marks: Marks) -> None:
        self._pool = pool
        self._directory = directory
        self._catalog = catalog
        self._marks = marks
        self._seen: dict[int, Revisions] = {}
        self._lock = asyncio.Lock()
        self._began_at = float("-inf")
        self._next: asyncio.Task[bool] | None = None
        self.has_looked = False

    async def refresh(self) -> None:
        """Take over what has changed.

        raises  a driver's error when Postgres is away
        """
        async with self._lock:
            await self._look()

    async def look_again(self) -> None:
        """A look that begins from now on; those that ask before it begins share it.

        raises  AppError UNAVAILABLE: what could not be looked for is not called wrong.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._look_soon())
        look = self._next
        await asyncio.wait({look}, timeout=WAIT_SECONDS)
        if not (look.done() and look.result()):
            raise AppError(
                ErrorCode.UNAVAILABLE, "the database is away", headers={"Retry-After": "1"}
            )

    async def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait({self._next})

    async def _look_soon(self) -> bool:
        """Whether it could look."""
        await asyncio.sleep(self._began_at + LOOK_AGAIN_SECONDS - time.monotonic())
        async with self._lock:
            self._next = None  # whoever asks from here on needs another one
            try:
                await self._look()
            except DRIVER_ERRORS:
                return False
        return True

    async def _look(self) -> None:
        self._began_at = began_at = time.monotonic()
        # Of one moment: a key is never known before the event types that were there before it.
        async with (
            self._pool.acquire(timeout=2) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            now = {r.tenant_id: r for r in await access.read_revisions(connection)}
            if _access_view(now) != _access_view(self._seen):
                self._directory.replace_keys(await access.read_principals(connection))
            for tenant_id, revisions in now.items():
                seen = self._seen.get(tenant_id)
                if seen is None or seen.access != revisions.access:
                    self._directory.replace_sources(
                        tenant_id, await access.read_sources(connection, tenant_id)
                    )
                if seen is None or seen.registry != revisions.registry:
                    self._catalog.replace(
                        tenant_id, await registry.read_catalog(connection, tenant_id)
                    )
                    self._marks.replace(tenant_id, await segments.read_marks(connection, tenant_id))
        self._seen = now
        self._marks.confirm(began_at)
        self.has_looked = True


def _access_view(revisions: dict[int, Revisions]) -> dict[int, int]:
    return {tenant_id: r.access for tenant_id, r in revisions.items()}
