"""One run: what is asked, and how far it has come. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from app import ids
from app.impact.tally import Tally
from app.ingest.judge import EARLIEST, MAX_AHEAD

Cursor = tuple[datetime, bytes]
"""When the last judged row happened (an event) or was received (a quarantined item), and its id."""


class State(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


class Stage(StrEnum):
    """What is being judged: first what was accepted, then what was refused."""

    EVENTS = "EVENTS"
    QUARANTINE = "QUARANTINE"


class Asked(msgspec.Struct, frozen=True):
    """What somebody wants to know."""

    event_type: str
    document: dict[str, Any]
    last_days: int | None
    max_events: int
    """Of the events, and of the quarantined items, the newest so many."""


class Run(msgspec.Struct, frozen=True):
    run_id: bytes
    tenant_id: int
    asked: Asked
    event_type_id: int | None
    version_ids: list[int]
    """Accepted when it was asked for: the current one, then those in grace, newest first."""
    requested_by: str
    """The public id of a key."""
    requested_at: datetime
    """The moment that all verdicts hold for."""
    state: State
    stage: Stage
    cursor: Cursor
    total: int | None
    """Rows to judge; None until they are counted."""
    tally: Tally
    claimed_until: datetime
    finished_at: datetime | None

    @property
    def since(self) -> datetime:
        if self.asked.last_days is None:
            return EARLIEST
        return self.requested_at - timedelta(days=self.asked.last_days)

    @property
    def left(self) -> int:
        """Rows of this stage that may still be judged."""
        counts = self.tally.events if self.stage is Stage.EVENTS else self.tally.quarantined
        return self.asked.max_events - counts.scanned


def first_cursor(stage: Stage, requested_at: datetime) -> Cursor:
    """Before the newest row there can be."""
    ahead = MAX_AHEAD if stage is Stage.EVENTS else timedelta(0)
    return requested_at + ahead, b"\xff" * ids.ID_BYTES
