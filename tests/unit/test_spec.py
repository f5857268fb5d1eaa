"""A document is published only if everything in it is known, has an effect and can be met."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.registry import linter, spec
from app.registry.linter import lint
from app.registry.spec import DIALECT, KEYWORDS, Finding, Property, Settings
from app.registry.validator import compile_validator

Schema = dict[str, Any]
TEXT = {"type": "string"}
NUMBER = {"type": "number"}


def document(value: Any, **root: Any) -> Schema:
    return {"type": "object", "properties": {"value": value}, **root}


def nested(levels: int) -> Schema:
    """A document of so many levels of schemas, its root included."""
    schema: Schema = {"type": "string"}
    for _ in range(levels - 1):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def deep_list(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


MARKED = {"x-segmentable": True}


def many(count: int, **more: Any) -> Schema:
    return {"type": "object", "properties": {f"p{i}": TEXT | more for i in range(count)}}


AT = "/properties/value"
RULES: list[tuple[str, str, Any, Any]] = [
    # rule, pointer, a document that breaks it, a neighbour in which nothing is found
    ("root_type", "/type", {"type": "array"}, {"type": "object"}),
    ("root_type", "", {"properties": {}}, {"properties": {}, "type": "object"}),
    ("root_type", "/type", {"type": ["object", "null"]}, {"type": "object"}),
    ("schema_not_object", "", True, {"type": "object"}),
    ("schema_not_object", AT, document(False), document(TEXT)),
    ("schema_not_object", f"{AT}/items", document({"type": "array", "items": [TEXT]}),
     document({"type": "array", "items": TEXT})),
    ("keyword_unsupported", f"{AT}/oneOf", document({**TEXT, "oneOf": []}), document(TEXT)),
    ("keyword_unsupported", f"{AT}/maxLenght", document({**TEXT, "maxLenght": 3}),
     document({**TEXT, "maxLength": 3})),
    ("keyword_unsupported", f"{AT}/a~1b~0", document({**TEXT, "a/b~": 3}), document(TEXT)),
    ("keyword_value", "/$schema", document(TEXT, **{"$schema": "http://json-schema.org/schema#"}),
     document(TEXT, **{"$schema": DIALECT})),
    ("keyword_value", "/x-unknown-properties", document(TEXT, **{"x-unknown-properties": "drop"}),
     document(TEXT, **{"x-unknown-properties": "strip"})),
    ("keyword_value", "/x-compatibility", document(TEXT, **{"x-compatibility": "backward"}),
     document(TEXT, **{"x-compatibility": "BACKWARD"})),
    ("keyword_value", "/x-owner", document(TEXT, **{"x-owner": ""}),
     document(TEXT, **{"x-owner": "crm"})),
    ("keyword_value", f"{AT}/x-pii", document({**TEXT, "x-pii": True}),
     document({**TEXT, "x-pii": "direct"})),
    ("keyword_value", f"{AT}/x-segmentable", document({**TEXT, "x-segmentable": "yes"}),
     document({**TEXT, "x-segmentable": True})),
    ("keyword_value", f"{AT}/format", document({**TEXT, "format": "phone"}),
     document({**TEXT, "format": "email"})),
    ("keyword_value", f"{AT}/maxLength", document({**TEXT, "maxLength": -1}),
     document({**TEXT, "maxLength": 0})),
    ("keyword_value", f"{AT}/maxLength", document({**TEXT, "maxLength": True}),
     document({**TEXT, "maxLength": 1})),
    ("keyword_value", f"{AT}/multipleOf", document({**NUMBER, "multipleOf": 0}),
     document({**NUMBER, "multipleOf": 0.01})),
    ("keyword_value", f"{AT}/exclusiveMinimum", document({**NUMBER, "exclusiveMinimum": True}),
     document({**NUMBER, "exclusiveMinimum": 1})),
    ("keyword_value", "/required", document(TEXT, required=["value", "value"]),
     document(TEXT, required=["value"])),
    ("keyword_value", "/properties", {"type": "object", "properties": []},
     {"type": "object", "properties": {}}),
    ("keyword_value", f"{AT}/additionalProperties",
     document({"type": "object", "additionalProperties": TEXT}),
     document({"type": "object", "additionalProperties": True})),
    ("keyword_value", f"{AT}/type", document({"type": ["string", "integer"]}),
     document({"type": ["integer", "null"]})),
    ("keyword_value", f"{AT}/type", document({"type": ["null", "null"], "const": None}),
     document({"type": "null"})),
    ("keyword_place", f"{AT}/x-owner", document({**TEXT, "x-owner": "crm"}),
     document({**TEXT, "x-display-name": "Value"})),
    ("unknown_policy_contradicted", "/additionalProperties",
     document(TEXT, additionalProperties=True), document(TEXT, additionalProperties=False)),
    ("unknown_policy_contradicted", "/additionalProperties",
     document(TEXT, additionalProperties=False, **{"x-unknown-properties": "strip"}),
     document(TEXT, additionalProperties=True, **{"x-unknown-properties": "strip"})),
    ("type_missing", AT, document({}), document({"enum": ["a", 1]})),
    ("keyword_without_effect", f"{AT}/minLength", document({**NUMBER, "minLength": 1}),
     document({"type": ["null", "string"], "minLength": 1})),
    ("keyword_without_effect", f"{AT}/minimum", document({**TEXT, "minimum": 1}),
     document({"type": "integer", "minimum": 1})),
    ("keyword_without_effect", f"{AT}/format", document({"const": "a", "format": "email"}),
     document({**TEXT, "const": "a", "format": "email"})),
    ("keyword_without_effect", f"{AT}/enum", document({"const": "a", "enum": ["a"]}),
     document({"const": "a"})),
    ("enum_value", f"{AT}/enum/1", document({"enum": ["a", ["b"]]}), document({"enum": ["a"]})),
    ("enum_value", f"{AT}/const", document({"const": {}}), document({"const": None})),
    ("enum_value", f"{AT}/enum/0", document({"type": "integer", "enum": [1.5, 1.0]}),
     document({"type": "integer", "enum": [1.0]})),
    ("enum_value", f"{AT}/const", document({"type": "integer", "const": True}),
     document({"type": "boolean", "const": True})),
    ("enum_empty", f"{AT}/enum", document({"enum": []}), document({"enum": [None]})),
    ("enum_repeated", f"{AT}/enum", document({"enum": ["a", "b", "a"]}),
     document({"enum": [1, True, "1"]})),
    ("enum_without_null", f"{AT}/enum", document({"type": ["string", "null"], "enum": ["a"]}),
     document({"type": ["string", "null"], "enum": ["a", None]})),
    ("limits_crossed", f"{AT}/minLength", document({**TEXT, "minLength": 3, "maxLength": 2}),
     document({**TEXT, "minLength": 2, "maxLength": 2})),
    ("limits_crossed", f"{AT}/minItems",
     document({"type": "array", "items": TEXT, "minItems": 1, "maxItems": 0}),
     document({"type": "array", "items": TEXT, "minItems": 0, "maxItems": 0})),
    ("limits_crossed", f"{AT}/minimum", document({**NUMBER, "minimum": 2, "exclusiveMaximum": 2}),
     document({**NUMBER, "minimum": 2, "maximum": 2})),
    ("limits_crossed", f"{AT}/exclusiveMinimum",
     document({**NUMBER, "exclusiveMinimum": 2, "maximum": 2}),
     document({**NUMBER, "exclusiveMinimum": 1.9, "maximum": 2})),
    ("pattern_refused", f"{AT}/pattern", document({**TEXT, "pattern": "(a"}),
     document({**TEXT, "pattern": "(a)"})),
    ("pattern_refused", f"{AT}/pattern", document({**TEXT, "pattern": "(?=a)b"}),
     document({**TEXT, "pattern": "(?:a)b"})),
    ("pattern_refused", f"{AT}/pattern", document({**TEXT, "pattern": r"(a)\1"}),
     document({**TEXT, "pattern": r"(a+)+$"})),
    ("pattern_refused", f"{AT}/pattern", document({**TEXT, "pattern": r"\p{L}{2000}"}),
     document({**TEXT, "pattern": r"\p{L}{20}"})),
    ("pattern_refused", f"{AT}/pattern", document({**TEXT, "pattern": "\ud800"}),
     document({**TEXT, "pattern": "\U0001f44d"})),
    ("property_name", "/properties/", {"type": "object", "properties": {"": TEXT}},
     {"type": "object", "properties": {" ": TEXT}}),
    ("property_name", "/properties/a\tb", {"type": "object", "properties": {"a\tb": TEXT}},
     {"type": "object", "properties": {"a b": TEXT}}),
    ("property_name", f"/properties/{'a' * 129}", {"type": "object", "properties": {"a" * 129:
     TEXT}}, {"type": "object", "properties": {"a" * 128: TEXT}}),
    ("property_name_reserved", f"{AT}/properties/$ref",
     document({"type": "object", "properties": {"$ref": TEXT}}),
     document({"type": "object", "properties": {"ref$": TEXT}})),
    ("property_name_reserved", "/properties/x-pii",
     {"type": "object", "properties": {"x-pii": TEXT}},
     {"type": "object", "properties": {"x_pii": TEXT}}),
    ("property_name_reserved", "/properties/__proto__",
     {"type": "object", "properties": {"__proto__": TEXT}},
     {"type": "object", "properties": {"proto": TEXT}}),
    ("property_name_of_envelope", "/properties/occurred_at",
     {"type": "object", "properties": {"occurred_at": TEXT}},
     document({"type": "object", "properties": {"occurred_at": TEXT}})),
    ("property_names_alike", "/properties/storeId",
     {"type": "object", "properties": {"store_id": TEXT, "storeId": TEXT}},
     {"type": "object", "properties": {"store_id": TEXT, "store_ids": TEXT}}),
    ("required_unknown", "/required/0", document(TEXT, required=["vlaue"]),
     document(TEXT, required=["value"])),
    ("segmentable_place", f"{AT}/x-segmentable",
     document({"type": "object", "x-segmentable": True}),
     document({"type": ["boolean", "null"], "x-segmentable": True})),
    ("segmentable_place", f"{AT}/x-segmentable",
     document({"type": "array", "items": {"type": "array", "items": TEXT}, "x-segmentable": True}),
     document({"type": "array", "items": TEXT, "x-segmentable": True})),
    ("segmentable_place", f"{AT}/properties/a/x-segmentable",
     document({"type": "object", "properties": {"a": {**TEXT, "x-segmentable": True}}}),
     document({"type": "object", "properties": {"a": {**TEXT, "x-segmentable": False}}})),
    ("segmentable_place", f"{AT}/items/x-segmentable",
     document({"type": "array", "items": {**TEXT, "x-segmentable": True}}),
     document({"type": "array", "items": TEXT, "x-segmentable": True})),
    ("too_deep", "/properties/a" * 10, nested(11), nested(10)),
    ("too_deep", "", document(TEXT, examples=deep_list(3_000)),
     document(TEXT, examples=deep_list(20))),
    ("too_many_properties", "/properties", many(501), many(500)),
    ("too_many_segmentable", "/properties", many(31, **MARKED), many(30, **MARKED)),
    ("document_too_large", "", document({**TEXT, "description": "é" * 32_768}),
     document({**TEXT, "description": "é" * 32_700})),
    ("text_not_storable", f"{AT}/description", document({**TEXT, "description": "a\0"}),
     document({**TEXT, "description": "a\t👍"})),
    ("text_not_storable", f"{AT}/examples/0", document({**TEXT, "examples": ["\ud800"]}),
     document({**TEXT, "examples": ["\U0001f44d"]})),
    ("number_out_of_range", f"{AT}/maximum", document({**NUMBER, "maximum": float("inf")}),
     document({**NUMBER, "maximum": 1e307})),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "pointer", "broken", "neighbour"),
    RULES,
    ids=[f"{r[0]} {i}" for i, r in enumerate(RULES)],
)
def test_each_rule_finds_what_breaks_it_and_nothing_in_its_neighbour(
    rule: str, pointer: str, broken: Any, neighbour: Any
) -> None:
    assert (pointer, rule) in [(finding.path, finding.rule) for finding in lint(broken)]
    assert lint(neighbour) == []


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ({"type": "array"}, [Finding(
            "/type", "root_type",
            'the root needs "type": "object": it describes an event\'s properties')]),
        (document({**TEXT, "maxLenght": 3}), [Finding(
            f"{AT}/maxLenght", "keyword_unsupported",
            "there is no keyword maxLenght; did you mean maxLength?")]),
        (document({"type": "object", "patternProperties": {}}), [Finding(
            f"{AT}/patternProperties", "keyword_unsupported",
            "patternProperties is not in the supported part of JSON Schema")]),
        (document(TEXT, required=["vlaue"]), [Finding(
            "/required/0", "required_unknown",
            "vlaue is not one of the properties; did you mean value?")]),
        (document({**NUMBER, "minLength": 1}), [Finding(
            f"{AT}/minLength", "keyword_without_effect",
            "minLength does nothing unless the type is string")]),
        (document({**NUMBER, "minimum": 3, "maximum": 2}), [Finding(
            f"{AT}/minimum", "limits_crossed", "minimum 3 and maximum 2 leave no value")]),
        (document({}), [Finding(
            AT, "type_missing", "without a type any value is accepted", "warning")]),
        ({"type": "object", "properties": {"a_b": TEXT, "aB": TEXT}}, [Finding(
            "/properties/aB", "property_names_alike",
            "differs from a_b by case, _, - or . only: senders will confuse them", "warning")]),
    ],
)  # fmt: skip
def test_a_finding_says_where_what_and_what_was_probably_meant(
    doc: Any, expected: list[Finding]
) -> None:
    assert lint(doc) == expected


def test_everything_that_is_wrong_is_found_at_once() -> None:
    doc = document({"type": "strnig", "minLength": -1, "maxLenght": 2}, required=["other"])
    assert {(finding.path, finding.rule) for finding in lint(doc)} == {
        (f"{AT}/type", "keyword_value"),
        (f"{AT}/minLength", "keyword_value"),
        (f"{AT}/maxLenght", "keyword_unsupported"),
        (AT, "type_missing"),
        ("/required/0", "required_unknown"),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [("purchase_completed", True), ("shop.order2.paid", True), ("a", True), ("a" * 128, True),
     ("a" * 129, False), ("", False), ("Purchase", False), ("2fa_used", False), ("a__b", False),
     ("a_", False), ("_a", False), ("a-b", False), ("a/b", False), ("..", False), ("a\n", False),
     ("é", False)],
)  # fmt: skip
def test_an_event_types_name_is_lower_case_words(name: str, expected: bool) -> None:
    assert spec.is_event_type_name(name) is expected
    assert (linter.lint_event_type(name, ()) == []) is expected


@pytest.mark.parametrize(
    ("name", "confused_with"),
    [
        ("purchasecompleted", ["purchase_completed"]),
        ("purchase.completed", ["purchase_completed"]),
        ("completed_purchase", ["purchase_completed"]),
        ("purchases_completed", ["purchase_completed"]),
        ("purchase_complete", ["purchase_completed"]),
        ("purhcase_completed", ["purchase_completed"]),
        ("puschase_completed", ["purchase_completed"]),
        ("purchase_completed", []),
        ("purchase_refunded", []),
        ("wizard_step_3", []),
        ("wizard_steps_1", ["wizard_step_1"]),
        ("visits", []),
        ("visit.ed", ["visited"]),
    ],
)
def test_an_event_type_is_told_apart_from_those_that_are_known(
    name: str, confused_with: list[str]
) -> None:
    known = ["wizard_step_1", "wizard_step_2", "visit", "visited", "purchase_completed"]
    assert linter.lint_event_type(name, known) == [
        Finding("", "event_types_alike", f"{name} is easily confused with {other}", "warning")
        for other in confused_with
    ]


@pytest.mark.contract("4.22: BACKWARD_TRANSITIVE by default")
@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ({}, Settings(None, None, "reject", "BACKWARD_TRANSITIVE")),
        ({"x-owner": "crm", "x-display-name": "Visit", "x-unknown-properties": "allow",
          "x-compatibility": "FULL"}, Settings("crm", "Visit", "allow", "FULL")),
    ],
)  # fmt: skip
def test_settings_have_defaults(doc: Schema, expected: Settings) -> None:
    assert spec.settings(doc) == expected


@pytest.mark.contract("2: what is segmented on is registered and marked so")
def test_properties_are_listed_with_where_they_are_and_what_they_accept() -> None:
    members = {"sku": {**TEXT, "x-pii": "none"}, "n/a": {"type": "integer"}}
    line = {"type": "object", "required": ["sku"], "properties": members}
    doc = {
        "type": "object",
        "required": ["amount"],
        "properties": {
            "amount": {**NUMBER, "x-segmentable": True, "description": "Paid."},
            "email": {"type": ["string", "null"], "x-pii": "direct"},
            "kind": {"enum": ["a", 1, None]},
            "any": {},
            "lines": {"type": "array", "items": {"type": "array", "items": line}},
        },
    }

    def entry(path: str, name: str, *types: str, **said: Any) -> Property:
        nothing = {"required": False, "nullable": False, "segmentable": False, "pii": "none"}
        return Property(path, name, types, **{**nothing, "description": None, **said})

    assert spec.properties(doc) == [
        entry("/amount", "amount", "number", required=True, segmentable=True, description="Paid."),
        entry("/email", "email", "string", nullable=True, pii="direct"),
        entry("/kind", "kind", "string", "integer", nullable=True),
        entry("/any", "any", nullable=True),
        entry("/lines", "lines", "array"),
        entry("/lines/*/*/sku", "sku", "string", required=True),
        entry("/lines/*/*/n~1a", "n/a", "integer"),
    ]


@pytest.mark.parametrize(
    ("value", "types"),
    [(1, "number integer"), (1.0, "number integer"), (1.5, "number"), (True, "boolean"),
     (None, "null"), ("1", "string"), ([], "array"), ({}, "object"), (2**70, "number integer")],
)  # fmt: skip
def test_a_value_has_json_schemas_types(value: Any, types: str) -> None:
    assert {name for name in spec.TYPES if spec.is_type(value, name)} == set(types.split())


def test_of_a_document_that_is_too_large_nothing_else_is_said() -> None:
    names = [f"name_that_is_not_there_{n:06}" for n in range(5_000)]
    found = lint(document({"type": "strnig"}, required=names))
    assert [finding.rule for finding in found] == ["document_too_large"]
    many = {f"p{n}": {"type": "strnig"} for n in range(spec.MAX_PROPERTIES + 1)}
    found = lint({"type": "object", "properties": many})
    assert [finding.rule for finding in found] == ["too_many_properties"]


def test_of_very_many_errors_the_first_are_told_and_guesses_made_for_fewer() -> None:
    found = lint(document(TEXT, required=[f"vlaue{n}" for n in range(500)]))
    assert [finding.rule for finding in found] == ["required_unknown"] * linter.MAX_FINDINGS
    guesses = [finding for finding in found if "did you mean" in finding.message]
    assert guesses == found[: linter.MAX_GUESSES]


def test_warnings_never_crowd_out_an_error() -> None:
    members = {f"p{n}": {} for n in range(200)} | {"last": {"type": "strnig"}}
    found = lint({"type": "object", "properties": members})
    assert [finding.path for finding in found if finding.severity == "error"] == [
        "/properties/last/type"
    ]
    assert len(found) == linter.MAX_FINDINGS + 1


scalars = st.sampled_from(
    (None, True, False, 0, 1, -1, 1.5, 1e400, "", "a", "string", "object", "array", "null", "[",
     "\0", "\ud800", "direct", "strip", DIALECT)
)  # fmt: skip
names = st.sampled_from([*KEYWORDS, "$ref", "x-own", "a", ""])
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=100)
@given(anything)
def test_lint_answers_for_any_json(doc: Any) -> None:
    findings = lint(doc)
    assert isinstance(doc, dict) or findings
    assert all(finding.path == "" or finding.path[0] == "/" for finding in findings)


schema_like = st.recursive(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("enum", "const", "pattern"), anything))
    | st.fixed_dictionaries({"type": st.sampled_from(spec.TYPES)}),
    lambda inner: (
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(names, inner, max_size=3)}
        )
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
    ),
    max_leaves=6,
)


@settings(max_examples=100)
@given(schema_like)
def test_what_lint_lets_pass_can_be_compiled(value: Any) -> None:
    doc = document(value)
    if all(finding.severity == "warning" for finding in lint(doc)):
        found = compile_validator(doc).violations({"value": 1, "other": 2})
        assert ("/properties/other", "property_unknown") in [(one.path, one.code) for one in found]
