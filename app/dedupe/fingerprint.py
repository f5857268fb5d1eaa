"""Tells whether two deliveries under one key are the same fact.

Pure. Never sees a value that was not decoded: numbers must be as `exact_number` gives them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec

FINGERPRINT_BYTES = 16
MAX_PATHS = 50
MAX_NAME_CHARS = 128
"""Longer names are cut in a path: fifty paths below one huge name would not fit an answer."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CANONICAL = msgspec.json.Encoder(order="deterministic", decimal_format="number")


class Content(msgspec.Struct, frozen=True):
    """What makes a delivery this fact and no other; everything else may differ in a retry."""

    event_type: str
    occurred_at: datetime | None
    """As sent, aware; None when it was left out: receipt times of retries differ."""
    identity: Mapping[str, str]
    """Normalised, by wire name: what `fingerprint_identity` gives."""
    properties: Mapping[str, Any]


def fingerprint(
    hash_key: bytes,
    event_type: str,
    occurred_at: datetime | None,
    identity: Mapping[str, str],
    properties: Mapping[str, Any],
) -> bytes:
    """16 bytes that are equal for equal content, whatever its spelling (see `Content`).

    hash_key  the tenant's own 32 bytes: without it nobody can test a guess about a person.
    Key order, white space, 120.50 against 120.5 and the time zone of occurredAt do not matter.
    """
    canonical = _CANONICAL.encode((event_type, _instant(occurred_at), identity, properties))
    return blake2b(
        canonical, digest_size=FINGERPRINT_BYTES, key=hash_key, person=b"cdp-fingerprint"
    ).digest()


def differing_paths(first: Content, second: Content) -> list[str]:
    """Where two deliveries differ: JSON Pointers into the event as sent, sorted, 50 at most.

    Names, never values. Empty exactly when the fingerprints are equal.
    """
    paths = []
    if first.event_type != second.event_type:
        paths.append("/eventType")
    if first.occurred_at != second.occurred_at:
        paths.append("/occurredAt")
    paths.extend(_differences("/identity", first.identity, second.identity))
    paths.extend(_differences("/properties", first.properties, second.properties))
    return sorted(paths)[:MAX_PATHS]


def _instant(moment: datetime | None) -> tuple[int, int, int] | None:
    """Days, seconds and microseconds since 1970; year 1 with an offset has no form in UTC."""
    if moment is None:
        return None
    elapsed = moment - _EPOCH
    return elapsed.days, elapsed.seconds, elapsed.microseconds


def _differences(path: str, first: Any, second: Any) -> Iterator[str]:
    """The paths at and below `path` where two JSON values differ. True is not 1."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in first.keys() | second.keys():
            below = f"{path}/{_escaped(name)}"
            if name in first and name in second:
                yield from _differences(below, first[name], second[name])
            else:
                yield below
    elif isinstance(first, list) and isinstance(second, list):
        for index in range(max(len(first), len(second))):
            below = f"{path}/{index}"
            if index < len(first) and index < len(second):
                yield from _differences(below, first[index], second[index])
            else:
                yield below
    elif first != second or isinstance(first, bool) != isinstance(second, bool):
        yield path


def _escaped(name: str) -> str:
    """One part of a JSON Pointer (RFC 6901)."""
    if len(name) > MAX_NAME_CHARS:
        name = name[:MAX_NAME_CHARS] + "…"
    return name.replace("~", "~0").replace("/", "~1")
