"""Judges an event's properties by one version document: what is wrong with them, and where.

Pure, and the hot path. Says nothing about what was sent but the names of properties; never
decides whether the event type itself is acceptable.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

from app.errors import MAX_VIOLATIONS, REASONS, Violation
from app.registry.spec import MAX_NAME_CHARS, REGEX, is_type, pointer_part, settings, types_of

MAX_EXPLAINED_VALUES = 1_000
"""Of an invalid event. The engine lists all errors before it gives the first one, 10 µs each: an
array of 130,000 wrong items (256 KiB) would hold up the worker for over a second."""
MAX_SUGGESTIONS = 5
"""Unknown names of one event for which a similar one is sought: up to 0.5 ms each."""
MAX_LISTED_VALUES = 20
MAX_EXPECTED_CHARS = 300
"""Of an enum, and of any limit, in a message."""

_ASSERTIONS = frozenset({
    "const", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "maxItems", "maxLength",
    "maximum", "minItems", "minLength", "minimum", "multipleOf", "pattern", "uniqueItems",
})  # fmt: skip

_RULES = {
    "type": ("property_type", "must be {}"),
    "enum": ("property_enum", "must be one of: {}"),
    "const": ("property_const", "must be {}"),
    "minimum": ("property_minimum", "must be at least {}"),
    "maximum": ("property_maximum", "must be at most {}"),
    "exclusiveMinimum": ("property_exclusive_minimum", "must be more than {}"),
    "exclusiveMaximum": ("property_exclusive_maximum", "must be less than {}"),
    "multipleOf": ("property_multiple_of", "must be a multiple of {}"),
    "minLength": ("property_min_length", "must be at least {} characters"),
    "maxLength": ("property_max_length", "must be at most {} characters"),
    "pattern": ("property_pattern", "must match the pattern {}"),
    "format": ("property_format", "must be {}"),
    "minItems": ("property_min_items", "must have at least {} items"),
    "maxItems": ("property_max_items", "must have at most {} items"),
    "uniqueItems": ("property_unique_items", "must not have an item twice"),
}
"""Keyword → our reason, and what follows the property's name in the message."""

_KINDS = {
    "string": "a string",
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}

_FORMATS = {
    "date": "a date: YYYY-MM-DD",
    "date-time": "a date and time with its offset: YYYY-MM-DDThh:mm:ssZ",
    "time": "a time with its offset: hh:mm:ssZ",
    "duration": "an ISO 8601 duration, like P1DT2H",
    "email": "an email address",
    "uri": "an absolute URI",
    "uuid": "a UUID",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "hostname": "a host name",
}


class Shape(msgspec.Struct, frozen=True):
    """Which names a value may have inside. Kept instead of the document, which is far larger."""

    members: Mapping[str, Shape]
    items: Shape | None
    strips: bool
    """Members without a registered name are left out."""


class Validator:
    """One compiled version document: some 50 kB for 50 properties."""

    __slots__ = ("_engine", "_is_valid", "_shape", "strips")

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._engine = compile_schema(effective_schema(document))
        self._is_valid = self._engine.is_valid
        self.strips = settings(document).unknown == "strip"
        self._shape = _shape(document, strips=self.strips, root=True)

    def violations(self, properties: dict[str, Any]) -> list[Violation]:
        """Everything that is wrong, 50 at most; empty when nothing is.

        properties  numbers are int, float or Decimal
        cost        2 µs when valid, else 20 µs and 10 for each violation. Of an event with over
                    1,000 values the first ones are explained.
        """
        if self._is_valid(properties):
            return []
        excerpt = _Excerpt(properties)
        found = self._explain(excerpt.value, cut=excerpt.cut)
        if not found:
            try:
                self._engine.validate(properties)
            except jsonschema_rs.ValidationError as error:
                found = list(_violations(error, self._shape))
        return found or [Violation("/properties", "property_invalid", REASONS["property_invalid"])]

    def strip(self, properties: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Valid properties without their unknown members, and where those were (JSON Pointers)."""
        stripped: list[str] = []
        return _stripped(properties, self._shape, "/properties", stripped), stripped

    def _explain(self, properties: dict[str, Any], *, cut: bool) -> list[Violation]:
        found: list[Violation] = []
        for error in self._engine.iter_errors(properties):
            if cut and error.kind.name == "minItems":
                continue  # may be of our own making
            found += _violations(error, self._shape)
            if len(found) >= 2 * MAX_VIOLATIONS:
                break
        mistyped = {v.path for v in found if v.code == "property_type"}
        plain = (v for v in found if v.code == "property_type" or v.path not in mistyped)
        return list(plain)[:MAX_VIOLATIONS]


def compile_validator(document: Mapping[str, Any]) -> Validator:
    """Compile a document that passed `lint`. Takes about 0.5 ms for 50 properties."""
    return Validator(document)


def compile_schema(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """The engine as it must always be set up.

    offline: by itself it would follow a $ref to a file or a host. mask: its own messages quote
    the value, and are not used.
    """
    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=True, offline=True, mask="[redacted]", pattern_options=REGEX
    )


def effective_schema(document: Mapping[str, Any]) -> dict[str, Any]:
    """What an event is really judged by: assertions only, the unknown policy written out."""
    return _effective(document, rejects=settings(document).unknown == "reject", root=True)


def _effective(schema: Mapping[str, Any], *, rejects: bool, root: bool = False) -> dict[str, Any]:
    effective = {name: value for name, value in schema.items() if name in _ASSERTIONS}
    if types := list(types_of(schema)):
        if "number" in types and is_type(schema.get("multipleOf"), "integer"):
            # The same set, but multipleOf looks at 15 digits only where type looks at all.
            types[types.index("number")] = "integer"
        effective["type"] = types if len(types) > 1 else types[0]
    if schema.get("required"):
        effective["required"] = schema["required"]
    if "properties" in schema:
        effective["properties"] = {
            name: _effective(child, rejects=rejects) for name, child in schema["properties"].items()
        }
    if "items" in schema:
        effective["items"] = _effective(schema["items"], rejects=rejects)
    declared = None if root else schema.get("additionalProperties")
    if declared is False or (declared is None and rejects and (root or "properties" in schema)):
        effective["additionalProperties"] = False
    return effective


def _shape(schema: Mapping[str, Any], *, strips: bool, root: bool = False) -> Shape:
    inner = {
        name: _shape(child, strips=strips) for name, child in schema.get("properties", {}).items()
    }
    items = schema.get("items")
    strips_here = strips and (
        root or ("properties" in schema and "additionalProperties" not in schema)
    )
    if not inner and items is None and not strips_here:
        return _LEAF
    return Shape(inner, None if items is None else _shape(items, strips=strips), strips_here)


_LEAF = Shape({}, None, False)


class _Excerpt:
    """A copy with arrays cut short as soon as MAX_EXPLAINED_VALUES have been copied."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self.cut = False
        self._left = MAX_EXPLAINED_VALUES
        self.value: dict[str, Any] = self._copy(properties)

    def _copy(self, value: Any) -> Any:
        self._left -= 1
        if isinstance(value, dict):
            return {name: self._copy(part) for name, part in value.items()}
        if not isinstance(value, list):
            return value
        copy = []
        for item in value:
            if self._left <= 0:
                self.cut = True
                break
            copy.append(self._copy(item))
        return copy


def _stripped(value: Any, shape: Shape, path: str, stripped: list[str]) -> Any:
    if isinstance(value, list) and shape.items is not None:
        inner = shape.items
        return [_stripped(item, inner, f"{path}/{i}", stripped) for i, item in enumerate(value)]
    if not isinstance(value, dict) or not (shape.members or shape.strips):
        return value
    kept = {}
    for name, part in value.items():
        if name in shape.members:
            below = f"{path}/{pointer_part(name)}"
            kept[name] = _stripped(part, shape.members[name], below, stripped)
        elif shape.strips:
            stripped.append(f"{path}/{_sent_name(name)}")
        else:
            kept[name] = part
    return kept


def _violations(error: jsonschema_rs.ValidationError, root: Shape) -> Iterator[Violation]:
    """One error of the engine in our words; several when it names several unknown properties."""
    place = error.instance_path
    path = "".join(f"/{pointer_part(str(part))}" for part in ("properties", *place))
    keyword, limit = error.kind.name, error.kind.value
    if keyword == "required":
        missing = f"{path}/{pointer_part(limit)}"
        yield Violation(missing, "property_missing", f"{_subject([*place, limit])} is required")
    elif keyword == "additionalProperties":
        known = tuple(_shape_at(root, place).members)
        where = _subject(place) if place else "the event type"
        for index, name in enumerate(limit[:MAX_VIOLATIONS]):
            yield Violation(
                f"{path}/{_sent_name(name)}",
                "property_unknown",
                f"{where} has no such property",
                _similar_name(name, known) if index < MAX_SUGGESTIONS else None,
            )
    else:
        code, wording = _RULES.get(keyword, ("property_invalid", REASONS["property_invalid"]))
        expected = _expected(keyword, limit)
        if len(expected) > MAX_EXPECTED_CHARS:
            expected = expected[:MAX_EXPECTED_CHARS] + "…"
        wording = wording.format(expected).removesuffix("s" if limit == 1 else "")
        yield Violation(path, code, f"{_subject(place)} {wording}")


def _expected(keyword: str, limit: Any) -> str:
    """The limit that was broken, as a reader wants to see it."""
    match keyword:
        case "type":
            return " or ".join(_KINDS[name] for name in limit)
        case "enum" | "const":
            values = limit if keyword == "enum" else [limit]
            texts = [v if isinstance(v, str) else json.dumps(v) for v in values[:MAX_LISTED_VALUES]]
            return ", ".join(texts) + (", …" if len(values) > MAX_LISTED_VALUES else "")
        case "format":
            return _FORMATS[limit]
        case _:
            return str(limit)


def _subject(place: Iterable[str | int]) -> str:
    """Registered names only: `line_items[0].sku`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".") or "properties"


def _shape_at(shape: Shape, place: Iterable[str | int]) -> Shape:
    for part in place:
        below = shape.items if isinstance(part, int) else shape.members.get(part)
        shape = below or _LEAF
    return shape


def _sent_name(name: str) -> str:
    """A name that is not ours, as one part of a pointer that can be stored."""
    return pointer_part(name[:MAX_NAME_CHARS].replace("\0", "\ufffd"))


@lru_cache(4096)
def _similar_name(name: str, known: tuple[str, ...]) -> str | None:
    """The registered name that was probably meant.

    difflib takes 10 µs for each name, so only those with the same letters are shown to it.
    """
    sent = name.lower()
    long = len(sent)
    near = sorted((len(set(sent) ^ set(k.lower())), k) for k in known if abs(len(k) - long) < 4)
    spelt = {k.lower(): k for _, k in near[:10]}
    return next((spelt[k] for k in difflib.get_close_matches(sent, spelt, n=1, cutoff=0.75)), None)
