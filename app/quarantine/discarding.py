"""Discards open items, on record: what was sent goes, that it was received and refused stays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from app import clock, ids
from app.db.audit import record_change
from app.db.scan import SCANNED_ROWS
from app.db.transaction import transaction
from app.quarantine import reading
from app.quarantine.filter import Filter


class Discarded(msgspec.Struct, frozen=True):
    items: int
    scanned_until: datetime | None
    """There may be more from here on; None: every open item was looked at."""


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
    return Discarded(gone, None)


async def discard_matching(tenant_id: int, which: Filter, *, actor: str) -> Discarded:
    """Discard what the filter means of the oldest SCANNED_ROWS open items."""
    async with transaction() as connection:
        scanned = await reading.scan_open(connection, tenant_id, which, SCANNED_ROWS)
        meant = [item.quarantine_id for item in scanned if item.is_meant]
        gone = await reading.discard(connection, tenant_id, meant, clock.now())
        await _record(tenant_id, actor, gone, {"filter": msgspec.to_builtins(which)})
    return Discarded(gone, scanned[-1].received_at if len(scanned) == SCANNED_ROWS else None)


async def _record(tenant_id: int, actor: str, gone: int, asked: dict[str, Any]) -> None:
    if gone:
        await record_change(
            tenant_id,
            actor=actor,
            action="quarantine_discarded",
            subject="quarantine",
            after=asked | {"items": gone},
        )
