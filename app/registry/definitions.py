"""A document as a list of typed property definitions, and back: two views of one thing.

Pure. Never decides whether definitions make sense: what they say is written into the document as
it stands, and `linter` finds it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from app.registry.spec import Finding, types_of

JsonNumber = int | float


class Literal(msgspec.Struct, frozen=True):
    """A JSON value that was given; it may be null, which is not the same as none given."""

    value: Any


class ValueDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """What one value may be. None and no entry: the document does not say."""

    type: str | None = None
    """One of `spec.TYPES`."""
    nullable: bool = False
    """Null is accepted beside the type."""
    title: str | None = None
    description: str | None = None
    display_name: str | None = None
    comment: str | None = None
    deprecated: bool | None = None
    segmentable: bool | None = None
    pii: str | None = None
    """One of `spec.PII_CLASSES`."""
    const: Literal | None = None
    enum: tuple[Any, ...] | None = None
    format: str | None = None
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    minimum: JsonNumber | None = None
    maximum: JsonNumber | None = None
    exclusive_minimum: JsonNumber | None = None
    exclusive_maximum: JsonNumber | None = None
    multiple_of: JsonNumber | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool | None = None
    additional_properties: bool | None = None
    items: ValueDefinition | None = None
    """Of every item of an array."""
    properties: tuple[PropertyDefinition, ...] | None = None
    """Of an object; none at all is said of one that may hold anything."""
    default: Literal | None = None
    examples: tuple[Any, ...] | None = None


class PropertyDefinition(ValueDefinition, frozen=True, kw_only=True):
    """A value under its name."""

    name: str
    required: bool = False
    """Its object must have it."""


FIELD_BY_KEYWORD: Mapping[str, str] = {
    "$comment": "comment",
    "title": "title",
    "description": "description",
    "deprecated": "deprecated",
    "x-display-name": "display_name",
    "x-segmentable": "segmentable",
    "x-pii": "pii",
    "enum": "enum",
    "format": "format",
    "pattern": "pattern",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusiveMinimum": "exclusive_minimum",
    "exclusiveMaximum": "exclusive_maximum",
    "multipleOf": "multiple_of",
    "minItems": "min_items",
    "maxItems": "max_items",
    "uniqueItems": "unique_items",
    "additionalProperties": "additional_properties",
    "examples": "examples",
}
"""Keywords whose value is the field's; the others (type, const, …) are taken apart."""


def definitions_of(document: Mapping[str, Any]) -> tuple[PropertyDefinition, ...]:
    """The properties of a document that passed `lint`, in its order."""
    required = document.get("required", ())
    return tuple(
        PropertyDefinition(name=name, required=name in required, **_fields(schema))
        for name, schema in document.get("properties", {}).items()
    )


def document_of(
    definitions: Sequence[PropertyDefinition], base: Mapping[str, Any]
) -> dict[str, Any]:
    """The document that has these properties, and whatever else `base` says of the event type.

    definitions  names are distinct within an object: see `repeated_names`
    base         the document that is edited, or settings alone. What means the same is spelt as
                 it was there, so a comparison of the two shows what was changed and nothing else.
    """
    listed = definitions if definitions or base.get("properties") == {} else None
    return {"type": "object"} | _with_members(dict(base), listed, base)


def repeated_names(definitions: Sequence[PropertyDefinition]) -> list[Finding]:
    """Properties that an object has twice: a document could hold only one of them.

    path  JSON Pointer into the definitions: "/3/items/properties/1"
    """
    return list(_repeated("", definitions))


def _fields(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Of a ValueDefinition."""
    types = types_of(schema)
    fields: dict[str, Any] = {
        field: tuple(schema[keyword]) if isinstance(schema[keyword], list) else schema[keyword]
        for keyword, field in FIELD_BY_KEYWORD.items()
        if keyword in schema
    }
    fields |= {name: Literal(schema[name]) for name in ("const", "default") if name in schema}
    if len(types) == 2:
        fields |= {"type": next(name for name in types if name != "null"), "nullable": True}
    elif types:
        fields["type"] = types[0]
    if "items" in schema:
        fields["items"] = ValueDefinition(**_fields(schema["items"]))
    if "properties" in schema:
        fields["properties"] = definitions_of(schema)
    return fields


def _schema(definition: ValueDefinition, base: Mapping[str, Any]) -> dict[str, Any]:
    """base  the schema that is at this place so far; empty when there is none"""
    schema: dict[str, Any] = {}
    types = [definition.type] if definition.type is not None else []
    types += ["null"] if definition.nullable else []
    if types:
        schema["type"] = types if definition.nullable else types[0]
        if set(types_of(schema)) == set(types_of(base)) and definition.nullable:
            schema["type"] = base["type"]
    for keyword, field in FIELD_BY_KEYWORD.items():
        value = getattr(definition, field)
        if value is not None:
            schema[keyword] = list(value) if isinstance(value, tuple) else value
    for name in ("const", "default"):
        literal = getattr(definition, name)
        if literal is not None:
            schema[name] = literal.value
    if definition.items is not None:
        schema["items"] = _schema(definition.items, base.get("items", {}))
    return _with_members(schema, definition.properties, base)


def _with_members(
    schema: dict[str, Any],
    definitions: Sequence[PropertyDefinition] | None,
    base: Mapping[str, Any],
) -> dict[str, Any]:
    """The schema with these properties; `required` in the order of the base, then in theirs."""
    schema.pop("required", None)
    schema.pop("properties", None)
    required = [definition.name for definition in definitions or () if definition.required]
    if required or base.get("required") == []:
        kept = [name for name in base.get("required", ()) if name in required]
        schema["required"] = kept + [name for name in required if name not in kept]
    if definitions is not None:
        before = base.get("properties", {})
        schema["properties"] = {
            definition.name: _schema(definition, before.get(definition.name, {}))
            for definition in definitions
        }
    return schema


def _repeated(pointer: str, definitions: Sequence[PropertyDefinition]) -> Iterator[Finding]:
    met: set[str] = set()
    for index, definition in enumerate(definitions):
        below = f"{pointer}/{index}"
        if definition.name in met:
            yield Finding(below, "property_repeated", "the object has a property of this name")
        met.add(definition.name)
        value: ValueDefinition | None = definition
        while value is not None:
            yield from _repeated(f"{below}/properties", value.properties or ())
            value, below = value.items, f"{below}/items"
