"""JSON text taken apart without building its values. Pure; knows no event."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoders raise for bytes that are not the JSON asked for (ValidationError included)."""

MAX_NAME_CHARS = 128
"""Longer names are cut in a path."""

_GRAMMAR = msgspec.json.Decoder(msgspec.Raw)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")


def syntax_flaw(raw: bytes) -> str | None:
    """Why these bytes are no JSON that can be read (a key of REASONS), or None when they are.

    "nesting_too_deep" is beyond the decoder's stack (about 1,000 levels); less passes here.
    """
    try:
        raw.decode()
        _GRAMMAR.decode(raw)
    except RecursionError:
        return "nesting_too_deep"
    except UnicodeDecodeError:
        return "json_encoding"
    except msgspec.DecodeError as error:
        # A lone surrogate before a closing quote is reported as truncated input.
        halved = "surrogate" in str(error) or _LONE_SURROGATE.search(raw)
        return "json_encoding" if halved else "json_syntax"
    return None


def members_of(raw: bytes) -> dict[str, bytes]:
    """The members of a well-formed object, values as sent; of a repeated one the last."""
    return {name: bytes(value) for name, value in _MEMBERS.decode(raw).items()}


def pointer(name: str) -> str:
    """A name as one part of a JSON Pointer (RFC 6901), fit to be stored: cut, without NUL."""
    if len(name) > MAX_NAME_CHARS:
        name = name[:MAX_NAME_CHARS] + "…"
    return name.replace("\0", "\ufffd").replace("~", "~0").replace("/", "~1")


def similar_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that this one probably means: `occured_at` → `occurredAt`.

    The same letters but for one or two, at about the same length. Cheap: a hostile batch asks
    for a hundred thousand names.
    """
    plain = name[:MAX_NAME_CHARS].replace("_", "").replace("-", "").lower()
    for candidate in known:
        other = candidate.lower()
        strange = len(set(plain) ^ set(other))
        if strange <= min(2, len(other) // 5) and abs(len(plain) - len(other)) <= 2:
            return candidate
    return None
