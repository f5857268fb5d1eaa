"""A proposal accepts what was rejected, is the same in any order, and repeats no value."""

from __future__ import annotations

import json
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.registry.evolution import breakages
from app.registry.extension import extend
from app.registry.inference import MIN_REQUIRED_SAMPLES, infer, is_usable
from app.registry.linter import lint
from app.registry.personal import pii_class
from app.registry.spec import MAX_PROPERTIES, properties
from app.registry.validator import compile_validator

Schema = dict[str, Any]

PURCHASE: dict[str, Any] = {
    "order_id": "o1",
    "amount": 12.5,
    "quantity": 2,
    "gift": False,
    "paid_at": "2026-05-20T10:00:00Z",
    "customer_email": "a@example.com",
    "lines": [{"sku": "a", "price": 1}, {"sku": "b", "price": 1.5, "note": None}],
    "voucher": None,
}


def errors(document: Schema) -> list[Any]:
    return [finding for finding in lint(document) if finding.severity == "error"]


def accepts(document: Schema, sample: dict[str, Any]) -> bool:
    return compile_validator(document).violations(sample) == []


def proposed(*values: Any) -> Schema:
    """What is proposed for a property `value` that was seen with these."""
    found: Schema = infer([{"value": value} for value in values])["properties"]["value"]
    usual = f"in {len(values)} of {len(values)}"
    return {name: said for name, said in found.items() if said != usual}


def test_a_proposal_says_what_every_sample_has() -> None:
    without_amount = {k: v for k, v in PURCHASE.items() if k != "amount"}
    count = MIN_REQUIRED_SAMPLES
    assert infer([PURCHASE] * (count - 1) + [without_amount]) == {
        "type": "object",
        "required": ["customer_email", "gift", "lines", "order_id", "paid_at", "quantity",
                     "voucher"],
        "properties": {
            "amount": {"$comment": "in 9 of 10", "type": "number"},
            "customer_email": {
                "$comment": "in 10 of 10", "type": "string", "format": "email", "x-pii": "direct",
            },
            "gift": {"$comment": "in 10 of 10", "type": "boolean"},
            "lines": {
                "$comment": "in 10 of 10",
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["price", "sku"],
                    "properties": {
                        "note": {"$comment": "in 10 of 20"},
                        "price": {"$comment": "in 20 of 20", "type": "number"},
                        "sku": {"$comment": "in 20 of 20", "type": "string"},
                    },
                },
            },
            "order_id": {"$comment": "in 10 of 10", "type": "string"},
            "paid_at": {"$comment": "in 10 of 10", "type": "string", "format": "date-time"},
            "quantity": {"$comment": "in 10 of 10", "type": "integer"},
            "voucher": {"$comment": "in 10 of 10"},
        },
    }  # fmt: skip


def test_nothing_is_required_on_the_word_of_a_few_samples() -> None:
    assert "required" not in infer([PURCHASE] * (MIN_REQUIRED_SAMPLES - 1))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], {"type": "integer"}),
        ([1, 1.0], {"type": "number"}),
        ([Decimal("0.10000000000000000001")], {"type": "number"}),
        ([True, False], {"type": "boolean"}),
        ([None, 1], {"type": ["integer", "null"]}),
        ([None], {}),
        ([1, "1"], {"$comment": "in 2 of 2; seen as integer, string: settle on one"}),
        ([True, 1, None], {"$comment": "in 3 of 3; seen as boolean, integer: settle on one"}),
        ([[1, "1"]], {"type": "array",
         "items": {"$comment": "seen as integer, string: settle on one"}}),
        ([["a@b.co"]], {"type": "array",
         "items": {"type": "string", "format": "email", "x-pii": "direct"}}),
        (["2026-05-20", "2026-05-21"], {"type": "string", "format": "date"}),
        (["2026-05-20", "tomorrow"], {"type": "string"}),
        (["2026-05-20", "2026-05-20T10:00:00Z"], {"type": "string"}),
        (["2026-13-20"], {"type": "string"}),
        ([None, "7f3c2f6e-5f0b-4b7e-9a0e-0f6d2f0c9a11"],
         {"type": ["string", "null"], "format": "uuid"}),
        (["a@example.com"], {"type": "string", "format": "email", "x-pii": "direct"}),
        ([""], {"type": "string"}),
        ([[]], {"type": "array"}),
        ([[], [1], [2.5]], {"type": "array", "items": {"type": "number"}}),
        ([[["a"]], [None]], {"type": "array", "items": {"type": ["array", "null"],
         "items": {"type": "string"}}}),
        ([{}], {"type": "object"}),
        ([{}, {"a": 1}], {"type": "object",
         "properties": {"a": {"$comment": "in 1 of 2", "type": "integer"}}}),
    ],
)  # fmt: skip
def test_a_type_is_what_all_values_have_in_common(values: list[Any], expected: Schema) -> None:
    assert proposed(*values) == expected


@pytest.mark.parametrize(
    "name",
    ["a@example.com", "4915112345678", "7f3c2f6e-5f0b-4b7e-9a0e-0f6d2f0c9a11", "$ref", "x-a",
     "__proto__", "", "a\tb", "a" * 129],
)  # fmt: skip
def test_a_name_that_cannot_be_one_is_left_out_and_its_object_is_open(name: str) -> None:
    sample = {"by": {name: 1, "total": 1}, name: 2}
    document = infer([sample])
    assert document == {
        "type": "object",
        "x-unknown-properties": "strip",
        "properties": {
            "by": {
                "$comment": "in 1 of 1",
                "type": "object",
                "properties": {"total": {"$comment": "in 1 of 1", "type": "integer"}},
                "additionalProperties": True,
            }
        },
    }
    assert errors(document) == []
    assert accepts(document, sample)


def test_of_a_great_many_names_the_commonest_are_proposed() -> None:
    rare = {f"rare_{i}_{'é' * 100}": {"deep": [[[{"a": i}]]]} for i in range(800)}
    document = infer([{"usual": 1}, {"usual": 2}, rare])
    names = [entry.name for entry in properties(document)]
    assert "usual" in names
    assert 50 < len(names) <= MAX_PROPERTIES
    assert document["x-unknown-properties"] == "strip"
    assert errors(document) == []
    assert accepts(document, rare)


def test_nesting_ends_where_a_document_must() -> None:
    deep: dict[str, Any] = {"a": 1}
    for _ in range(30):
        deep = {"a": [deep]}
    document = infer([deep])
    assert errors(document) == []
    assert accepts(document, deep)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("email", "direct"), ("contactEmail", "direct"), ("phone_number", "direct"),
     ("firstName", "direct"), ("customer_name", "direct"), ("product_name", "none"),
     ("name", "none"), ("birth_date", "direct"), ("billing_address", "direct"),
     ("ip_address", "indirect"), ("clientIP", "indirect"), ("device_id", "indirect"),
     ("postalCode", "indirect"), ("zip", "indirect"), ("amount", "none"), ("shipped", "none"),
     ("gift_message", "none"), ("emails", "direct"), ("city", "indirect")],
)  # fmt: skip
def test_what_is_probably_personal_is_marked_by_its_name(name: str, expected: str) -> None:
    assert pii_class(name) == expected


CLOSED: Schema = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string"},
        "open": {"type": "object", "properties": {}, "additionalProperties": True},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"sku": {"type": "string"}}},
        },
    },
}


def test_the_next_version_knows_the_properties_that_were_refused() -> None:
    sample = {
        "id": "a", "colour": "red", "open": {"b": 1}, "lines": [{"sku": "b", "email": "a@b.co"}],
        "box": {"width": 1},
    }  # fmt: skip
    before = deepcopy(CLOSED)
    extended = extend(CLOSED, [sample, {"id": "b"}], {})
    assert before == CLOSED
    expected = deepcopy(CLOSED)
    expected["properties"] |= {
        "box": {
            "$comment": "in 1 of 2",
            "type": "object",
            "properties": {"width": {"$comment": "in 1 of 1", "type": "integer"}},
        },
        "colour": {"$comment": "in 1 of 2", "type": "string"},
    }
    expected["properties"]["lines"]["items"]["properties"]["email"] = {
        "$comment": "in 1 of 1", "type": "string", "format": "email", "x-pii": "direct",
    }  # fmt: skip
    assert extended == expected
    assert accepts(extended, sample) and not accepts(CLOSED, sample)
    assert breakages(CLOSED, extended) == []


def test_what_was_stripped_is_proposed_without_a_type() -> None:
    document = CLOSED | {"x-unknown-properties": "strip"}
    stripped = {
        "/properties/utm": 3, "/properties/lines/12/phone": 2, "/properties/lines/0/phone": 1,
        "/properties/lines/0/sku": 1,
        "/properties/a~1b": 1, "/properties/gone/x": 5, "/properties/12345678": 4,
    }  # fmt: skip
    extended = extend(document, [], stripped)
    expected = deepcopy(document)
    comment = "left out {} times: its type is not known"
    expected["properties"] |= {
        "utm": {"$comment": comment.format(3)},
        "a/b": {"$comment": comment.format(1)},
    }
    expected["properties"]["lines"]["items"]["properties"]["phone"] = {
        "$comment": comment.format(3), "x-pii": "direct",
    }  # fmt: skip
    assert extended == expected
    assert breakages(document, extended) == []


def test_names_that_were_stripped_are_proposed_while_there_is_room() -> None:
    document = CLOSED | {"x-unknown-properties": "strip"}
    many = {f"/properties/{i}{'é' * 120}": i for i in range(1, 1_000)}
    extended = extend(document, [], many)
    assert errors(extended) == []
    added = extended["properties"].keys() - CLOSED["properties"].keys()
    assert 100 < len(added) < 500
    assert f"999{'é' * 120}" in added and f"1{'é' * 120}" not in added


# Any events at all.

NAMES = st.sampled_from(("a", "b", "email", "first_name", "$x", "", "c@d.ef", "a\t", "/~", "0"))
TEXTS = st.sampled_from(
    ("", "a", "2026-05-20", "2026-05-20T10:00:00Z", "a@b.co", "secret",
     "7f3c2f6e-5f0b-4b7e-9a0e-0f6d2f0c9a11")
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False, places=3) | TEXTS
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
SAMPLES = st.lists(st.dictionaries(NAMES, VALUES, max_size=5), min_size=1, max_size=11)


@settings(max_examples=60)
@given(SAMPLES, st.randoms(use_true_random=False))
def test_every_sample_is_valid_under_what_is_proposed_in_any_order(
    samples: list[dict[str, Any]], random: Any
) -> None:
    document = infer(samples)
    assert errors(document) == []
    for sample in samples:
        assert accepts(document, sample)
    shuffled = [dict(random.sample(list(s.items()), len(s))) for s in samples]
    random.shuffle(shuffled)
    assert json.dumps(infer(shuffled)) == json.dumps(document)
    assert "secret" not in json.dumps(document)


@settings(max_examples=60)
@given(SAMPLES, SAMPLES)
def test_an_extended_document_breaks_nothing_and_accepts_what_only_had_unknown_names(
    known: list[dict[str, Any]], samples: list[dict[str, Any]]
) -> None:
    document = infer(known) | {"x-unknown-properties": "reject"}
    extended = extend(document, samples, {})
    assert errors(extended) == []
    assert breakages(document, extended) == []
    before, after = compile_validator(document), compile_validator(extended)
    for sample in samples:
        if {violation.code for violation in before.violations(sample)} <= {"property_unknown"}:
            for violation in after.violations(sample):
                assert violation.code == "property_unknown"
                assert not is_usable(
                    violation.path.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
                )
