"""A batch falls into its items, whatever is in them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import AppError, ErrorCode
from app.ingest.decode import decode_event
from app.ingest.event import Decoded, Malformed
from app.ingest.split import split_batch

EVENT = (
    b'{"source":"pos","externalEventId":"e1","eventType":"visit",'
    b'"identity":{"email":"a@b.co"},"properties":{"a":["],}{\\"",{}]}}'
)


def holding(value: bytes) -> bytes:
    """The event with another property."""
    return EVENT[: EVENT.index(b'{"a"')] + b'{"a":' + value + b"}}"


def batch(*items: bytes) -> bytes:
    return b'{"items":[' + b",".join(items) + b"]}"


HOSTILE_ITEMS = [
    holding(b'"\\ud800"'),
    holding(b'"\xed\xa0\x80"'),
    b'"\xff, ] }"',
    b"NaN",
    b"[" * 100_000 + b"]" * 100_000,
    holding(b'"\\u0000"'),
    holding(b"1e400"),
    b'{"a":"],}\\"[{","b":[{},[]]} trailing',
    b'"a\nb"',
    b"9" * 5000,
    b"tru",
    b'{"a" 1}',
    b"null",
    b"\\",
]


def test_a_batch_is_cut_into_its_items_as_they_were_sent() -> None:
    assert split_batch(batch(EVENT, b"5", b" [1, 2] ", b'"a"', b"null")) == [
        EVENT,
        b"5",
        b"[1, 2]",
        b'"a"',
        b"null",
    ]


@pytest.mark.parametrize("body", [b'{"items":[]}', b' { "items" : [ ] } '])
def test_an_empty_batch_has_no_items(body: bytes) -> None:
    assert split_batch(body) == []


@pytest.mark.parametrize("hostile", HOSTILE_ITEMS, ids=range(len(HOSTILE_ITEMS)))
def test_a_hostile_item_does_not_touch_its_siblings(hostile: bytes) -> None:
    items = split_batch(batch(EVENT, hostile, b" " + EVENT + b"\n", hostile))
    assert items == [EVENT, hostile, EVENT, hostile]
    assert [type(decode_event(item)) for item in items] == [Decoded, Malformed] * 2


@given(st.lists(st.sampled_from([EVENT, *HOSTILE_ITEMS]), max_size=12))
@settings(max_examples=40)
def test_a_batch_of_n_items_splits_into_n(items: list[bytes]) -> None:
    assert split_batch(batch(*items)) == items


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
fragments = st.sampled_from(
    [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"\\ud800", b"\xff", b"NaN", b" ",
     b'"items"', b'{"items":[', EVENT]
)  # fmt: skip


@given(st.lists(json_values, max_size=5))
@settings(max_examples=60)
def test_a_batch_of_n_json_values_splits_into_n(values: list[Any]) -> None:
    items = [json.dumps(value).encode() for value in values]
    assert split_batch(batch(*items)) == items


@given(
    st.binary(max_size=40)
    | st.lists(fragments, max_size=10).map(b"".join)
    | st.lists(fragments, max_size=10).map(lambda parts: batch(b"".join(parts)))
)
@settings(max_examples=150)
def test_whatever_body_comes_in_is_split_or_refused(body: bytes) -> None:
    try:
        items = split_batch(body)
    except AppError as error:
        assert error.code in (ErrorCode.MALFORMED_JSON, ErrorCode.VALIDATION_FAILED)
        assert error.violations
    else:
        assert all(items)


@pytest.mark.parametrize(
    ("body", "code", "violations"),
    [
        (b"", ErrorCode.MALFORMED_JSON, [("", "json_syntax")]),
        (b"[1,2", ErrorCode.MALFORMED_JSON, [("", "json_syntax")]),
        (batch(EVENT)[:-1], ErrorCode.MALFORMED_JSON, [("", "json_syntax")]),
        (batch(EVENT)[:-2], ErrorCode.MALFORMED_JSON, [("", "json_syntax")]),
        (batch(EVENT) + b"x", ErrorCode.MALFORMED_JSON, [("", "json_syntax")]),
        (batch(EVENT, b""), ErrorCode.MALFORMED_JSON, [("", "json_syntax")]),
        (batch(b"", EVENT), ErrorCode.MALFORMED_JSON, [("", "json_syntax")]),
        (batch(b"NaN", b"", b"1"), ErrorCode.MALFORMED_JSON, [("", "json_syntax")]),
        (batch(b'"unterminated'), ErrorCode.MALFORMED_JSON, [("", "json_syntax")]),
        (batch(b'{"a":[}'), ErrorCode.MALFORMED_JSON, [("", "json_syntax")]),
        (batch(b"}"), ErrorCode.MALFORMED_JSON, [("", "json_syntax")]),
        (b'{"x":"\\ud800"}', ErrorCode.MALFORMED_JSON, [("", "json_encoding")]),
        (b'{"x":"\xff"}', ErrorCode.MALFORMED_JSON, [("", "json_encoding")]),
        (b"[" * 5000, ErrorCode.VALIDATION_FAILED, [("", "nesting_too_deep")]),
        (b"[]", ErrorCode.VALIDATION_FAILED, [("", "field_type")]),
        (b"{}", ErrorCode.VALIDATION_FAILED, [("/items", "field_missing")]),
        (b'{"items":null}', ErrorCode.VALIDATION_FAILED, [("/items", "field_missing")]),
        (b'{"items":{}}', ErrorCode.VALIDATION_FAILED, [("/items", "field_type")]),
        (b'{"items":"[]"}', ErrorCode.VALIDATION_FAILED, [("/items", "field_type")]),
        (b'{"items":[],"x":1}', ErrorCode.VALIDATION_FAILED, [("/x", "field_unknown")]),
        (
            b'{"Items":[]}',
            ErrorCode.VALIDATION_FAILED,
            [("/Items", "field_unknown"), ("/items", "field_missing")],
        ),
    ],
)
def test_a_body_that_is_no_batch_is_refused_as_a_whole(
    body: bytes, code: ErrorCode, violations: list[tuple[str, str]]
) -> None:
    with pytest.raises(AppError) as caught:
        split_batch(body)
    assert caught.value.code is code
    assert [(v.path, v.code) for v in caught.value.violations] == violations


def test_of_repeated_items_the_last_count() -> None:
    assert split_batch(b'{"items":5,"items":[1,{"a":"]"}]}') == [b"1", b'{"a":"]"}']


@pytest.mark.parametrize(("broken", "count"), [(b"", "4"), (b"NaN,", "more")])
def test_too_many_items_are_refused_with_the_limit_and_the_size(broken: bytes, count: str) -> None:
    assert len(split_batch(batch(b"1", b"2", b"3"), max_items=3)) == 3
    with pytest.raises(AppError) as caught:
        split_batch(batch(broken + b"1", b"2", b"3", b"4"), max_items=3)
    assert caught.value.code is ErrorCode.PAYLOAD_TOO_LARGE
    assert caught.value.message == f"a batch may have 3 items; this one has {count}"


@pytest.mark.parametrize(
    ("start", "unit"),
    [(b"", b"1,"), (b"", b"["), (b"[", b"[[1]],"), (b'"', b'\\"'), (b"[", b'"",')],
    ids=["items", "levels", "brackets", "one text", "texts"],
)
def test_ten_hostile_megabytes_take_about_a_second_at_most(start: bytes, unit: bytes) -> None:
    body = b'{"items":[' + start + unit * (10_000_000 // len(unit)) + b"1]}"
    began = time.process_time()
    with pytest.raises(AppError):
        split_batch(body)
    assert time.process_time() - began < 3  # 1 s at most where it was measured
