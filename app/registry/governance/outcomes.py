"""Who asks for a change of the registry, and the answers that are no change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from app.registry.evolution import Breakage
from app.registry.spec import Finding, is_storable

MAX_NAME_CHARS = 200
MAX_TEXT_CHARS = 4_000
MAX_REASON_CHARS = 1_000


class Actor(msgspec.Struct, frozen=True):
    """A person behind an API key, as far as anybody can tell."""

    public_id: str
    may_approve: bool
    """Holds the scope schema:approve."""


class NotFound(msgspec.Struct, frozen=True):
    message: str


class Stale(msgspec.Struct, frozen=True):
    """It was changed since the caller read it."""

    current_revision: int


class Invalid(msgspec.Struct, frozen=True):
    findings: Sequence[Finding]


class NotPermitted(msgspec.Struct, frozen=True):
    """It needs something else first."""

    reason: str
    """Stable: callers switch on it."""
    message: str


class VersionBreakage(msgspec.Struct, frozen=True):
    """How a document breaks with one published version."""

    version: int
    breakage: Breakage


class Incompatible(msgspec.Struct, frozen=True):
    """It breaks with earlier versions, and no reason was given to do it nevertheless."""

    breakages: Sequence[VersionBreakage]


def same_holders(keys: Iterable[str], replacements: Sequence[tuple[str, str]]) -> set[str]:
    """The keys, and all that replaced or were replaced by one of them, however often.

    replacements  (old, new) of every key that was rotated
    """
    found, reached = set[str](), set(keys)
    while found != reached:
        found = reached
        reached = found.union(*(pair for pair in replacements if not found.isdisjoint(pair)))
    return found


def text_findings(path: str, text: str | None, max_chars: int) -> list[Finding]:
    """What keeps a text that people write from being kept."""
    if text is None:
        return []
    if not text.strip() or len(text) > max_chars:
        return [Finding(path, "text_length", f"1 to {max_chars} characters")]
    if not is_storable(text):
        return [Finding(path, "text_not_storable", "holds NUL or half of a surrogate pair")]
    return []


def reason_findings(path: str, reason: str) -> list[Finding]:
    return text_findings(path, reason, MAX_REASON_CHARS)


NO_EVENT_TYPE = NotFound("there is no such event type")
NO_DRAFT = NotFound("there is no such draft")
NEEDS_APPROVER = NotPermitted("scope_missing", "it needs a key with the scope schema:approve")
