"""Names that would be misread: reserved ones, the envelope's, and ones too near another.

Pure. Never decides whether a name may be used: `linter` and the registry's services do.
"""

from __future__ import annotations

from collections.abc import Iterable

RESERVED_PREFIXES = ("$", "x-")
"""Keywords of a document start with them, so a reader would take the property for one."""
RESERVED_NAMES = frozenset({"__proto__"})
"""A consumer in JavaScript that copies it changes its object instead."""

_ENVELOPE = ("source", "externalEventId", "eventType", "occurredAt", "receivedAt", "eventId",
             "identity", "properties")  # fmt: skip
_MIN_NEAR_CHARS = 8
"""Shorter names differ by one letter and are other words: `visit`, `visits`."""


def spelling(name: str) -> str:
    """What is left when case and the signs between words do not matter."""
    return name.lower().replace("_", "").replace("-", "").replace(".", "")


_ENVELOPE_BY_SPELLING = {spelling(name): name for name in _ENVELOPE}


def is_reserved(name: str) -> bool:
    return name.startswith(RESERVED_PREFIXES) or name in RESERVED_NAMES


def envelope_field(name: str) -> str | None:
    """The field of every event that a property of this name would be confused with."""
    return _ENVELOPE_BY_SPELLING.get(spelling(name))


def event_types_alike(name: str, known: Iterable[str]) -> list[str]:
    """The known event types that senders would confuse with this name, sorted.

    Those of the same spelling, of the same words in another order, or one letter apart (digits do
    not count: `step_1` and `step_2` are told apart).
    cost  1 µs for each known name, 10 for those of about the same length
    """
    return sorted({other for other in known if other != name and _alike(name, other)})


def _alike(name: str, other: str) -> bool:
    mine, theirs = spelling(name), spelling(other)
    if mine == theirs or _words(name) == _words(other):
        return True
    return min(len(mine), len(theirs)) >= _MIN_NEAR_CHARS and _one_letter_apart(mine, theirs)


def _words(name: str) -> list[str]:
    return sorted(name.lower().replace(".", "_").replace("-", "_").split("_"))


def _one_letter_apart(one: str, other: str) -> bool:
    """One letter more, less or different, or two neighbours swapped."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    left, right = one[start:], other[start:]
    if left[1:] == right:
        changed = left[:1]
    elif left == right[1:]:
        changed = right[:1]
    elif left[1:] == right[1:]:
        changed = left[:1] + right[:1]
    elif left[1:2] + left[:1] + left[2:] == right:
        changed = left[:2]
    else:
        return False
    return not any(character.isdigit() for character in changed)
