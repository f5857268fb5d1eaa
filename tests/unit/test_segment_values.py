"""What a marked property keeps of an event."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.segments.marks import Mark, Marks, OutdatedMarks, ValueType
from app.segments.values import (
    KEPT_CHARS,
    MAX_TEXT_CHARS,
    decode_stored,
    decode_value,
    value_type_of,
    values_of,
)


def mark(value_type: ValueType, *, is_array: bool = False) -> Mark:
    return Mark(1, 1, "p", value_type, is_array)


@pytest.mark.parametrize(
    ("schema", "kept"),
    [
        ({"type": "string"}, (ValueType.TEXT, False)),
        ({"type": ["string", "null"]}, (ValueType.TEXT, False)),
        ({"type": "string", "format": "email"}, (ValueType.TEXT, False)),
        ({"type": "string", "format": "date"}, (ValueType.TIMESTAMP, False)),
        ({"type": "string", "format": "date-time"}, (ValueType.TIMESTAMP, False)),
        ({"type": "integer"}, (ValueType.NUMBER, False)),
        ({"type": "number"}, (ValueType.NUMBER, False)),
        ({"type": "boolean"}, (ValueType.BOOLEAN, False)),
        ({"type": "array", "items": {"type": "integer"}}, (ValueType.NUMBER, True)),
        ({"type": "array"}, None),
        ({"type": "array", "items": {"type": "object"}}, None),
        ({"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, None),
        ({"type": "object"}, None),
        ({}, None),
    ],
)
def test_a_schema_says_how_its_values_are_kept(schema: dict[str, Any], kept: object) -> None:
    assert value_type_of(schema) == kept


@pytest.mark.parametrize(
    ("value_type", "sent", "kept"),
    [
        (ValueType.TEXT, '"a"', ["a"]),
        (ValueType.TEXT, '""', [""]),
        (ValueType.TEXT, "1", []),
        (ValueType.TEXT, "null", []),
        (ValueType.NUMBER, "120.50", [Decimal("120.5")]),
        (ValueType.NUMBER, "9007199254740993", [Decimal("9007199254740993")]),
        (ValueType.NUMBER, "0.1234567890123456789", [Decimal("0.1234567890123456789")]),
        (ValueType.NUMBER, "true", []),
        (ValueType.NUMBER, '"1"', []),
        (ValueType.BOOLEAN, "false", [False]),
        (ValueType.BOOLEAN, "0", []),
        (ValueType.TIMESTAMP, '"2026-05-20"', [datetime(2026, 5, 20, tzinfo=UTC)]),
        (
            ValueType.TIMESTAMP,
            '"2026-05-20T02:00:00+02:00"',
            [datetime(2026, 5, 20, tzinfo=UTC)],
        ),
        (
            ValueType.TIMESTAMP,
            '"2016-12-31T23:59:60Z"',
            [datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)],
        ),
        (ValueType.TIMESTAMP, '"2026-05-20T02:00:00"', []),
        (ValueType.TIMESTAMP, '"0001-01-01T00:00:00+02:00"', []),
        (ValueType.TIMESTAMP, '"9999-12-31T23:59:59-02:00"', []),
        (ValueType.TIMESTAMP, '"0000-01-01T00:00:00Z"', []),
        (ValueType.TIMESTAMP, '"soon"', []),
    ],
)
def test_a_scalar_gives_its_value_or_none(
    value_type: ValueType, sent: str, kept: list[object]
) -> None:
    assert values_of(mark(value_type), decode_value(sent)) == kept


def test_an_array_gives_each_distinct_item_once_and_passes_over_others() -> None:
    array = mark(ValueType.NUMBER, is_array=True)
    assert values_of(array, decode_value('[1, 1.0, 2, null, "x", [3]]')) == [1, 2]
    assert values_of(array, decode_value("[]")) == []
    assert values_of(array, decode_value("1")) == []
    assert values_of(mark(ValueType.NUMBER), decode_value("[1]")) == []


def test_long_texts_keep_their_beginning_and_differ_by_their_end() -> None:
    text = mark(ValueType.TEXT)
    longest = "ä" * MAX_TEXT_CHARS
    assert values_of(text, longest) == [longest]
    (one,) = values_of(text, longest + "a")
    (other,) = values_of(text, longest + "b")
    assert isinstance(one, str)
    assert one != other
    assert one.startswith("ä" * KEPT_CHARS)
    assert len(one) <= MAX_TEXT_CHARS


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.sampled_from(ValueType), st.booleans(), _JSON)
def test_whatever_an_older_version_let_pass_gives_values_or_nothing(
    value_type: ValueType, is_array: bool, sent: object
) -> None:
    stored = decode_stored(msgspec.json.encode({"p": sent}))["p"]
    kept = values_of(mark(value_type, is_array=is_array), stored)
    assert len(kept) == len(set(kept))
    assert None not in kept


def test_marks_that_were_not_confirmed_lately_feed_nothing() -> None:
    marks = Marks()
    with pytest.raises(OutdatedMarks):
        marks.in_force(1)
    marks.replace(1, [mark(ValueType.TEXT)])
    marks.confirm(float("inf"))
    assert marks.in_force(1) == {1: [mark(ValueType.TEXT)]}
    assert marks.in_force(2) == {}
