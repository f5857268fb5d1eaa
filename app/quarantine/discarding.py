"""Discards open items, on record: what was sent goes, that it was received and refused stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from app import clock, ids
from app.db.audit import record_change
from app.db.scan import Position
from app.db.transaction import transaction
from app.quarantine import reading
from app.quarantine.filter import Filter

MAX_DISCARDED = 5_000
"""In one go; who wants more asks again."""
_STEP = 500


class Discarded(msgspec.Struct, frozen=True):
    items: int
    is_complete: bool
    """False when there may be more."""


async def discard_items(tenant_id: int, items: Sequence[bytes], *, actor: str) -> Discarded:
    """Discard these, as far as they are open."""
    async with transaction() as connection:
        gone = await reading.discard(connection, tenant_id, items, clock.now())
        await _record(
            tenant_id,
            actor,
            gone,
            {"ids": [ids.encode(ids.QUARANTINE_PREFIX, item) for item in items]},
        )
    return Discarded(gone, True)


async def discard_matching(tenant_id: int, which: Filter, *, actor: str) -> Discarded:
    """Discard open items that the filter means, oldest first, MAX_DISCARDED at most."""
    after = Position(which.received.start, bytes(ids.ID_BYTES))
    scanned: Sequence[reading.Scanned] = ()
    gone = 0
    async with transaction() as connection:
        while gone < MAX_DISCARDED and (
            scanned := await reading.scan_oldest(
                connection, tenant_id, which, after, _STEP, with_payload=False
            )
        ):
            meant = [item.quarantine_id for item in scanned if item.is_meant]
            gone += await reading.discard(connection, tenant_id, meant, clock.now())
            after = scanned[-1].position
        await _record(tenant_id, actor, gone, {"filter": msgspec.to_builtins(which)})
    return Discarded(gone, not scanned)


async def _record(tenant_id: int, actor: str, gone: int, asked: dict[str, Any]) -> None:
    if gone:
        await record_change(
            tenant_id,
            actor=actor,
            action="quarantine_discarded",
            subject="quarantine",
            after=asked | {"items": gone},
        )
