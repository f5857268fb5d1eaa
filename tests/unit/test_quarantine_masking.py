"""Masking leaves how an item was built and nothing of what it said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.registry.masking import HIDDEN, masked_payload

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def test_names_nesting_and_nulls_stay_and_values_go() -> None:
    sent = {"identity": {"email": "a@b.io"}, "items": [1, 2.5, None], "paid": True}
    assert json.loads(masked_payload(json.dumps(sent).encode()) or "") == {
        "identity": {"email": HIDDEN},
        "items": [HIDDEN, HIDDEN, None],
        "paid": HIDDEN,
    }


@pytest.mark.parametrize("sent", [b"{broken", b"\xff", b'"\\ud800"', b"", b"[" * 5000])
def test_what_is_no_json_is_not_shown(sent: bytes) -> None:
    assert masked_payload(sent) is None


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


@given(values)
def test_no_value_is_left(value: Any) -> None:
    shown = json.loads(masked_payload(json.dumps(value).encode()) or "null")
    assert all(leaf in (HIDDEN, None) for leaf in leaves(shown))
    assert len(leaves(shown)) == len(leaves(value))
