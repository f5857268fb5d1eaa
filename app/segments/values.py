"""The values that an event has for a mark. Pure.

One function for flush and backfill: the two cannot disagree. Never raises: what is not of the
mark's type (an older version allowed it) gives no value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec

from app.segments.marks import Mark, ValueType

MAX_TEXT_CHARS = 256
"""Longer texts are kept as their beginning and a hash: an index entry of Postgres has 2,704 bytes
at most, and a character up to 4."""
KEPT_CHARS = 190

_DATE_CHARS = 10
_SCALARS = {
    "string": ValueType.TEXT,
    "number": ValueType.NUMBER,
    "integer": ValueType.NUMBER,
    "boolean": ValueType.BOOLEAN,
}
_TIMES = ("date", "date-time")

Value = str | Decimal | bool | datetime


def value_type_of(schema: Mapping[str, Any]) -> tuple[ValueType, bool] | None:
    """How a property of this schema would be kept, and whether as an array.

    returns  None when it is no scalar of one type and no array of such
    """
    name = _only_type(schema)
    if name == "array":
        items = schema.get("items")
        value_type = _scalar_type(items) if isinstance(items, Mapping) else None
        return None if value_type is None else (value_type, True)
    value_type = _scalar_type(schema)
    return None if value_type is None else (value_type, False)


def _scalar_type(schema: Mapping[str, Any]) -> ValueType | None:
    value_type = _SCALARS.get(_only_type(schema) or "")
    if value_type is ValueType.TEXT and schema.get("format") in _TIMES:
        return ValueType.TIMESTAMP
    return value_type


def _only_type(schema: Mapping[str, Any]) -> str | None:
    declared = schema.get("type", [])
    types = [declared] if isinstance(declared, str) else [t for t in declared if t != "null"]
    return types[0] if len(types) == 1 else None


_PROPERTIES = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_VALUE = msgspec.json.Decoder(float_hook=Decimal)


def decode_stored(properties: bytes) -> dict[str, Any]:
    """Properties as they are stored: numbers are int or Decimal, every digit kept."""
    return _PROPERTIES.decode(properties)


def decode_value(value: str) -> Any:
    """One member of stored properties."""
    return _VALUE.decode(value)


def values_of(mark: Mark, sent: Any) -> list[Value]:
    """The values to keep of what an event has under the mark's name; None when it has nothing.

    An array gives each distinct item once.
    """
    convert = _CONVERTERS[mark.value_type]
    if not mark.is_array:
        value = convert(sent)
        return [] if value is None else [value]
    if not isinstance(sent, list):
        return []
    values = (convert(item) for item in sent)
    return list(dict.fromkeys(value for value in values if value is not None))


def comparable(value_type: ValueType, sent: Any) -> Value | None:
    """A value to compare with, in the form in which values are kept; None: not of the type."""
    return _CONVERTERS[value_type](sent)


def _text(sent: Any) -> str | None:
    if not isinstance(sent, str):
        return None
    if len(sent) <= MAX_TEXT_CHARS:
        return sent
    whole = sha256(sent.encode(errors="surrogatepass")).hexdigest()
    return f"{sent[:KEPT_CHARS]}…{whole}"


def _number(sent: Any) -> Decimal | None:
    if isinstance(sent, Decimal):
        return sent
    return Decimal(sent) if isinstance(sent, int) and not isinstance(sent, bool) else None


def _boolean(sent: Any) -> bool | None:
    return sent if isinstance(sent, bool) else None


def _timestamp(sent: Any) -> datetime | None:
    """A date is its first instant in UTC, a leap second the second before it."""
    if not isinstance(sent, str):
        return None
    if len(sent) == _DATE_CHARS:
        sent += "T00:00:00Z"
    elif sent[17:19] == "60":
        sent = f"{sent[:17]}59{sent[19:]}"
    try:
        at = msgspec.convert(sent, datetime)
        return None if at.tzinfo is None else at.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        return None


_CONVERTERS: Mapping[ValueType, Callable[[Any], Value | None]] = {
    ValueType.TEXT: _text,
    ValueType.NUMBER: _number,
    ValueType.BOOLEAN: _boolean,
    ValueType.TIMESTAMP: _timestamp,
}
