"""What a key without pii:read sees of an event's properties."""

from __future__ import annotations

from typing import Any

import pytest

from app.registry.masking import HIDDEN, mask_of, masked

DIRECT: dict[str, Any] = {"type": "string", "x-pii": "direct"}
PLAIN: dict[str, Any] = {"type": "string"}


def seen(value: Any, **properties: Any) -> Any:
    return masked(value, mask_of({"type": "object", "properties": properties}))


def test_what_is_not_classed_as_personal_is_shown() -> None:
    assert seen({"a": "x", "b": None}, a=PLAIN, b=PLAIN) == {"a": "x", "b": None}


@pytest.mark.parametrize("pii", ["direct", "indirect"])
@pytest.mark.parametrize("value", ["x", 1, None, [1], {"b": 1}])
def test_what_is_personal_is_hidden_whatever_it_is(pii: str, value: Any) -> None:
    assert seen({"a": value}, a={"x-pii": pii}) == {"a": HIDDEN}


def test_none_is_a_class_too() -> None:
    assert seen({"a": "x"}, a=PLAIN | {"x-pii": "none"}) == {"a": "x"}


def test_nested_members_are_hidden_where_they_are() -> None:
    address = {"type": "object", "properties": {"city": PLAIN, "street": DIRECT}}
    assert seen({"address": {"city": "x", "street": "y"}}, address=address) == {
        "address": {"city": "x", "street": HIDDEN}
    }


def test_members_of_array_items_are_hidden_in_each_item() -> None:
    guests = {
        "type": "array",
        "items": {"type": "object", "properties": {"name": DIRECT, "age": {"type": "integer"}}},
    }
    sent = {"guests": [{"name": "a", "age": 1}, {"name": "b", "age": 2}]}
    assert seen(sent, guests=guests) == {
        "guests": [{"name": HIDDEN, "age": 1}, {"name": HIDDEN, "age": 2}]
    }


def test_items_that_are_personal_themselves_are_hidden_in_arrays_of_arrays_too() -> None:
    emails = {"type": "array", "items": DIRECT}
    assert seen({"emails": ["a", "b"]}, emails=emails) == {"emails": [HIDDEN, HIDDEN]}
    nested = {"type": "array", "items": emails}
    assert seen({"emails": [["a"], []]}, emails=nested) == {"emails": [[HIDDEN], []]}


def test_a_personal_object_is_hidden_whole() -> None:
    address = {"type": "object", "x-pii": "direct", "properties": {"city": PLAIN}}
    assert seen({"address": {"city": "x"}}, address=address) == {"address": HIDDEN}


def test_members_that_no_version_knows_are_hidden() -> None:
    address = {"type": "object", "properties": {"city": PLAIN}}
    sent = {"unknown": 1, "address": {"city": "x", "unknown": {"a": 1}}}
    assert seen(sent, address=address) == {
        "unknown": HIDDEN,
        "address": {"city": "x", "unknown": HIDDEN},
    }


def test_an_object_that_was_registered_as_a_whole_is_shown_whole() -> None:
    assert seen({"extra": {"a": [1]}}, extra={"type": "object"}) == {"extra": {"a": [1]}}


def test_a_document_classed_as_personal_hides_everything() -> None:
    assert masked({"a": 1}, mask_of({"type": "object", "x-pii": "direct"})) == HIDDEN
