"""Every violation names its place and its rule in our words, and never repeats what was sent."""

from __future__ import annotations

import json
from decimal import Decimal
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import MAX_VIOLATIONS, REASONS, Violation
from app.registry.validator import MAX_LISTED_VALUES, compile_validator, effective_schema

Schema = dict[str, Any]
TEXT = {"type": "string"}


def document(properties: Schema, **root: Any) -> Schema:
    return {"type": "object", "properties": properties, **root}


def violations(doc: Schema, properties: dict[str, Any]) -> list[Violation]:
    return compile_validator(doc).violations(properties)


PURCHASE = document(
    {
        "order_id": TEXT,
        "amount": {"type": "number", "minimum": 0},
        "store_id": {"type": ["string", "null"]},
        "line_items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["sku"],
                "properties": {"sku": TEXT, "quantity": {"type": "integer"}, "a/b~": TEXT},
            },
        },
    },
    required=["order_id", "amount"],
)
PAID = {"order_id": "order_42", "amount": 120.5}


@pytest.mark.parametrize(
    "properties",
    [
        PAID,
        PAID | {"amount": 120},
        PAID | {"amount": Decimal("120.50")},
        PAID | {"amount": Decimal("12345678901234567890.123456789")},
        PAID | {"amount": 2**70},
        PAID | {"store_id": None},
        PAID | {"line_items": []},
        PAID | {"line_items": [{"sku": "", "quantity": 2.0, "a/b~": "x"}]},
    ],
)
def test_what_the_document_describes_is_valid(properties: dict[str, Any]) -> None:
    assert violations(PURCHASE, properties) == []


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, [
            Violation("/properties/order_id", "property_missing", "order_id is required"),
            Violation("/properties/amount", "property_missing", "amount is required")]),
        (PAID | {"amount": "120.5"}, [
            Violation("/properties/amount", "property_type", "amount must be a number")]),
        (PAID | {"amount": True}, [
            Violation("/properties/amount", "property_type", "amount must be a number")]),
        (PAID | {"amount": None}, [
            Violation("/properties/amount", "property_type", "amount must be a number")]),
        (PAID | {"amount": Decimal("-0.01")}, [
            Violation("/properties/amount", "property_minimum", "amount must be at least 0")]),
        (PAID | {"store_id": 42}, [
            Violation("/properties/store_id", "property_type",
                      "store_id must be null or a string")]),
        (PAID | {"line_items": {}}, [
            Violation("/properties/line_items", "property_type", "line_items must be an array")]),
        (PAID | {"line_items": [{"sku": "a"}, {"quantity": 1.5}]}, [
            Violation("/properties/line_items/1/sku", "property_missing",
                      "line_items[1].sku is required"),
            Violation("/properties/line_items/1/quantity", "property_type",
                      "line_items[1].quantity must be an integer")]),
        (PAID | {"line_items": [{"sku": "a", "a/b~": 1}]}, [
            Violation("/properties/line_items/0/a~1b~0", "property_type",
                      "line_items[0].a/b~ must be a string")]),
        (PAID | {"line_items": [{"sku": "a", "quantitty": 1}]}, [
            Violation("/properties/line_items/0/quantitty", "property_unknown",
                      "line_items[0] has no such property", "quantity")]),
        (PAID | {"x/y~z": 1}, [
            Violation("/properties/x~1y~0z", "property_unknown",
                      "the event type has no such property")]),
        (PAID | {"a\0" + "b" * 200: 1}, [
            Violation("/properties/a\ufffd" + "b" * 126, "property_unknown",
                      "the event type has no such property")]),
    ],
)  # fmt: skip
def test_a_violation_says_where_by_json_pointer_and_what(
    properties: dict[str, Any], expected: list[Violation]
) -> None:
    found = violations(PURCHASE, properties)
    by_path = attrgetter("path")
    assert sorted(found, key=by_path) == sorted(expected, key=by_path)


@pytest.mark.parametrize(
    ("schema", "value", "code", "message"),
    [
        ({"enum": ["red", 1, None, True]}, "blue", "enum", "must be one of: red, 1, null, true"),
        ({"enum": list(range(99))}, 100, "enum",
         f"must be one of: {', '.join(map(str, range(MAX_LISTED_VALUES)))}, …"),
        ({"const": "EUR"}, "USD", "const", "must be EUR"),
        ({"type": "number", "minimum": 0.5}, 0.4, "minimum", "must be at least 0.5"),
        ({"type": "number", "maximum": 5}, 6, "maximum", "must be at most 5"),
        ({"type": "number", "exclusiveMinimum": 0}, 0, "exclusive_minimum", "must be more than 0"),
        ({"type": "number", "exclusiveMaximum": 1}, 1, "exclusive_maximum", "must be less than 1"),
        ({"type": "number", "multipleOf": 0.01}, 0.005, "multiple_of",
         "must be a multiple of 0.01"),
        ({**TEXT, "minLength": 1}, "", "min_length", "must be at least 1 character"),
        ({**TEXT, "minLength": 2}, "é", "min_length", "must be at least 2 characters"),
        ({**TEXT, "maxLength": 2}, "abc", "max_length", "must be at most 2 characters"),
        ({**TEXT, "pattern": "^[A-Z]{3}$"}, "usd", "pattern", "must match the pattern ^[A-Z]{3}$"),
        ({**TEXT, "pattern": "^[A-Z]{3}$"}, "USD\n", "pattern",
         "must match the pattern ^[A-Z]{3}$"),
        ({"type": "array", "items": TEXT, "minItems": 1}, [], "min_items",
         "must have at least 1 item"),
        ({"type": "array", "items": TEXT, "maxItems": 1}, ["a", "b"], "max_items",
         "must have at most 1 item"),
        ({"type": "array", "items": TEXT, "uniqueItems": True}, ["a", "a"], "unique_items",
         "must not have an item twice"),
        ({"type": "integer"}, Decimal("1.5"), "type", "must be an integer"),
        ({"type": "boolean"}, 1, "type", "must be true or false"),
        ({"type": "null"}, 0, "type", "must be null"),
        ({"type": "object"}, [], "type", "must be an object"),
        ({**TEXT, "format": "date"}, "2026-02-30", "format", "must be a date: YYYY-MM-DD"),
        ({**TEXT, "format": "date-time"}, "2026-05-20T12:45:00", "format",
         "must be a date and time with its offset: YYYY-MM-DDThh:mm:ssZ"),
        ({**TEXT, "format": "time"}, "25:00:00Z", "format",
         "must be a time with its offset: hh:mm:ssZ"),
        ({**TEXT, "format": "duration"}, "2 hours", "format",
         "must be an ISO 8601 duration, like P1DT2H"),
        ({**TEXT, "format": "email"}, "nobody", "format", "must be an email address"),
        ({**TEXT, "format": "uri"}, "/products/1", "format", "must be an absolute URI"),
        ({**TEXT, "format": "uuid"}, "42", "format", "must be a UUID"),
        ({**TEXT, "format": "ipv4"}, "10.0.0.256", "format", "must be an IPv4 address"),
        ({**TEXT, "format": "ipv6"}, "10.0.0.1", "format", "must be an IPv6 address"),
        ({**TEXT, "format": "hostname"}, "a b", "format", "must be a host name"),
    ],
)  # fmt: skip
def test_each_rule_has_its_code_and_says_what_is_expected(
    schema: Schema, value: Any, code: str, message: str
) -> None:
    assert f"property_{code}" in REASONS
    expected = Violation("/properties/value", f"property_{code}", f"value {message}")
    assert violations(document({"value": schema}), {"value": value}) == [expected]


def test_a_wrong_type_is_said_once_and_not_along_with_what_follows_from_it() -> None:
    doc = document({"value": {"type": "integer", "enum": [1, 2], "minimum": 1}})
    expected = Violation("/properties/value", "property_type", "value must be an integer")
    assert violations(doc, {"value": "1"}) == [expected]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [("amout", "amount"), ("Amount", "amount"), ("storeId", "store_id"), ("order-id", "order_id"),
     ("AMOUNT", "amount"), ("colour", None), ("x", None), ("amount" * 40, None)],
)  # fmt: skip
def test_a_name_close_to_a_registered_one_is_suggested(sent: str, meant: str | None) -> None:
    assert [v.did_you_mean for v in violations(PURCHASE, PAID | {sent: 1})] == [meant]


def test_at_most_50_violations_are_listed_and_an_array_of_thousands_is_still_explained() -> None:
    doc = document({"tags": {"type": "array", "items": TEXT, "maxItems": 100_000}})
    found = violations(doc, {"tags": [1] * 100_000})
    assert len(found) == MAX_VIOLATIONS
    assert found[0] == Violation("/properties/tags/0", "property_type", "tags[0] must be a string")
    late = violations(doc, {"tags": ["a"] * 50_000 + [1]})
    assert late == [
        Violation("/properties/tags/50000", "property_type", "tags[50000] must be a string")
    ]


NESTED = {
    "order_id": TEXT,
    "cart": {"type": "object", "properties": {"total": {"type": "number"}}},
    "open": {"type": "object", "additionalProperties": True, "properties": {"a": TEXT}},
    "closed": {"type": "object", "additionalProperties": False, "properties": {"a": TEXT}},
    "free": {"type": "object"},
    "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": TEXT}}},
}
SENT = {
    "order_id": "order_42",
    "utm": "x",
    "a/b": {"deep": 1},
    "cart": {"total": 1, "noise": [1]},
    "open": {"a": "x", "kept": 1},
    "free": {"kept": 1},
    "lines": [{"sku": "s1"}, {"sku": "s2", "noise~": None}],
}


def test_strip_leaves_out_what_is_unknown_and_says_where_it_was() -> None:
    validator = compile_validator(document(NESTED, **{"x-unknown-properties": "strip"}))
    assert validator.strips
    assert validator.violations(SENT) == []
    assert validator.strip(SENT) == (
        {
            "order_id": "order_42",
            "cart": {"total": 1},
            "open": {"a": "x", "kept": 1},
            "free": {"kept": 1},
            "lines": [{"sku": "s1"}, {"sku": "s2"}],
        },
        [
            "/properties/utm",
            "/properties/a~1b",
            "/properties/cart/noise",
            "/properties/lines/1/noise~0",
        ],
    )


def test_strip_leaves_what_was_sent_as_it_is() -> None:
    before = json.dumps(SENT)
    compile_validator(document(NESTED, **{"x-unknown-properties": "strip"})).strip(SENT)
    assert json.dumps(SENT) == before


def test_allow_keeps_what_is_unknown_but_not_in_an_object_that_is_closed() -> None:
    validator = compile_validator(document(NESTED, **{"x-unknown-properties": "allow"}))
    assert not validator.strips
    assert validator.violations(SENT) == []
    assert validator.strip(SENT) == (SENT, [])
    assert validator.violations({"closed": {"b": 1}}) == [
        Violation("/properties/closed/b", "property_unknown", "closed has no such property")
    ]


@pytest.mark.parametrize("policy", ["strip", "allow"])
def test_no_policy_accepts_a_registered_property_of_another_shape(policy: str) -> None:
    doc = document(NESTED, **{"x-unknown-properties": policy})
    assert violations(doc, SENT | {"cart": {"total": "1"}}) == [
        Violation("/properties/cart/total", "property_type", "cart.total must be a number")
    ]


def test_reject_names_every_unknown_property_at_every_depth() -> None:
    found = violations(document(NESTED), SENT)
    assert {(violation.path, violation.code) for violation in found} == {
        (f"/properties/{path}", "property_unknown")
        for path in ("utm", "a~1b", "cart/noise", "lines/1/noise~0")
    }


def test_the_effective_schema_has_assertions_only_and_the_policy_written_out() -> None:
    doc = document(
        {
            "amount": {"type": "number", "multipleOf": 5, "description": "Paid.", "default": 5},
            "cart": {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
            "free": {"type": "object", "x-pii": "direct"},
        },
        required=["amount"],
        **{"x-owner": "crm"},
    )
    assert effective_schema(doc) == {
        "type": "object",
        "required": ["amount"],
        "properties": {
            "amount": {"type": "integer", "multipleOf": 5},
            "cart": {
                "type": "object",
                "properties": {"a": {"type": ["string", "null"]}},
                "additionalProperties": False,
            },
            "free": {"type": "object"},
        },
        "additionalProperties": False,
    }


def test_a_reference_in_a_document_is_never_followed() -> None:
    doc = document({"value": {"$ref": "file:///etc/hostname"}})
    assert violations(doc, {"value": 1}) == []


SECRET = "zq7secret"
secrets = st.sampled_from((SECRET, f"{SECRET}@b.co", f"x{SECRET}", 77_123_456, -77_123_456.5))
secret_values = st.recursive(
    secrets,
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(
        st.sampled_from(("a", "b", "sku", "other")), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
STRICT = document(
    {
        "enum": {"enum": ["a", 1]},
        "const": {"const": "a"},
        "number": {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.5},
        "text": {**TEXT, "minLength": 3, "maxLength": 4, "pattern": "^[a-c]+$"},
        "date": {**TEXT, "format": "date"},
        "list": {"type": "array", "maxItems": 1, "uniqueItems": True, "items": {"type": "boolean"}},
        "object": {"type": "object", "required": ["sku"], "properties": {"sku": {"enum": ["a"]}}},
    }
)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from([*STRICT["properties"], "unknown"]), secret_values))
def test_what_was_sent_is_never_repeated(properties: dict[str, Any]) -> None:
    found = violations(STRICT, properties)
    assert bool(found) == bool(properties)
    said = repr(found)
    assert SECRET not in said
    assert "77" not in said
