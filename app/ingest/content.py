"""What JSON may contain so that every reader, Postgres included, holds the same value.

Pure. Knows no event: rules about values, whatever they mean.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import msgspec

MAX_NESTING = 32
"""Levels of objects and arrays in an event; the event itself is the first."""
MAX_DIGITS = 400
"""In one number: jsonb would hold 131,072 before the point, readers of ours would not."""
MAX_EXPONENT = 308
"""Numbers are below 1e308 and, but for 0, not below 1e-308: the range of a double."""
FLOAT_DIGITS = 15
"""Decimal digits that every double keeps (IEEE 754)."""

CACHED_NUMBERS = 16_384
"""Prices repeat: a hit costs 0.1 µs, the conversion 0.6. At most 1 kB each: MAX_NUMBER_CHARS."""
MAX_NUMBER_CHARS = 1_000
"""More than any number in range with 400 digits takes, in its plainest spelling."""

STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
"""A JSON string, for bytes patterns with re.DOTALL; possessive, so linear."""

_BACKSLASH = 0x5C  # looking for a byte takes a fifth of looking for b"\\"
_EXACT = Context(prec=MAX_DIGITS)
_STRING = re.compile(STRING, re.DOTALL)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")
_SAMPLED_DIGITS = re.compile(rb"[0-9]{6}")
_LONG_INTEGER = re.compile(rb"(?<![0-9.eE+\-])-?[0-9]{309}[0-9]*+(?![.eE])")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{[]}"))
_AS_BRACES = bytes.maketrans(b"[]", b"{}")


@lru_cache(CACHED_NUMBERS)
def exact_number(text: str) -> int | float | Decimal:
    """The number a JSON literal with a "." or an exponent stands for, losing no digit.

    Equal numbers come out equal and of one type, however they are spelt: int when integral,
    float with up to 15 significant digits, Decimal beyond.
    raises  ValueError out of the range or with over 400 digits: jsonb would refuse it, and
            everybody's transaction with it.
    cost    0.6 µs, 3 µs with more than 15 digits; 0.1 µs when seen lately.
    """
    if len(text) <= FLOAT_DIGITS + 1:  # the "." or "e" is no digit
        number = float(text)
        if 1e-300 < abs(number) < 1e15:
            return number if number % 1 else int(number)
    if len(text) > MAX_NUMBER_CHARS:
        raise ValueError("length")
    try:
        exact = Decimal(text)
    except InvalidOperation:  # an exponent of 19 digits
        raise ValueError("exponent") from None
    if not -MAX_EXPONENT <= exact.adjusted() < MAX_EXPONENT:
        raise ValueError("magnitude")
    if len(exact.as_tuple().digits) > MAX_DIGITS:
        raise ValueError("digits")
    if exact == exact.to_integral_value():
        return int(exact)
    exact = exact.normalize(_EXACT)
    if len(exact.as_tuple().digits) <= FLOAT_DIGITS and exact.adjusted() >= -300:
        return float(exact)
    return exact


_PROPERTIES = msgspec.json.Decoder(dict[str, Any], float_hook=exact_number)
_VALUE = msgspec.json.Decoder(float_hook=exact_number)


def decode_properties(raw: bytes) -> dict[str, Any]:
    """A JSON object with exact numbers; of a repeated member the last.

    raises  msgspec.ValidationError when it is no object, or a number is out of range;
            msgspec.DecodeError, UnicodeDecodeError, RecursionError when it is no decent JSON.
    """
    return _PROPERTIES.decode(raw)


def hidden_flaw(raw: bytes, max_nesting: int = MAX_NESTING) -> str | None:
    """Why JSON that decodes cannot be stored all the same (a key of REASONS), or None.

    Looks at the bytes: a decoded value no longer shows what a repeated member hid, but Postgres
    reads that too.
    raw   well-formed
    cost  0.5 µs; 10 µs a kB when there are more brackets than levels, a \\u0000 or long numbers.
    """
    if _BACKSLASH in raw and b"\\u0000" in raw and _NUL.search(raw):
        return "nul_character"
    if raw.count(b"{") + raw.count(b"[") > max_nesting and _is_deeper(raw, max_nesting):
        return "nesting_too_deep"
    if len(raw) > MAX_EXPONENT and _SAMPLED_DIGITS.search(raw[::50]):
        # 309 digits in a row are there at six multiples of 50 at least.
        return "number_out_of_range" if _LONG_INTEGER.search(_skeleton(raw)) else None
    return None


def value_flaw(raw: bytes, max_nesting: int) -> str | None:
    """Why one well-formed JSON value cannot be stored (a key of REASONS), or None."""
    flaw = hidden_flaw(raw, max_nesting)
    if flaw is None:
        try:
            _VALUE.decode(raw)
        except msgspec.ValidationError:
            return "number_out_of_range"
    return flaw


def _is_deeper(raw: bytes, levels: int) -> bool:
    """Whether objects and arrays are nested deeper than that."""
    brackets = _skeleton(raw).translate(_AS_BRACES, _NOT_BRACKETS)
    for _ in range(levels):  # each time the innermost level goes
        brackets = brackets.replace(b"{}", b"")
    return brackets != b""


def _skeleton(raw: bytes) -> bytes:
    """Well-formed JSON without its strings."""
    if _BACKSLASH in raw:
        return _STRING.sub(b"", raw)
    return b"".join(raw.split(b'"')[::2])
