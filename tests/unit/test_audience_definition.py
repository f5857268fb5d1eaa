"""What an audience may ask, and every reason against it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.segments.audience.definition import (
    MAX_DEPTH,
    MAX_LEAVES,
    Definition,
    Did,
    Either,
    Every,
    Total,
    Without,
    check_definition,
    leaves,
)
from app.segments.conditions import (
    Condition,
    Exists,
    Limits,
    OneOf,
    Problem,
    Range,
    check_condition,
)
from app.segments.marks import ValueType

BOUGHT = Did("bought")
NOON = datetime(2026, 5, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value_type", "given", "test"),
    [
        (ValueType.TEXT, {"equals": "a"}, OneOf(("a",))),
        (ValueType.NUMBER, {"one_of": [1, Decimal("2.5")]}, OneOf((Decimal(1), Decimal("2.5")))),
        (ValueType.BOOLEAN, {"equals": False}, OneOf((False,))),
        (
            ValueType.NUMBER,
            {"limits": Limits(at_least=0, below=10)},
            Range(((">=", Decimal(0)), ("<", Decimal(10)))),
        ),
        (
            ValueType.TIMESTAMP,
            {"limits": Limits(above="2026-05-20T14:00:00+02:00")},
            Range(((">", NOON),)),
        ),
        (ValueType.TEXT, {"exists": False}, Exists(False)),
    ],
)
def test_a_condition_stands_for_a_test_of_typed_values(
    value_type: ValueType, given: dict[str, Any], test: object
) -> None:
    assert check_condition("/where/0", Condition("/p", **given), value_type) == test


@pytest.mark.parametrize(
    ("value_type", "given", "path", "rule"),
    [
        (ValueType.TEXT, {}, "/w", "condition_shape"),
        (ValueType.TEXT, {"equals": "a", "exists": True}, "/w", "condition_shape"),
        (ValueType.TEXT, {"equals": 1}, "/w/equals", "value_type"),
        (ValueType.TEXT, {"equals": "\0"}, "/w/equals", "text_not_storable"),
        (ValueType.TEXT, {"equals": "\ud800"}, "/w/equals", "text_not_storable"),
        (ValueType.TEXT, {"one_of": []}, "/w/in", "value_count"),
        (ValueType.TEXT, {"one_of": ["a"] * 201}, "/w/in", "value_count"),
        (ValueType.NUMBER, {"one_of": [1, "2"]}, "/w/in/1", "value_type"),
        (ValueType.NUMBER, {"equals": Decimal("1e999999")}, "/w/equals", "number_out_of_range"),
        (ValueType.NUMBER, {"limits": Limits()}, "/w/range", "range_empty"),
        (ValueType.NUMBER, {"limits": Limits(below="x")}, "/w/range", "value_type"),
        (ValueType.BOOLEAN, {"limits": Limits(above=False)}, "/w/range", "range_of_boolean"),
        (ValueType.TIMESTAMP, {"equals": "yesterday"}, "/w/equals", "value_type"),
    ],
)
def test_a_condition_that_cannot_be_meant_names_its_place_and_rule(
    value_type: ValueType, given: dict[str, Any], path: str, rule: str
) -> None:
    found = check_condition("/w", Condition("/p", **given), value_type)
    assert isinstance(found, Problem)
    assert (found.path, found.rule) == (path, rule)


def nested(depth: int) -> Definition:
    return BOUGHT if depth == 1 else Without(nested(depth - 1))


@pytest.mark.parametrize(
    ("definition", "found"),
    [
        (nested(MAX_DEPTH), []),
        (nested(MAX_DEPTH + 1), [("/not" * MAX_DEPTH, "too_deep")]),
        (Every([BOUGHT] * MAX_LEAVES), []),
        (Either([BOUGHT] * (MAX_LEAVES + 1)), [("", "too_many_leaves")]),
        (Every([]), [("", "empty_list")]),
        (Every([BOUGHT, Either([])]), [("/all/1", "empty_list")]),
        (Did("a\0b"), [("/did/eventType", "text_not_storable")]),
        (Did("b", [Condition("/p", exists=True)] * 6), [("/did/where", "too_many_conditions")]),
        (Did("b", after=NOON, before=NOON), [("/did/occurred", "window_empty")]),
        (Did("b", after=NOON.replace(tzinfo=None)), [("/did/occurred", "offset_missing")]),
        (
            Did("b", after=NOON.replace(tzinfo=None), before=NOON),
            [("/did/occurred", "offset_missing")],
        ),
        (Did("b", at_least=-1), [("/did/times", "times_range")]),
        (Did("b", at_least=3, at_most=2), [("/did/times", "times_crossed")]),
        (Did("b", at_least=0), [("/did/times", "times_always")]),
        (Did("b", at_least=0, at_most=2), []),
        (Did("b", total=Total("/p")), [("/did/sum", "sum_empty")]),
        (
            Did("b", total=Total("/p", Decimal(2), Decimal(1))),
            [("/did/sum", "sum_crossed")],
        ),
        (
            Did("b", at_least=0, at_most=1, total=Total("/p", Decimal(2))),
            [("/did/sum", "sum_of_nothing")],
        ),
    ],
)
def test_a_definition_names_every_problem_at_its_place(
    definition: Definition, found: list[tuple[str, str]]
) -> None:
    assert [(p.path, p.rule) for p in check_definition(definition)] == found


def test_leaves_are_found_in_the_order_of_the_definition() -> None:
    definition = Every([Did("a"), Without(Either([Did("b"), Did("c")])), Did("d")])
    assert [(at, did.event_type) for at, did in leaves(definition)] == [
        ("/all/0/did", "a"),
        ("/all/1/not/any/0/did", "b"),
        ("/all/1/not/any/1/did", "c"),
        ("/all/2/did", "d"),
    ]
