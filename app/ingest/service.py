"""Takes events of one caller from bytes to durable outcomes: decode, judge, register, commit."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import repeat

from app import clock
from app.access import queries as access
from app.access.directory import Directory
from app.access.keys import Principal, TenantSettings
from app.db.failures import DRIVER_ERRORS, is_read_only
from app.db.pool import Pool
from app.errors import ErrorCode, Violation
from app.ingest.committer import Committer, unavailable
from app.ingest.decode import decode_event
from app.ingest.event import Event, Judged, Outcome, Rejected
from app.ingest.judge import Clock, Judge
from app.ingest.standing import Delivery

SLICE_BYTES = 256 * 1024
"""Judged in one go, or one item that is larger; between slices other requests get their turn."""
SLICE_ITEMS = 100
REGISTER_SECONDS = 1.8
"""A caller with a new source waits this long for Postgres."""


class Ingest:
    """What both endpoints do once the caller is known and the body is there."""

    def __init__(
        self, pool: Pool, directory: Directory, judge: Judge, committer: Committer
    ) -> None:
        self._pool = pool
        self._directory = directory
        self._judge = judge
        self._committer = committer
        self._registering: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def deliver(self, principal: Principal, items: Sequence[bytes]) -> list[Outcome]:
        """Outcomes of these raw items, in order, durable.

        raises  AppError UNAVAILABLE: nothing was promised, the caller comes back.
        """
        judged = await self.admit(principal, await self.judge(principal, items), items)
        return await self.commit(principal, judged, items)

    async def judge(self, principal: Principal, items: Sequence[bytes]) -> list[Judged]:
        """What becomes of these raw items as far as no database needs to be asked."""
        sources = self._directory.sources(principal.tenant.tenant_id)
        at = Clock.at(clock.now())
        judged: list[Judged] = []
        count = size = 0
        for raw in items:
            if count == SLICE_ITEMS or size >= SLICE_BYTES:
                count = size = 0
                await asyncio.sleep(0)
            judged.append(self._judge.judge(decode_event(raw), raw, principal, sources, at))
            count += 1
            size += len(raw)
        return judged

    async def admit(
        self, principal: Principal, judged: list[Judged], items: Sequence[bytes]
    ) -> list[Judged]:
        """Register sources seen for the first time; events of those over the limit are refused."""
        sources = self._directory.sources(principal.tenant.tenant_id)
        unknown = {
            item.source for item in judged if isinstance(item, Event) and item.source not in sources
        }
        if unknown:
            sources = await self._register(principal, unknown)
            judged = [
                _over_limit(item, raw)
                if isinstance(item, Event) and item.source not in sources
                else item
                for item, raw in zip(judged, items, strict=True)
            ]
        return judged

    async def commit(
        self,
        principal: Principal,
        judged: Sequence[Judged],
        items: Sequence[bytes],
        first_received_at: Sequence[datetime | None] | None = None,
    ) -> list[Outcome]:
        """Outcomes of admitted items, durable. Right after `admit`: sources are known until then.

        first_received_at  of replayed items
        """
        sources = self._directory.sources(principal.tenant.tenant_id)
        return await self._committer.deliver(
            principal.tenant,
            [
                Delivery(item, principal.key_id, len(raw), sources.get(item.source or ""), first)
                for item, raw, first in zip(
                    judged, items, first_received_at or repeat(None, len(items)), strict=True
                )
            ],
        )

    async def _register(
        self, principal: Principal, names: set[str]
    ) -> dict[str, access.SourceSettings]:
        """Sources seen for the first time, up to the tenant's limit.

        One request of a tenant at a time: of a hundred that bring the same new source, one asks
        the database and the others find what it registered.
        """
        tenant = principal.tenant
        try:
            async with asyncio.timeout(REGISTER_SECONDS), self._registering[tenant.tenant_id]:
                held = self._directory.sources(tenant.tenant_id)
                if len(held) >= tenant.max_sources or names <= held.keys():
                    return held
                # Not waited for when it takes too long: its rollback may take longer still.
                return await asyncio.shield(self._register_now(tenant, names))
        except DRIVER_ERRORS as error:
            if is_read_only(error):
                await self._pool.expire_connections()
            raise unavailable("the database is away or overloaded") from error

    async def _register_now(
        self, tenant: TenantSettings, names: set[str]
    ) -> dict[str, access.SourceSettings]:
        async with self._pool.acquire(timeout=REGISTER_SECONDS) as connection:
            sources = await access.register_sources(
                connection, tenant.tenant_id, sorted(names), tenant.max_sources
            )
        self._directory.replace_sources(tenant.tenant_id, sources)
        return sources


def _over_limit(event: Event, raw: bytes) -> Rejected:
    return Rejected(
        code=ErrorCode.VALIDATION_FAILED,
        violations=(
            Violation("/source", "source_limit_reached", "the tenant may have no more sources"),
        ),
        payload=raw,
        source=event.source,
        external_event_id=event.external_event_id,
        event_type=event.event_type,
        event_id=event.event_id,
        fingerprint=event.fingerprint,
    )
