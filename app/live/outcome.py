"""One committed outcome, and which ones somebody wants to hear of. Pure; holds no value."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from app.stats.queries import OutcomeKind

_STRUCT_BYTES = 500
"""What an outcome takes beside its texts, about."""


class Outcome(msgspec.Struct, kw_only=True):
    """What became of one delivery."""

    kind: OutcomeKind
    received_at: datetime
    source: str | None
    """Of a rejected item, this and the next two: as sent, where it could be read."""
    event_type: str | None
    """Of a redelivery, this and the next: the event's; None when it is gone."""
    external_event_id: str | None
    event_id: bytes | None = None
    """None of a rejected item."""
    differing: Sequence[str] = ()
    """JSON Pointers to where a redelivery differs from the first delivery."""
    quarantine_id: bytes | None = None
    error_code: str | None = None
    reasons: str = "[]"
    """Of a rejected item: its violations as JSON, as they are stored."""
    key_id: str | None
    key_name: str | None
    held_bytes: int = 0
    """About what it takes in memory: counted once, asked for by every subscription."""

    def __post_init__(self) -> None:
        texts = (self.source, self.event_type, self.external_event_id, self.reasons)
        held = sum(len(text) for text in (*texts, *self.differing) if text)
        self.held_bytes = _STRUCT_BYTES + held


class Which(msgspec.Struct, frozen=True):
    """Outcomes by name; None is any, and every field must hold."""

    sources: frozenset[str] | None = None
    event_types: frozenset[str] | None = None
    kinds: frozenset[OutcomeKind] | None = None

    def holds(self, outcome: Outcome) -> bool:
        return (
            (self.kinds is None or outcome.kind in self.kinds)
            and (self.sources is None or outcome.source in self.sources)
            and (self.event_types is None or outcome.event_type in self.event_types)
        )
