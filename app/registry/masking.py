"""Hides personal data from readers who may not see it. Pure; never looks at who is asking.

What a version's document classes as personal (x-pii) is hidden, with all that is inside; so is a
member that the document does not know, for nobody has said what it is. Of a refused item nobody
has said anything: only how it was built is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

HIDDEN = "***"
"""Stands for a hidden value, whatever its type: null would say that nothing was sent."""


class Mask(msgspec.Struct, frozen=True):
    """What of a value may be shown."""

    hidden: bool = False
    members: Mapping[str, Mask] | None = None
    """Of an object; those that are not named are hidden. None: it is shown as a whole."""
    items: Mask | None = None
    """Of an array; None: it is shown as a whole."""


_HIDDEN = Mask(hidden=True)
_EXACT_IN = msgspec.json.Decoder(float_hook=Decimal)
_EXACT_OUT = msgspec.json.Encoder(decimal_format="number")


def mask_of(document: Mapping[str, Any]) -> Mask:
    """The mask of an event's properties, from the version that judged it."""
    return _mask(document, root=True)


def masked(value: Any, mask: Mask) -> Any:
    """A JSON value with HIDDEN in the place of what may not be shown."""
    if mask.hidden:
        return HIDDEN
    if isinstance(value, dict) and mask.members is not None:
        return {name: masked(part, mask.members.get(name, _HIDDEN)) for name, part in value.items()}
    if isinstance(value, list) and mask.items is not None:
        return [masked(item, mask.items) for item in value]
    return value


def masked_json(raw: bytes, mask: Mask) -> bytes:
    """The same for JSON as text; numbers that are shown keep every digit."""
    return _EXACT_OUT.encode(masked(_EXACT_IN.decode(raw), mask))


def masked_text(text: str | None, *, shown: bool) -> str | None:
    """One value of an identity: as it is, HIDDEN, or None where there is none."""
    return text if shown or text is None else HIDDEN


def masked_payload(payload: bytes) -> str | None:
    """JSON of the same shape, every value but null replaced by HIDDEN.

    None when it is no JSON: nobody can tell what is a value in there.
    """
    try:
        return msgspec.json.encode(_shape(msgspec.json.decode(payload))).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shape(part) for part in value]
    return None if value is None else HIDDEN


def _mask(schema: Mapping[str, Any], *, root: bool = False) -> Mask:
    if schema.get("x-pii", "none") != "none":
        return _HIDDEN
    members = None
    if root or "properties" in schema:
        members = {name: _mask(child) for name, child in schema.get("properties", {}).items()}
    return Mask(members=members, items=_mask(schema["items"]) if "items" in schema else None)
