"""A change that is let pass breaks no event; one that is not let pass says which, where and why."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.registry.evolution import MENDS, Breakage, breakages, compatibility_findings
from app.registry.linter import lint
from app.registry.spec import FORMATS, TYPES, types_of
from app.registry.validator import compile_schema, compile_validator

Schema = dict[str, Any]

A = {"a": {"type": "string"}}
AB = {"a": {"type": "string"}, "b": {"type": "string"}}
CLOSED = {"type": "object", "properties": A}
OPEN = {"type": "object", "properties": A, "additionalProperties": True}


def document(value: Schema, **root: Any) -> Schema:
    """One whose only property, `value`, is described by a schema."""
    return {"type": "object", "properties": {"value": value}, **root}


def rules(old: Schema, new: Schema) -> list[tuple[str, str]]:
    return [(breakage.path, breakage.rule) for breakage in breakages(old, new)]


def is_valid(doc: Schema, properties: dict[str, Any]) -> bool:
    return compile_validator(doc).violations(properties) == []


def publishable(doc: Schema) -> bool:
    return all(finding.severity == "warning" for finding in lint(doc))


RULES: list[tuple[str, str, Schema, Schema, Schema, Any]] = [
    # rule, path, old, new that breaks it, a neighbour that does not, an event that would be lost
    ("type_changed", "/value", {"type": "string"}, {"type": "integer"},
     {"type": ["string", "null"]}, "text"),
    ("type_narrowed", "/value", {"type": "number"}, {"type": "integer"}, {}, 1.5),
    ("nullable_removed", "/value", {"type": ["string", "null"]}, {"type": "string"}, {}, None),
    ("enum_value_removed", "/value", {"enum": ["a", "b"]}, {"enum": ["b", "c"]},
     {"enum": ["c", "b", "a"]}, "a"),
    ("enum_added", "/value", {"type": "string"}, {"type": "string", "enum": ["a"]},
     {"type": "string", "examples": ["a"]}, "b"),
    ("const_changed", "/value", {"const": "a"}, {"const": "b"}, {"enum": ["a", "b"]}, "a"),
    ("const_added", "/value", {"type": "string"}, {"const": "a"},
     {"type": "string", "default": "a"}, "b"),
    ("minimum_raised", "/value", {"type": "integer", "minimum": 4}, {"type": "integer",
     "minimum": 5}, {"type": "integer", "exclusiveMinimum": 3}, 4),
    ("maximum_lowered", "/value", {"type": "number", "maximum": 4}, {"type": "number",
     "exclusiveMaximum": 4}, {"type": "number", "exclusiveMaximum": 4.5}, 4),
    ("multiple_of_changed", "/value", {"type": "number", "multipleOf": 0.2}, {"type": "number",
     "multipleOf": 0.4}, {"type": "number", "multipleOf": 0.1}, 0.2),
    ("min_length_raised", "/value", {"type": "string"}, {"type": "string", "minLength": 1},
     {"type": "string", "minLength": 0}, ""),
    ("max_length_lowered", "/value", {"type": "string", "maxLength": 3}, {"type": "string",
     "maxLength": 2}, {"type": "string", "maxLength": 4}, "abc"),
    ("pattern_added", "/value", {"type": "string"}, {"type": "string", "pattern": "^a"}, {}, "b"),
    ("pattern_changed", "/value", {"type": "string", "pattern": "^[ab]$"}, {"type": "string",
     "pattern": "^a$"}, {"type": "string"}, "b"),
    ("format_added", "/value", {"type": "string"}, {"type": "string", "format": "date"}, {}, "x"),
    ("format_changed", "/value", {"type": "string", "format": "date"}, {"type": "string",
     "format": "date-time"}, {"type": "string"}, "2026-05-20"),
    ("items_added", "/value", {"type": "array"}, {"type": "array", "items": {"type": "string"}},
     {"type": "array", "items": {}}, [1]),
    ("min_items_raised", "/value", {"type": "array", "minItems": 1}, {"type": "array",
     "minItems": 2}, {"type": "array"}, [1]),
    ("max_items_lowered", "/value", {"type": "array"}, {"type": "array", "maxItems": 2},
     {"type": "array", "title": "list"}, [1, 2, 3]),
    ("unique_items_added", "/value", {"type": "array"}, {"type": "array", "uniqueItems": True},
     {"type": "array", "uniqueItems": False}, [1, 1]),
    ("property_removed_while_unknown_rejected", "/value/b", CLOSED | {"properties": AB}, CLOSED,
     OPEN, {"b": "x"}),
    ("property_became_required", "/value/a", CLOSED, CLOSED | {"required": ["a"]},
     CLOSED | {"required": []}, {}),
    ("required_property_added", "/value/b", CLOSED, CLOSED | {"properties": AB, "required": ["b"]},
     CLOSED | {"properties": AB}, {}),
    ("property_added_to_open_object", "/value/b", OPEN, OPEN | {"properties": AB},
     OPEN | {"properties": A | {"b": {}}}, {"b": 1}),
    ("additional_properties_closed", "/value", OPEN, CLOSED, {"type": "object"} | OPEN, {"c": 1}),
    ("type_changed", "/value/*/a/*", {"type": "array", "items": CLOSED | {"properties": {"a":
     {"type": "array", "items": {"type": "string"}}}}}, {"type": "array", "items": CLOSED |
     {"properties": {"a": {"type": "array", "items": {"type": "boolean"}}}}},
     {"type": "array"}, [{"a": ["x"]}]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "path", "old", "broken", "neighbour", "lost"),
    RULES,
    ids=[f"{row[0]} at {row[1]}" for row in RULES],
)
def test_each_rule_is_broken_by_a_change_that_loses_an_event_and_not_by_its_neighbour(
    rule: str, path: str, old: Schema, broken: Schema, neighbour: Schema, lost: Any
) -> None:
    before, after, beside = document(old), document(broken), document(neighbour)
    assert all(map(publishable, (before, after, beside)))
    assert rules(before, after) == [(path, rule)]
    assert rules(before, beside) == []
    event = {"value": lost}
    assert (is_valid(before, event), is_valid(after, event), is_valid(beside, event)) == (
        True, False, True,
    )  # fmt: skip


def test_every_rule_that_has_a_mend_is_in_the_table() -> None:
    of_other_tables = {"segmentable_type_changed", "compatibility_lowered"}
    assert {row[0] for row in RULES} | of_other_tables == MENDS.keys()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "boolean"}, {"enum": [False, True]}),
        ({"type": ["boolean", "null"]}, {"enum": [None, False, True]}),
        ({"const": 1}, {"const": 1.0}),
        ({"enum": ["a", "b"], "type": "string"}, {"type": "string", "pattern": "^[a-c]$"}),
        ({"enum": ["2026-05-20"]}, {"type": "string", "format": "date"}),
        ({"enum": [4, 8]}, {"type": "integer", "multipleOf": 4, "maximum": 8}),
        ({"enum": ["aa", "b"], "type": "string", "maxLength": 1}, {"enum": ["b"]}),
        ({"type": "integer", "exclusiveMinimum": 4}, {"type": "integer", "minimum": 5}),
        ({"type": "integer", "maximum": 4.5}, {"type": "integer", "maximum": 4}),
        ({"type": "integer"}, {"type": "number"}),
        ({"type": "integer"}, {"type": "number", "multipleOf": 0.5}),
        ({"type": "number", "multipleOf": 3}, {"type": "integer"}),
        ({"type": "integer", "multipleOf": 0.5}, {"type": "integer", "multipleOf": 1}),
        ({"type": "array", "maxItems": 0}, {"type": "array", "items": {"type": "string"}}),
        ({"type": "string", "minLength": 1}, {"minLength": 1, "type": ["string", "null"]}),
    ],
)
def test_a_change_that_loses_nothing_is_seen_to_lose_nothing(old: Schema, new: Schema) -> None:
    before, after = document(old), document(new)
    assert publishable(before) and publishable(after)
    assert breakages(before, after) == []


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (("reject", "strip"), []),
        (("reject", "allow"), []),
        (("strip", "allow"), []),
        (("strip", "reject"), [("", "additional_properties_closed")]),
        (("allow", "reject"), [("", "additional_properties_closed")]),
    ],
)
def test_the_unknown_policy_may_only_open(
    policies: tuple[str, str], expected: list[tuple[str, str]]
) -> None:
    old, new = (document({"type": "string"}, **{"x-unknown-properties": p}) for p in policies)
    assert rules(old, new) == expected


@pytest.mark.contract("4.22: an incompatible change says which path breaks which rule")
def test_a_breakage_says_where_what_why_and_what_would_mend_it() -> None:
    old = document({"type": "array", "items": {"type": "string", "maxLength": 9}})
    new = document({"type": "array", "items": {"type": "string", "maxLength": 7}})
    assert breakages(old, new) == [
        Breakage(
            path="/value/*",
            rule="max_length_lowered",
            old=9,
            new=7,
            message="sizes beyond were accepted, now 7 is the most",
            mend="Keep the maximal length.",
        )
    ]


def test_the_path_of_a_breakage_is_escaped_as_a_json_pointer() -> None:
    old = {"type": "object", "properties": {"a/b~c": {"type": "string"}}}
    new = {"type": "object", "properties": {"a/b~c": {"type": "integer"}}}
    assert rules(old, new) == [("/a~1b~0c", "type_changed")]


@pytest.mark.contract("2: what is segmented on is registered and marked so")
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"type": "integer"}, {"type": "number"}, ["segmentable_type_changed"]),
        ({"type": "integer"}, {"type": ["integer", "null"]}, []),
        ({"type": "array", "items": {"type": "integer"}},
         {"type": "array", "items": {"type": "number"}}, ["segmentable_type_changed"]),
        ({"type": "array", "items": {"type": "integer"}},
         {"type": "array", "items": {"type": "integer"}, "minItems": 0}, []),
    ],
)  # fmt: skip
def test_what_is_segmented_on_keeps_its_type_even_when_no_event_would_be_lost(
    old: Schema, new: Schema, expected: list[str]
) -> None:
    before = document({**old, "x-segmentable": True})
    assert [rule for _, rule in rules(before, document({**new, "x-segmentable": True}))] == expected
    assert rules(document(old), document(new)) == []


SHORT, LONG, ANY = (document({"type": "string", **limit}) for limit in (
    {"maxLength": 1}, {"maxLength": 2}, {}))  # fmt: skip
LOWERED, FROM_ANY = (0, "max_length_lowered"), (1, "max_length_lowered")


@pytest.mark.parametrize(
    ("mode", "history", "new", "expected"),
    [
        ("NONE", [ANY, LONG], SHORT, []),
        ("BACKWARD", [ANY, SHORT], LONG, []),
        ("BACKWARD", [SHORT, ANY], LONG, [FROM_ANY]),
        ("BACKWARD_TRANSITIVE", [ANY, SHORT], LONG, [LOWERED]),
        ("BACKWARD_TRANSITIVE", [SHORT, SHORT], LONG, []),
        ("FORWARD", [SHORT, ANY], LONG, []),
        ("FORWARD", [ANY, SHORT], LONG, [FROM_ANY]),
        ("FORWARD_TRANSITIVE", [SHORT, ANY], LONG, [LOWERED]),
        ("FULL", [SHORT, LONG], LONG, []),
        ("FULL", [LONG, SHORT], LONG, [FROM_ANY]),
        ("FULL", [LONG, ANY], LONG, [FROM_ANY]),
        ("FULL_TRANSITIVE", [SHORT, LONG], LONG, [LOWERED]),
        ("BACKWARD", [], LONG, []),
        ("FULL_TRANSITIVE", [], LONG, []),
    ],
)
def test_a_mode_says_which_versions_are_compared_and_in_which_direction(
    mode: str, history: list[Schema], new: Schema, expected: list[tuple[int, str]]
) -> None:
    found = compatibility_findings(mode, history, new)
    assert [(index, breakage.rule) for index, breakage in found] == expected


def test_a_forward_breakage_is_told_from_the_side_of_the_older_version() -> None:
    [(index, breakage)] = compatibility_findings("FORWARD", [SHORT], LONG)
    assert (index, breakage) == (
        0,
        Breakage(
            path="/value",
            rule="max_length_lowered",
            old=2,
            new=1,
            message="the older version would refuse events of this one: sizes beyond were"
            " accepted, now 1 is the most",
            mend="Accept nothing here that the older version refuses.",
        ),
    )


def test_what_segments_were_built_on_is_kept_in_every_mode_but_none() -> None:
    old = document({"type": "number", "x-segmentable": True})
    new = document({"type": "integer"})
    for mode in ("FORWARD", "FORWARD_TRANSITIVE"):
        found = compatibility_findings(mode, [old], new)
        assert [breakage.rule for _, breakage in found] == ["segmentable_type_changed"]
    assert compatibility_findings("NONE", [old], new) == []


# Soundness: documents, changes and events at random. Few names and values, so that they meet.

NAMES = ("a", "b", "/~")
NUMBERS = (0, 1, 2, 3, -1, 0.5, 1.5, 0.1, 0.3, 0.30000000000000004, 1e300, 2**53 + 1, -(10**30))
TEXTS = ("", "a", "aa", "ab1", "é", "👍🏽", "2026-05-20", "2026-05-20T10:00:00Z", "10:00:00Z",
         "P1D", "a@b.co", "https://b.co/", "b.co", "10.0.0.1", "::1",
         "7f3c2f6e-5f0b-4b7e-9a0e-0f6d2f0c9a11")  # fmt: skip
PLAIN = ("", "a", "ab1", 0, 1, 3, 0.5, True, False, None)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    *NUMBERS,
    True,
    False,
    None,
    [],
    [1],
    [1, 1],
    ["a", "a", "a"],
    {},
    {"a": 1},
)
PATTERNS = ("^a", "a$", "^[a-z]*$", "[0-9]", "\\p{L}")
STEPS = (1, 2, 3, 0.5, 0.1, 0.3, 1.5, 1e-2)
LIMITS = st.sampled_from((0, 1, 2, -1, 0.5, 1.5))
COUNTS = st.integers(0, 3)
KEYWORDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "string": {"minLength": COUNTS, "maxLength": COUNTS, "format": st.sampled_from(FORMATS),
               "pattern": st.sampled_from(PATTERNS)},
    "number": {"minimum": LIMITS, "maximum": LIMITS, "exclusiveMinimum": LIMITS,
               "exclusiveMaximum": LIMITS, "multipleOf": st.sampled_from(STEPS)},
    "boolean": {},
    "array": {"minItems": COUNTS, "maxItems": COUNTS, "uniqueItems": st.booleans()},
    "object": {"additionalProperties": st.booleans()},
}  # fmt: skip
KEYWORDS["integer"] = KEYWORDS["number"]
WIDER = {"integer": "number"}

LEAVES: list[Schema] = [
    {},
    *({"enum": list(values)} for values in itertools.combinations(("a", "ab1", 1, None), 2)),
    *({"const": value} for value in PLAIN),
    *(
        {"type": kind, name: limit}
        for kind, noun in (("string", "Length"), ("array", "Items"))
        for name in (f"min{noun}", f"max{noun}")
        for limit in (0, 1, 2)
    ),
    *({"type": kind} for kind in TYPES),
    *({"type": [kind, "null"]} for kind in TYPES[:-1]),
    *({"type": "string", "format": name} for name in FORMATS),
    *({"type": "string", "pattern": pattern} for pattern in PATTERNS),
    *(
        {"type": kind, name: limit}
        for kind in ("integer", "number")
        for name in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
        for limit in (0, 0.5, 1)
    ),
    *({"type": k, "multipleOf": step} for k in ("integer", "number") for step in STEPS),
    {"type": "number", "minimum": 1, "exclusiveMinimum": 1},
    {"type": "number", "minimum": 1, "exclusiveMinimum": 0},
    {"type": "integer", "multipleOf": 2, "minimum": 1},
    {"type": "array", "uniqueItems": True},
    *({"type": "array", "items": {"type": kind}} for kind in ("string", "integer", "number")),
    {"type": "object", "additionalProperties": False},
    {"type": "object", "additionalProperties": True},
    *(
        {"type": "object", "additionalProperties": is_open, "properties": {"a": inner}} | required
        for is_open in (True, False)
        for inner in ({}, {"type": "integer"}, {"type": "string"})
        for required in ({}, {"required": ["a"]})
    ),
]  # fmt: skip


def test_no_value_is_lost_between_any_two_small_schemas_without_breakages() -> None:
    accepted = []
    for leaf in LEAVES:
        doc = document(leaf)
        assert publishable(doc), leaf
        validator = compile_validator(doc)
        accepted.append([validator.violations({"value": value}) == [] for value in VALUES])
    for (old, before), (new, after) in itertools.product(
        zip(LEAVES, accepted, strict=True), repeat=2
    ):
        lost = [v for v, was, is_ in zip(VALUES, before, after, strict=True) if was and not is_]
        assert not lost or breakages(document(old), document(new)), (old, new, lost)


@st.composite
def schemas(draw: st.DrawFn, depth: int = 2) -> Schema:
    kind = draw(st.sampled_from(("any", "values", *KEYWORDS, *(("array", "object") * depth))))
    if kind == "any":
        return {}
    if kind == "values":
        values = draw(st.lists(st.sampled_from(PLAIN), min_size=1, max_size=4, unique_by=repr))
        return {"const": values[0]} if draw(st.booleans()) else {"enum": values}
    schema: Schema = {"type": [kind, "null"] if draw(st.booleans()) else kind}
    if KEYWORDS[kind]:
        names = st.lists(st.sampled_from(list(KEYWORDS[kind])), unique=True, max_size=2)
        schema |= {name: draw(KEYWORDS[kind][name]) for name in draw(names)}
    if kind == "array" and depth and draw(st.booleans()):
        schema["items"] = draw(schemas(depth - 1))
    if kind == "object":
        schema |= draw(members(depth))
    return schema


@st.composite
def members(draw: st.DrawFn, depth: int) -> Schema:
    least, most = (1, 2) if depth == 2 else (0, 2 * depth)
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=least, max_size=most))
    required = [name for name in names if draw(st.booleans())]
    return {"properties": {n: draw(schemas(depth - 1)) for n in names}, "required": required}


@st.composite
def changed(draw: st.DrawFn, old: Schema) -> Schema:
    """A schema one small step away, or several further down."""
    if draw(st.booleans()) and ("items" in old or old.get("properties")):
        new = dict(old)
        if "items" in old:
            new["items"] = draw(changed(old["items"]))
        if "properties" in old:
            kept = old["properties"]
            new["properties"] = {name: draw(changed(kept[name])) for name in kept}
        return new
    if "properties" in old and draw(st.booleans()):
        return draw(changed_members(old))
    if not types_of(old):
        return draw(changed_values(old))
    own, null = types_of(old)[0], "null" in types_of(old)
    step = draw(st.sampled_from(("keyword", "keyword", "drop", "type", "null", "values")))
    if step == "keyword" and KEYWORDS[own]:
        present = [name for name in KEYWORDS[own] if name in old]
        name = draw(st.sampled_from(present * 2 + list(KEYWORDS[own])))
        return old | {name: draw(KEYWORDS[own][name])}
    if step == "drop" and (present := [name for name in old if name in KEYWORDS[own]]):
        dropped = draw(st.sampled_from(present))
        return {name: value for name, value in old.items() if name != dropped}
    if step == "values":
        return draw(changed_values(old))
    if step == "null":
        return old | {"type": own if null else [own, "null"]}
    other = draw(st.sampled_from((WIDER.get(own, own), *TYPES[:5])))
    return old | {"type": [other, "null"] if null else other}


@st.composite
def changed_values(draw: st.DrawFn, old: Schema) -> Schema:
    """A longer, shorter or new list of values, or a schema for a list."""
    values = [old["const"]] if "const" in old else old.get("enum", [])
    if values and draw(st.integers(0, 2)) == 0:
        return draw(schemas(0))
    more = draw(st.lists(st.sampled_from(PLAIN), max_size=2 if values else 4))
    listed = list({repr(v): v for v in (*values, *more)}.values())
    listed = listed[draw(st.integers(0, 1)) :]
    return {"const": listed[0]} if len(listed) == 1 else {"enum": listed} if listed else {}


@st.composite
def changed_members(draw: st.DrawFn, old: Schema) -> Schema:
    """A property more or less, or another list of those required."""
    name, kept = draw(st.sampled_from(NAMES)), dict(old["properties"])
    if name in kept and draw(st.booleans()):
        del kept[name]
    elif name not in kept:
        kept[name] = draw(schemas(0))
    again = draw(st.integers(0, 2)) == 0
    required = [n for n in kept if (draw(st.booleans()) if again else n in old["required"])]
    return old | {"properties": kept, "required": required}


@st.composite
def documents(draw: st.DrawFn) -> Schema:
    root = {"type": "object", **draw(members(depth=2))}
    return root | draw(st.sampled_from(({}, {}, {"x-unknown-properties": "allow"})))


@st.composite
def changed_documents(draw: st.DrawFn) -> tuple[Schema, Schema]:
    old = draw(documents().filter(publishable))
    kept = old["properties"]
    if draw(st.integers(0, 3)):
        new = old | {"properties": {name: draw(changed(kept[name])) for name in kept}}
    else:
        new = draw(changed_members(old))
    if draw(st.integers(0, 7)) == 0:
        new["x-unknown-properties"] = draw(st.sampled_from(("reject", "strip", "allow")))
    assume(publishable(new))
    return old, new


@st.composite
def values_of(draw: st.DrawFn, schema: Schema) -> Any:
    """Mostly valid: whoever draws sorts the others out."""
    kind = draw(st.sampled_from(types_of(schema) or ("any",)))
    if kind == "object":
        return draw(objects_of(schema))
    if kind == "array" and "items" in schema:
        least = schema.get("minItems", 0)
        count = draw(st.integers(least, max(least, schema.get("maxItems", least + 2))))
        return [draw(values_of(schema["items"])) for _ in range(count)]
    accepts = compile_schema(schema).is_valid
    return draw(st.sampled_from([value for value in VALUES if accepts(value)] or [None]))


@st.composite
def objects_of(draw: st.DrawFn, schema: Schema) -> dict[str, Any]:
    known, required = schema.get("properties", {}), schema.get("required", ())
    sent = {
        name: draw(values_of(child))
        for name, child in known.items()
        if name in required or draw(st.booleans())
    }
    if schema.get("additionalProperties", schema.get("x-unknown-properties") == "allow"):
        for name in draw(st.lists(st.sampled_from(NAMES), max_size=2)):
            sent.setdefault(name, draw(st.sampled_from(PLAIN)))
    return sent


@pytest.mark.contract("4.22: what was valid stays valid")
@settings(max_examples=400)
@given(changed_documents(), st.data())
def test_what_was_valid_stays_valid_under_every_change_without_breakages(
    versions: tuple[Schema, Schema], data: st.DataObject
) -> None:
    old, new = versions
    if breakages(old, new):
        return
    before, after = compile_validator(old), compile_validator(new)
    for properties in data.draw(st.lists(objects_of(old), min_size=4, max_size=8)):
        if before.violations(properties) == []:
            assert after.violations(properties) == []


@settings(max_examples=50)
@given(documents().filter(publishable))
def test_no_document_breaks_with_itself(old: Schema) -> None:
    assert breakages(old, old) == []
