"""Marks: which properties are kept in typed, indexed storage, and what a worker knows of them.

Pure but for the clock. Never decides what may be marked: the registry does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from app import clock

MAX_MARKS = 30
"""Of one event type: each costs a COPY in every flush that has values of it."""
MAX_AGE_SECONDS = 4.0
"""Of a worker's last look at the registry when it flushes. Ordinarily it is 0.4 s."""


class ValueType(StrEnum):
    """How values are kept and compared."""

    TEXT = "TEXT"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    TIMESTAMP = "TIMESTAMP"


class State(StrEnum):
    BUILDING = "BUILDING"
    """New events feed it; those before are being read."""
    READY = "READY"
    """Has the values of every event there is."""
    DROPPING = "DROPPING"
    """Unmarked; the storage goes as soon as no flush can write to it any more."""


class Mark(msgspec.Struct, frozen=True):
    """One marked property, as a flush needs it."""

    mark_id: int
    event_type_id: int
    name: str
    """Of the property, at the root of `properties`."""
    value_type: ValueType
    is_array: bool


class OutdatedMarks(Exception):
    """The registry could not be looked at lately: a property may have been marked since."""


class Marks:
    """What one worker knows, and since when."""

    def __init__(self) -> None:
        self._by_tenant: dict[int, dict[int, list[Mark]]] = {}
        self._looked_at = float("-inf")

    def replace(self, tenant_id: int, marks: Iterable[Mark]) -> None:
        by_type: dict[int, list[Mark]] = {}
        for mark in marks:
            by_type.setdefault(mark.event_type_id, []).append(mark)
        self._by_tenant[tenant_id] = by_type

    def confirm(self, looked_at: float) -> None:
        """All that was committed before this moment (monotonic) is known here."""
        self._looked_at = looked_at

    def in_force(self, tenant_id: int) -> Mapping[int, Sequence[Mark]]:
        """The marks to feed, by event type.

        raises  OutdatedMarks: a flush now could leave values out for ever
        """
        if time.monotonic() - self._looked_at > MAX_AGE_SECONDS:
            raise OutdatedMarks
        return self._by_tenant.get(tenant_id, {})


def known_everywhere_at(now: datetime) -> datetime:
    """From when on every flush knows what is committed now; by that flush's own clock."""
    return now + timedelta(seconds=MAX_AGE_SECONDS) + clock.SKEW
