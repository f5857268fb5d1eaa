"""The structs an event passes through: as sent, judged, and its outcome.

None can be part of a cycle, so the garbage collector need not look at them (gc=False).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from app.errors import ErrorCode, Violation
from app.identity.identifiers import Identifier, Identity


class Envelope(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """One event as sent: its shape is right, nothing else has been checked."""

    source: str
    external_event_id: str
    event_type: str
    identity: Identity
    occurred_at: datetime | None = None
    properties: msgspec.Raw | None = None


class Decoded(msgspec.Struct, frozen=True):
    """A well-formed event: what `decode` gives to `judge`."""

    envelope: Envelope
    properties: dict[str, Any]
    """Numbers are exact: int, float (15 significant digits at most) or Decimal (more)."""
    raw_properties: bytes
    """The same as sent: what is stored, digit by digit."""
    size_bytes: int


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """An item that is no well-formed event, with every reason that could be found."""

    code: ErrorCode
    """MALFORMED_JSON, VALIDATION_FAILED or PAYLOAD_TOO_LARGE."""
    violations: Sequence[Violation]
    source: str | None = None
    external_event_id: str | None = None
    event_type: str | None = None
    """The three as far as they are legal strings: for quarantine and counters."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """A judged event: nothing is left that the database could refuse."""

    event_id: bytes
    source: str
    external_event_id: str
    event_type: str
    event_type_id: int
    version_id: int
    occurred_at: datetime | None
    """As sent; receipt time stands in when it was left out."""
    identity: bytes
    """JSON as sent."""
    identifiers: tuple[Identifier, ...]
    """Normalised, by priority; at least one."""
    properties: bytes
    fingerprint: bytes
    size_bytes: int
    warnings: tuple[Violation, ...] = ()


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """A refused item: what is kept in quarantine and answered."""

    code: ErrorCode
    violations: tuple[Violation, ...]
    payload: bytes
    """As sent; may be no JSON at all."""
    source: str | None = None
    external_event_id: str | None = None
    event_type: str | None = None
    event_type_id: int = 0
    """0 when the name is not registered."""
    event_id: bytes | None = None
    fingerprint: bytes | None = None
    """With event_id: lets a retry of an accepted event answer duplicate (contract row 6)."""


class Accepted(msgspec.Struct, frozen=True, gc=False):
    event_id: bytes
    warnings: tuple[Violation, ...] = ()


class Duplicate(msgspec.Struct, frozen=True, gc=False):
    original_event_id: bytes


class Refused(msgspec.Struct, frozen=True, gc=False):
    """Rejected, or in conflict with what was delivered before."""

    code: ErrorCode
    violations: tuple[Violation, ...]
    message: str
    original_event_id: bytes | None = None


Judged = Event | Rejected
Outcome = Accepted | Duplicate | Refused
