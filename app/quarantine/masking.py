"""Hides what was sent and leaves how it was built: names, nesting and kinds of values. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

HIDDEN = "***"
"""Stands for a value, whatever its type."""


def masked(payload: bytes) -> str | None:
    """JSON of the same shape, every value but true, false and null replaced by HIDDEN.

    None when it is no JSON: nobody can tell what is a value in there.
    """
    try:
        return msgspec.json.encode(_masked(msgspec.json.decode(payload))).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_masked(part) for part in value]
    return value if value is None or isinstance(value, bool) else HIDDEN
