"""Conditions on an event's properties: what may be asked of a marked one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from app.segments.marks import Mark, ValueType
from app.segments.values import Value, comparable

MAX_CONDITIONS = 5
"""On one event."""
MAX_VALUES = 200
"""Of one `in`."""
MAX_NUMBER_DIGITS = 400
"""As in events: more could not be stored."""


class Problem(msgspec.Struct, frozen=True):
    """What keeps a definition from being used."""

    path: str
    """JSON Pointer into the definition."""
    rule: str
    message: str


class Limits(msgspec.Struct, frozen=True):
    """Both ends of a range as sent; null is open."""

    at_least: Any = None
    above: Any = None
    at_most: Any = None
    below: Any = None


class Condition(msgspec.Struct, frozen=True):
    """One condition as sent: exactly one of the last four is given."""

    path: str
    """Of the property: "/amount"."""
    equals: Any = None
    one_of: Sequence[Any] | None = None
    limits: Limits | None = None
    exists: bool | None = None


class OneOf(msgspec.Struct, frozen=True):
    """The value is one of these."""

    values: tuple[Value, ...]


class Range(msgspec.Struct, frozen=True):
    """The value is on the right side of each of these."""

    bounds: tuple[tuple[str, Value], ...]
    """(operator of SQL, value)"""


class Exists(msgspec.Struct, frozen=True):
    """The event has a value at all, or has none."""

    present: bool


Test = OneOf | Range | Exists


class Predicate(msgspec.Struct, frozen=True):
    """A test of one marked property."""

    mark: Mark
    test: Test

    @property
    def is_absence(self) -> bool:
        """It holds of events that have no value."""
        return isinstance(self.test, Exists) and not self.test.present


_OPERATORS = {"at_least": ">=", "above": ">", "at_most": "<=", "below": "<"}
_WORDS = {
    ValueType.TEXT: "a text",
    ValueType.NUMBER: "a number",
    ValueType.BOOLEAN: "true or false",
    ValueType.TIMESTAMP: "a date, or a date and time with its offset, as a text",
}


def check_condition(at: str, condition: Condition, value_type: ValueType) -> Test | Problem:
    """The test that a condition stands for.

    at  where the condition is, for problems
    """
    given = [
        field
        for field in ("equals", "one_of", "limits", "exists")
        if getattr(condition, field) is not None
    ]
    if len(given) != 1:
        message = "give exactly one of equals, in, range and exists"
        return Problem(at, "condition_shape", message)
    if condition.exists is not None:
        return Exists(condition.exists)
    if condition.limits is not None:
        return _range(f"{at}/range", condition.limits, value_type)
    if condition.one_of is None:
        value = _value(f"{at}/equals", condition.equals, value_type)
        return value if isinstance(value, Problem) else OneOf((value,))
    if not 1 <= len(condition.one_of) <= MAX_VALUES:
        return Problem(f"{at}/in", "value_count", f"1 to {MAX_VALUES} values")
    values = [_value(f"{at}/in/{i}", v, value_type) for i, v in enumerate(condition.one_of)]
    for value in values:
        if isinstance(value, Problem):
            return value
    return OneOf(tuple(value for value in values if not isinstance(value, Problem)))


def _range(at: str, limits: Limits, value_type: ValueType) -> Range | Problem:
    if value_type is ValueType.BOOLEAN:
        return Problem(at, "range_of_boolean", "true and false have no order: use equals")
    bounds = []
    for field, operator in _OPERATORS.items():
        sent = getattr(limits, field)
        if sent is None:
            continue
        value = _value(at, sent, value_type)
        if isinstance(value, Problem):
            return value
        bounds.append((operator, value))
    if not bounds:
        return Problem(at, "range_empty", "give at least one end of the range")
    return Range(tuple(bounds))


def _value(at: str, sent: Any, value_type: ValueType) -> Value | Problem:
    value = comparable(value_type, sent)
    if value is None:
        return Problem(at, "value_type", f"must be {_WORDS[value_type]}, as the property is")
    if isinstance(value, str) and not is_storable(value):
        return Problem(at, "text_not_storable", "holds NUL or half of a surrogate pair")
    if isinstance(value, Decimal) and not is_bounded(value):
        return Problem(at, "number_out_of_range", "no event can have such a number")
    return value


def is_bounded(number: Decimal) -> bool:
    """Whether it can be compared at a bounded cost."""
    digits = len(number.as_tuple().digits)
    return (
        number.is_finite()
        and digits <= MAX_NUMBER_DIGITS
        and abs(number.adjusted()) <= MAX_NUMBER_DIGITS
    )


def is_storable(text: str) -> bool:
    """Whether Postgres can be asked for it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
