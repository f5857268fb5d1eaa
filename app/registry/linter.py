"""Finds what is wrong with a version document before it is published.

Pure. Says it with the place; never decides what becomes of a document that has findings.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import jsonschema_rs

from app.registry.names import (
    RESERVED_NAMES,
    RESERVED_PREFIXES,
    envelope_field,
    event_types_alike,
    is_reserved,
    spelling,
)
from app.registry.spec import (
    CONTROL,
    KEYWORDS,
    MAX_DEPTH,
    MAX_DOCUMENT_BYTES,
    MAX_NAME_CHARS,
    MAX_PROPERTIES,
    REGEX,
    SCALARS,
    Finding,
    enumerated,
    is_event_type_name,
    is_storable,
    is_type,
    is_type_keyword,
    pointer_part,
    types_of,
)
from app.segments.marks import MAX_MARKS

MAX_FINDINGS = 50
"""Errors, and as many warnings."""
MAX_GUESSES = 10
"""At what a name in one `required` was meant to be."""
MAX_GUESS_CHARS = 40
"""Comparing longer names takes too long."""

_OTHER_KEYWORDS = frozenset({
    "$anchor", "$defs", "$dynamicAnchor", "$dynamicRef", "$ref", "$vocabulary", "additionalItems",
    "allOf", "anyOf", "contains", "contentEncoding", "contentMediaType", "contentSchema",
    "definitions", "dependencies", "dependentRequired", "dependentSchemas", "else", "if",
    "maxContains", "maxProperties", "minContains", "minProperties", "not", "oneOf",
    "patternProperties", "prefixItems", "propertyNames", "readOnly", "then", "unevaluatedItems",
    "unevaluatedProperties", "writeOnly",
})  # fmt: skip
"""JSON Schema's that are left out: nobody misspelt them."""

_TOO_LARGE = frozenset({"document_too_large", "too_many_properties"})
"""Findings of a document that is not looked at any closer."""

_PAIRS = (
    ("minLength", "maxLength", False),
    ("minItems", "maxItems", False),
    ("minimum", "maximum", False),
    ("minimum", "exclusiveMaximum", True),
    ("exclusiveMinimum", "maximum", True),
    ("exclusiveMinimum", "exclusiveMaximum", True),
)
"""(lower, upper, whether they may not even be equal)"""


class Place(NamedTuple):
    """One schema of the document."""

    pointer: str
    depth: int
    schema: Any


def lint_event_type(name: str, known: Iterable[str]) -> list[Finding]:
    """What is wrong with the name of an event type that is to join the known ones of its tenant.

    path  "" of each: the name stands outside of the document
    """
    if not is_event_type_name(name):
        message = (
            "an event type's name is lower-case words joined by _ or .,"
            f" at most {MAX_NAME_CHARS} long"
        )
        return [Finding("", "event_type_name", message)]
    return [
        Finding("", "event_types_alike", f"{name} is easily confused with {other}", "warning")
        for other in event_types_alike(name, known)
    ]


def lint(document: Any) -> list[Finding]:
    """What is wrong with a document; it can be published when no finding is an error.

    Of one that is too large nothing else is said; of others, the first MAX_FINDINGS of each kind.
    cost  some 10 ms for 500 properties, many times that if made to be slow: in a thread
    """
    places = list(_places(document, "", 1))
    whole = [*_whole(document), *_counts(places)]
    if any(finding.rule in _TOO_LARGE for finding in whole):
        return list(_first(whole))
    inner = chain.from_iterable(map(_place, places))
    return list(_first(chain(whole, _root(document), inner)))


def _first(found: Iterable[Finding]) -> Iterator[Finding]:
    """So many errors, and warnings, that a person would read; an error is never crowded out."""
    left = {"error": MAX_FINDINGS, "warning": MAX_FINDINGS}
    for finding in found:
        if left[finding.severity]:
            left[finding.severity] -= 1
            yield finding
        if not left["error"]:
            return


def _place(place: Place) -> Iterator[Finding]:
    """One schema, but for those in it."""
    if not isinstance(place.schema, dict):
        message = "a schema must be an object; true and false are not supported"
        yield Finding(place.pointer, "schema_not_object", message)
        return
    yield from _keywords(place)
    # A wrong value has been found by now; the rest is checked as if it were not there.
    sound = {
        name: value
        for name, value in place.schema.items()
        if name in KEYWORDS and KEYWORDS[name].accepts(value)
    }
    for check in (_type_use, _values, _limits, _pattern, _members, _segmentable):
        yield from check(place.pointer, sound)


def _counts(places: Sequence[Place]) -> Iterator[Finding]:
    declared = sum(place.pointer.rpartition("/")[0].endswith("/properties") for place in places)
    if declared > MAX_PROPERTIES:
        message = f"{declared} properties; {MAX_PROPERTIES} at most"
        yield Finding("/properties", "too_many_properties", message)
    marked = sum(
        isinstance(place.schema, dict) and place.schema.get("x-segmentable") is True
        for place in places
    )
    if marked > MAX_MARKS:
        message = f"{marked} segmentable properties; {MAX_MARKS} at most"
        yield Finding("/properties", "too_many_segmentable", message)


def _places(schema: Any, pointer: str, depth: int) -> Iterator[Place]:
    """Each schema of the document, down to the first level that is too deep."""
    yield Place(pointer, depth, schema)
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return
    members = schema.get("properties")
    for name, child in members.items() if isinstance(members, dict) else ():
        yield from _places(child, f"{pointer}/properties/{pointer_part(name)}", depth + 1)
    if "items" in schema:
        yield from _places(schema["items"], f"{pointer}/items", depth + 1)


def _whole(document: Any) -> Iterator[Finding]:
    """Size, and what jsonb cannot hold: NUL, half a surrogate pair, infinity."""
    left = [("", document)]
    while left:
        pointer, value = left.pop()
        texts = [value] if isinstance(value, str) else []
        if isinstance(value, dict):
            texts = list(value)
            left += [(f"{pointer}/{pointer_part(name)}", part) for name, part in value.items()]
        elif isinstance(value, list):
            left += [(f"{pointer}/{index}", part) for index, part in enumerate(value)]
        if any(not is_storable(text) for text in texts):
            message = "a text holds NUL or half of a surrogate pair"
            yield Finding(pointer, "text_not_storable", message)
        if isinstance(value, float) and not math.isfinite(value):
            yield Finding(pointer, "number_out_of_range", "a number must be within ±1e308")
    try:
        compact = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        yield Finding("", "too_deep", "objects and arrays are nested hundreds deep")
        return
    size = len(compact.encode("utf-8", "replace"))
    if size > MAX_DOCUMENT_BYTES:
        message = f"{size} bytes as compact JSON; {MAX_DOCUMENT_BYTES} at most"
        yield Finding("", "document_too_large", message)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    if len(name) > MAX_GUESS_CHARS:
        return ""
    short = [other for other in known if len(other) <= MAX_GUESS_CHARS]
    close = difflib.get_close_matches(name, short, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _root(document: Any) -> Iterator[Finding]:
    if not isinstance(document, dict):
        return
    if document.get("type") != "object":
        message = 'the root needs "type": "object": it describes an event\'s properties'
        yield Finding("/type" if "type" in document else "", "root_type", message)
    unknown = document.get("x-unknown-properties", "reject")
    if document.get("additionalProperties") is (unknown == "reject"):
        message = f"contradicts x-unknown-properties, which is {unknown}; leave one of them out"
        yield Finding("/additionalProperties", "unknown_policy_contradicted", message)


def _keywords(place: Place) -> Iterator[Finding]:
    """Each keyword by itself."""
    if place.depth > MAX_DEPTH:
        yield Finding(place.pointer, "too_deep", f"schemas are nested over {MAX_DEPTH} deep")
    for name, value in place.schema.items():
        pointer = f"{place.pointer}/{pointer_part(name)}"
        keyword = KEYWORDS.get(name)
        if keyword is None:
            message = f"{name} is not in the supported part of JSON Schema"
            if name not in _OTHER_KEYWORDS:
                message = f"there is no keyword {name}{_did_you_mean(name, KEYWORDS)}"
            yield Finding(pointer, "keyword_unsupported", message)
        elif not keyword.accepts(value):
            yield Finding(pointer, "keyword_value", f"{name} must be {keyword.expected}")
        elif keyword.root_only and place.pointer:
            message = f"{name} is said of the event type: it belongs at the root"
            yield Finding(pointer, "keyword_place", message)


def _type_use(pointer: str, schema: Mapping[str, Any]) -> Iterator[Finding]:
    """Keywords that the declared type leaves without effect."""
    types = types_of(schema)
    if not types and enumerated(schema) is None:
        yield Finding(pointer, "type_missing", "without a type any value is accepted", "warning")
    for name in schema:
        constrained = KEYWORDS[name].types
        if constrained and constrained.isdisjoint(types):
            message = f"{name} does nothing unless the type is {' or '.join(sorted(constrained))}"
            yield Finding(f"{pointer}/{name}", "keyword_without_effect", message)


def _values(pointer: str, schema: Mapping[str, Any]) -> Iterator[Finding]:
    """The values of `const` and `enum` against the declared type."""
    types = types_of(schema)
    values = [(f"{pointer}/enum/{i}", value) for i, value in enumerate(schema.get("enum", ()))]
    if "const" in schema:
        values.append((f"{pointer}/const", schema["const"]))
    for at, value in values:
        if isinstance(value, list | dict):
            yield Finding(at, "enum_value", "only texts, numbers, true, false and null")
        elif types and not any(is_type(value, name) for name in types):
            yield Finding(at, "enum_value", f"is not of type {' or '.join(types)}")
    if "enum" not in schema:
        return
    texts = [json.dumps(value) for value in schema["enum"]]
    if not texts:
        yield Finding(f"{pointer}/enum", "enum_empty", "no value could ever be accepted")
    if len(set(texts)) < len(texts):
        yield Finding(f"{pointer}/enum", "enum_repeated", "a value is listed twice")
    if "null" in types and "null" not in texts:
        message = "null is of the type but not in the list, so it would be refused: add it"
        yield Finding(f"{pointer}/enum", "enum_without_null", message)
    if "const" in schema:
        yield Finding(f"{pointer}/enum", "keyword_without_effect", "const says it all")


def _limits(pointer: str, schema: Mapping[str, Any]) -> Iterator[Finding]:
    for lower, upper, apart in _PAIRS:
        if lower in schema and upper in schema:
            low, high = schema[lower], schema[upper]
            if low > high or (apart and low == high):
                message = f"{lower} {low} and {upper} {high} leave no value"
                yield Finding(f"{pointer}/{lower}", "limits_crossed", message)


def _pattern(pointer: str, schema: Mapping[str, Any]) -> Iterator[Finding]:
    if "pattern" not in schema:
        return
    try:
        jsonschema_rs.Draft202012Validator({"pattern": schema["pattern"]}, pattern_options=REGEX)
    except (jsonschema_rs.ValidationError, ValueError):  # ValueError: half a surrogate pair
        message = (
            "the linear regex engine refuses it: not a regular expression, too large, or it has"
            " look-around or back-references"
        )
        yield Finding(f"{pointer}/pattern", "pattern_refused", message)


def _members(pointer: str, schema: Mapping[str, Any]) -> Iterator[Finding]:
    """The names of an object's properties."""
    names = schema.get("properties", {})
    spelt: dict[str, str] = {}
    for name in names:
        at = f"{pointer}/properties/{pointer_part(name)}"
        if not 0 < len(name) <= MAX_NAME_CHARS or CONTROL.search(name):
            message = f"a name has 1 to {MAX_NAME_CHARS} characters, none of them a control one"
            yield Finding(at, "property_name", message)
        if is_reserved(name):
            reserved = ", ".join((*(f"{prefix}…" for prefix in RESERVED_PREFIXES), *RESERVED_NAMES))
            yield Finding(at, "property_name_reserved", f"reserved names: {reserved}")
        if not pointer and (field := envelope_field(name)):
            message = f"every event has a field {field} outside its properties: it will be confused"
            yield Finding(at, "property_name_of_envelope", message, "warning")
        twin = spelt.setdefault(spelling(name), name)
        if twin != name:
            message = f"differs from {twin} by case, _, - or . only: senders will confuse them"
            yield Finding(at, "property_names_alike", message, "warning")
    unknown = [
        (index, name) for index, name in enumerate(schema.get("required", ())) if name not in names
    ]
    for nth, (index, name) in enumerate(unknown):
        guess = _did_you_mean(name, names) if nth < MAX_GUESSES else ""
        message = f"{name} is not one of the properties{guess}"
        yield Finding(f"{pointer}/required/{index}", "required_unknown", message)


def _segmentable(pointer: str, schema: Mapping[str, Any]) -> Iterator[Finding]:
    """Segments compare scalars: a root-level property that is one, or a list of them."""
    if not schema.get("x-segmentable"):
        return
    types = set(types_of(schema)) - {"null"}
    items = schema.get("items")
    if types == {"array"} and isinstance(items, dict) and is_type_keyword(items.get("type")):
        types = set(types_of(items)) - {"null"}
    if not types or not types <= SCALARS or not re.fullmatch("/properties/[^/]*", pointer):
        message = "only a root-level property that is a scalar or an array of scalars, with a type"
        yield Finding(f"{pointer}/x-segmentable", "segmentable_place", message)
