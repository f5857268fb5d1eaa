"""What a version document of an event type may say: the supported part of JSON Schema 2020-12.

A document is the schema of an event's `properties`. Never judges an event (`validator` does) and
never compares two documents (`evolution` does).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import jsonschema_rs
import msgspec

from app.registry.names import (
    is_reserved,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_DEPTH = 10
"""Levels of schemas; the root is the first. An event may be nested 32 deep, so this fits in."""
MAX_PROPERTIES = 500
"""In one document, nested ones included."""
MAX_DOCUMENT_BYTES = 64 * 1024
"""As compact JSON."""
MAX_NAME_CHARS = 128
"""Of an event type's name and of a property's."""
TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
SCALARS = frozenset({"string", "number", "integer", "boolean"})
FORMATS = ("date", "date-time", "time", "duration", "email", "uri", "uuid", "ipv4", "ipv6",
           "hostname")  # fmt: skip
PII_CLASSES = ("none", "indirect", "direct")
UNKNOWN_POLICIES = ("reject", "strip", "allow")
MODES = ("BACKWARD_TRANSITIVE", "BACKWARD", "FORWARD", "FORWARD_TRANSITIVE", "FULL",
         "FULL_TRANSITIVE", "NONE")  # fmt: skip
REGEX: Final = jsonschema_rs.RegexOptions(size_limit=1 << 20)
"""Rust's linear engine: no look-around, no back-reference, so no pattern can be slow. A pattern
of more than 1 MiB compiled (`\\p{L}{200}`) is refused: documents are many, memory is not."""

_EVENT_TYPE = re.compile(r"[a-z][a-z0-9]*(?:[._][a-z0-9]+)*")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong with a document. Only errors keep it from being published."""

    path: str
    """JSON Pointer into the document."""
    rule: str
    message: str
    severity: Literal["error", "warning"] = "error"


class Property(msgspec.Struct, frozen=True):
    """One registered property, nested ones included."""

    path: str
    """Where it is in an event's `properties`: "/amount", "/line_items/*/sku" (* is every item)."""
    name: str
    types: tuple[str, ...]
    """Without "null"; empty when anything is accepted."""
    required: bool
    """Its object must have it. The object itself may be optional."""
    nullable: bool
    segmentable: bool
    pii: str
    description: str | None


class Settings(msgspec.Struct, frozen=True):
    """What a document says of the event type itself."""

    owner: str | None
    display_name: str | None
    unknown: str
    """One of UNKNOWN_POLICIES."""
    compatibility: str
    """One of MODES."""


class Keyword(NamedTuple):
    accepts: Callable[[Any], bool]
    expected: str
    types: frozenset[str] = frozenset()
    """Those it constrains, when not all: elsewhere it would silently do nothing."""
    root_only: bool = False


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value)) and len(set(value)) == len(value)


def is_type_keyword(value: Any) -> bool:
    """Whether it can be the value of `type`: one type, or one and "null"."""
    names = value if isinstance(value, list) else [value]
    pair = len(names) == 2 and "null" in names and names[0] != names[1]
    return (pair or not isinstance(value, list)) and all(name in TYPES for name in names)


def _one_of(names: Collection[str], *, root_only: bool = False) -> Keyword:
    return Keyword(
        lambda value: _text(value) and value in names, f"one of {', '.join(names)}",
        root_only=root_only,
    )  # fmt: skip


_TEXT, _FLAG, _ANY = Keyword(_text, "a string"), Keyword(_flag, "true or false"), lambda value: True
_LIST = Keyword(lambda value: isinstance(value, list), "an array")
_LIMIT = Keyword(_number, "a number", frozenset({"number", "integer"}))
_COUNT = Keyword(
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "a whole number, 0 or more",
)
_STRINGS, _ARRAYS, _OBJECTS = frozenset({"string"}), frozenset({"array"}), frozenset({"object"})

KEYWORDS: Mapping[str, Keyword] = {
    "$schema": Keyword(lambda value: bool(value == DIALECT), DIALECT, root_only=True),
    "$id": _TEXT._replace(root_only=True),
    "$comment": _TEXT,
    "title": _TEXT,
    "description": _TEXT,
    "deprecated": _FLAG,
    "x-owner": Keyword(lambda value: _text(value) and value != "", "a name", root_only=True),
    "x-display-name": _TEXT,
    "x-compatibility": _one_of(MODES, root_only=True),
    "x-unknown-properties": _one_of(UNKNOWN_POLICIES, root_only=True),
    "x-segmentable": _FLAG,
    "x-pii": _one_of(PII_CLASSES),
    "type": Keyword(
        is_type_keyword, f'one of {", ".join(TYPES)}, or a list of one of them and "null"'
    ),
    "const": Keyword(_ANY, ""),
    "enum": _LIST,
    "format": _one_of(FORMATS)._replace(types=_STRINGS),
    "pattern": _TEXT._replace(types=_STRINGS),
    "minLength": _COUNT._replace(types=_STRINGS),
    "maxLength": _COUNT._replace(types=_STRINGS),
    "minimum": _LIMIT,
    "maximum": _LIMIT,
    "exclusiveMinimum": _LIMIT,
    "exclusiveMaximum": _LIMIT,
    "multipleOf": _LIMIT._replace(
        accepts=lambda value: _number(value) and value > 0, expected="a number above 0"
    ),
    "minItems": _COUNT._replace(types=_ARRAYS),
    "maxItems": _COUNT._replace(types=_ARRAYS),
    "uniqueItems": _FLAG._replace(types=_ARRAYS),
    "additionalProperties": _FLAG._replace(types=_OBJECTS),
    "required": Keyword(_names, "a list of names, each once", _OBJECTS),
    "properties": Keyword(lambda value: isinstance(value, dict), "an object", _OBJECTS),
    "items": Keyword(_ANY, "", _ARRAYS),
    "default": Keyword(_ANY, ""),
    "examples": _LIST,
}
"""Every supported keyword, in the order in which `pull` writes them."""


def is_event_type_name(name: str) -> bool:
    return len(name) <= MAX_NAME_CHARS and _EVENT_TYPE.fullmatch(name) is not None


def is_storable(text: str) -> bool:
    """Whether Postgres can keep it: no NUL, no half of a surrogate pair."""
    return _NOT_STORABLE.search(text) is None


def is_property_name(name: str) -> bool:
    """Whether a document may have a property of this name."""
    sound = 0 < len(name) <= MAX_NAME_CHARS and not CONTROL.search(name)
    return sound and is_storable(name) and not is_reserved(name)


def pointer_part(name: str) -> str:
    """A name as one part of a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def settings(document: Mapping[str, Any]) -> Settings:
    return Settings(
        owner=document.get("x-owner"),
        display_name=document.get("x-display-name"),
        unknown=document.get("x-unknown-properties", "reject"),
        compatibility=document.get("x-compatibility", "BACKWARD_TRANSITIVE"),
    )


def properties(document: Mapping[str, Any]) -> list[Property]:
    """Every registered property; an object before its members."""
    return list(_properties_of(document, ""))


def types_of(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The declared types, "null" included; empty when there are none."""
    declared = schema.get("type", ())
    return (declared,) if isinstance(declared, str) else tuple(declared)


def enumerated(schema: Mapping[str, Any]) -> list[Any] | None:
    """The values that `const` or `enum` leave; None when there are neither."""
    values: list[Any] | None = [schema["const"]] if "const" in schema else schema.get("enum")
    return values


def is_type(value: Any, name: str) -> bool:
    """Whether a JSON value has a JSON Schema type; 1.0 is an integer, true is not."""
    if name in ("number", "integer"):
        return _number(value) and (name == "number" or isinstance(value, int) or value.is_integer())
    kinds = {"string": str, "boolean": bool, "array": list, "object": dict, "null": type(None)}
    return isinstance(value, kinds[name])


def _properties_of(schema: Mapping[str, Any], path: str) -> Iterator[Property]:
    for name, child in schema.get("properties", {}).items():
        below = f"{path}/{pointer_part(name)}"
        values = enumerated(child)
        types = types_of(child) or tuple(
            t for t in TYPES if t != "number" and any(is_type(v, t) for v in values or ())
        )
        yield Property(
            path=below,
            name=name,
            types=tuple(t for t in types if t != "null"),
            required=name in schema.get("required", ()),
            nullable=(not types or "null" in types) and (values is None or None in values),
            segmentable=child.get("x-segmentable", False),
            pii=child.get("x-pii", "none"),
            description=child.get("description"),
        )
        while "items" in child:
            child, below = child["items"], f"{below}/*"
        yield from _properties_of(child, below)
