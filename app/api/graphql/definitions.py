"""Property definitions in GraphQL: a document as typed fields, to read and to write.

Decides nothing: what the definitions say is written into a document, and linted there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import strawberry
from strawberry.scalars import JSON

from app.api.graphql.refusals import Invalid, Problem
from app.api.graphql.scalars import Number
from app.process import beside_events
from app.registry import definitions as registry
from app.registry.linter import lint

_SAID: Mapping[str, str] = {
    "title": "A short name for people.",
    "description": "What it is.",
    "display_name": "How marketing's tools call it.",
    "comment": "A note for those who edit the document.",
    "deprecated": "Whether senders should stop sending it.",
    "segmentable": "Whether marketing may select by it.",
    "pii": "Whether it is personal data; null: as NONE.",
    "const": "The only value it may have.",
    "enum": "The values it may have: texts, numbers, true, false, null.",
    "format": "Of a text: date, date-time, time, duration, email, uri, uuid, ipv4, ipv6, hostname.",
    "pattern": "Of a text: a regular expression that is found in it. Linear: no look-around.",
    "min_length": "Of a text, in characters.",
    "max_length": "Of a text, in characters.",
    "minimum": "The least number.",
    "maximum": "The greatest number.",
    "exclusive_minimum": "Every number is greater.",
    "exclusive_maximum": "Every number is less.",
    "multiple_of": "Every number is a multiple of it.",
    "min_items": "Of an array.",
    "max_items": "Of an array.",
    "unique_items": "Whether an array may not have an item twice.",
    "additional_properties": "Of an object: whether it may have properties that are not listed. "
    "Null: as the event type's unknown policy says.",
    "items": "Of an array: what each item may be.",
    "properties": "Of an object: its properties. Null: it may hold anything.",
    "default": "What a reader may assume when it is not sent. Events are stored as sent.",
    "examples": "Values it could have.",
    "type": "Its JSON type; null: any.",
    "nullable": "Whether null is accepted beside the type.",
    "name": "Its name in the object that it belongs to.",
    "required": "Whether that object must have it.",
}  # fmt: skip

_APART = ("type", "pii", "const", "default", "items", "properties", "enum", "examples")
_PLAIN = tuple(
    name for name in registry.ValueDefinition.__struct_fields__ if name not in _APART
)  # fmt: skip


@strawberry.enum(description="A JSON type.")
class PropertyType(Enum):
    STRING = strawberry.enum_value("string", description="A text.")
    NUMBER = strawberry.enum_value("number", description="Any number.")
    INTEGER = strawberry.enum_value("integer", description="A whole number; 1.0 is one.")
    BOOLEAN = strawberry.enum_value("boolean", description="true or false.")
    ARRAY = strawberry.enum_value("array", description="A list.")
    OBJECT = strawberry.enum_value("object", description="Properties under names.")
    NULL = strawberry.enum_value("null", description="Nothing but null.")


@strawberry.enum(description="Whether a value is personal data.")
class PiiClass(Enum):
    NONE = strawberry.enum_value("none", description="It is not.")
    INDIRECT = strawberry.enum_value("indirect", description="Together with others it may be.")
    DIRECT = strawberry.enum_value("direct", description="It names or reaches a person.")


def _said(name: str, **options: Any) -> Any:
    return strawberry.field(description=_SAID[name], **options)


@strawberry.type(description="A value that was given. It may be null.")
class GivenValue:
    value: JSON | None = strawberry.field(description="The value.")


@strawberry.input(description="A value; null is one too.")
class GivenValueInput:
    value: JSON | None = strawberry.field(description="The value.")


@strawberry.type(description="What one value may be. Null: the document does not say.")
class ValueDefinition:
    type: PropertyType | None = _said("type")
    nullable: bool = _said("nullable")
    title: str | None = _said("title")
    description: str | None = _said("description")
    display_name: str | None = _said("display_name")
    comment: str | None = _said("comment")
    deprecated: bool | None = _said("deprecated")
    segmentable: bool | None = _said("segmentable")
    pii: PiiClass | None = _said("pii")
    const: GivenValue | None = _said("const")
    enum: list[JSON | None] | None = _said("enum")
    format: str | None = _said("format")
    pattern: str | None = _said("pattern")
    min_length: Number | None = _said("min_length")
    max_length: Number | None = _said("max_length")
    minimum: Number | None = _said("minimum")
    maximum: Number | None = _said("maximum")
    exclusive_minimum: Number | None = _said("exclusive_minimum")
    exclusive_maximum: Number | None = _said("exclusive_maximum")
    multiple_of: Number | None = _said("multiple_of")
    min_items: Number | None = _said("min_items")
    max_items: Number | None = _said("max_items")
    unique_items: bool | None = _said("unique_items")
    additional_properties: bool | None = _said("additional_properties")
    items: ValueDefinition | None = _said("items")
    properties: list[PropertyDefinition] | None = _said("properties")
    default: GivenValue | None = _said("default")
    examples: list[JSON | None] | None = _said("examples")


@strawberry.type(description="A property of an event, or of an object inside of it.")
class PropertyDefinition(ValueDefinition):
    name: str = _said("name")
    required: bool = _said("required")


@strawberry.input(description="What one value may be. Left out, and null: nothing is said.")
class ValueDefinitionInput:
    type: PropertyType | None = _said("type", default=None)
    nullable: bool = _said("nullable", default=False)
    title: str | None = _said("title", default=None)
    description: str | None = _said("description", default=None)
    display_name: str | None = _said("display_name", default=None)
    comment: str | None = _said("comment", default=None)
    deprecated: bool | None = _said("deprecated", default=None)
    segmentable: bool | None = _said("segmentable", default=None)
    pii: PiiClass | None = _said("pii", default=None)
    const: GivenValueInput | None = _said("const", default=None)
    enum: list[JSON | None] | None = _said("enum", default=None)
    format: str | None = _said("format", default=None)
    pattern: str | None = _said("pattern", default=None)
    min_length: Number | None = _said("min_length", default=None)
    max_length: Number | None = _said("max_length", default=None)
    minimum: Number | None = _said("minimum", default=None)
    maximum: Number | None = _said("maximum", default=None)
    exclusive_minimum: Number | None = _said("exclusive_minimum", default=None)
    exclusive_maximum: Number | None = _said("exclusive_maximum", default=None)
    multiple_of: Number | None = _said("multiple_of", default=None)
    min_items: Number | None = _said("min_items", default=None)
    max_items: Number | None = _said("max_items", default=None)
    unique_items: bool | None = _said("unique_items", default=None)
    additional_properties: bool | None = _said("additional_properties", default=None)
    items: ValueDefinitionInput | None = _said("items", default=None)
    properties: list[PropertyDefinitionInput] | None = _said("properties", default=None)
    default: GivenValueInput | None = _said("default", default=None)
    examples: list[JSON | None] | None = _said("examples", default=None)


@strawberry.input(description="A property of an event, or of an object inside of it.")
class PropertyDefinitionInput(ValueDefinitionInput):
    name: str = _said("name")
    required: bool = _said("required", default=False)


async def shown_definitions(document: Mapping[str, Any]) -> list[PropertyDefinition] | None:
    """The properties of a document; None while it has faults: some of it could not be shown.

    cost  lint's, in a thread
    """
    findings = await beside_events(lint, document)
    if any(finding.severity == "error" for finding in findings):
        return None
    return [_shown_property(definition) for definition in registry.definitions_of(document)]


def document_from(
    definitions: Sequence[PropertyDefinitionInput], base: Mapping[str, Any]
) -> dict[str, Any] | Invalid:
    """The base document with these properties in place of its own."""
    given = [_given_property(definition) for definition in definitions]
    if repeated := registry.repeated_names(given):
        return Invalid(
            message=repeated[0].message,
            problems=[
                Problem(
                    path=f"/definitions{finding.path}", rule=finding.rule, message=finding.message
                )
                for finding in repeated
            ],
        )
    return registry.document_of(given, base)


def _shown_property(definition: registry.PropertyDefinition) -> PropertyDefinition:
    return PropertyDefinition(
        name=definition.name, required=definition.required, **_shown_fields(definition)
    )


def _shown_fields(definition: registry.ValueDefinition) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(definition, name) for name in _PLAIN}
    for name in ("enum", "examples"):
        values = getattr(definition, name)
        fields[name] = None if values is None else list(values)
    for name in ("const", "default"):
        literal = getattr(definition, name)
        fields[name] = literal and GivenValue(value=literal.value)
    fields["type"] = definition.type and PropertyType(definition.type)
    fields["pii"] = definition.pii and PiiClass(definition.pii)
    if definition.items is not None:
        fields["items"] = ValueDefinition(**_shown_fields(definition.items))
    if definition.properties is not None:
        fields["properties"] = [_shown_property(member) for member in definition.properties]
    return {"items": None, "properties": None} | fields


def _given_property(given: PropertyDefinitionInput) -> registry.PropertyDefinition:
    return registry.PropertyDefinition(
        name=given.name, required=given.required, **_given_fields(given)
    )


def _given_fields(given: ValueDefinitionInput) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(given, name) for name in _PLAIN}
    for name in ("enum", "examples"):
        values = getattr(given, name)
        fields[name] = None if values is None else tuple(values)
    for name in ("const", "default"):
        value = getattr(given, name)
        fields[name] = value and registry.Literal(value.value)
    fields["type"] = given.type and given.type.value
    fields["pii"] = given.pii and given.pii.value
    if given.items is not None:
        fields["items"] = registry.ValueDefinition(**_given_fields(given.items))
    if given.properties is not None:
        fields["properties"] = tuple(_given_property(member) for member in given.properties)
    return fields
