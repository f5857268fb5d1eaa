"""Which quarantined items are meant. Pure; also how a replay remembers what it was asked for."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from app.db.scan import EVER, Window


class ItemState(IntEnum):
    """What became of an item since it was refused; `resolution` in quarantine, null for OPEN."""

    OPEN = 0
    ACCEPTED = 1
    """This and the next two: what its replay was answered."""
    DUPLICATE = 2
    CONFLICT = 3
    DISCARDED = 4


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every field that is set must hold. `reason` and `path` are those of the first violation."""

    error_code: str | None = None
    reason: str | None = None
    path: str | None = None
    source: str | None = None
    event_type: str | None = None
    received: Window = EVER
