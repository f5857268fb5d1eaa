"""Property definitions over GraphQL: the typed view of a document, to read and to write."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.graphql.registry import Registry
from tests.api.graphql.support import GraphQL
from tests.support import Api

FIELDS = """
  type nullable title description displayName comment deprecated segmentable pii const { value }
  enum format pattern minLength maxLength minimum maximum exclusiveMinimum exclusiveMaximum
  multipleOf minItems maxItems uniqueItems additionalProperties default { value } examples
"""
DEFINITIONS = f"""
  definitions {{
    name required {FIELDS}
    items {{ {FIELDS} properties {{ name required {FIELDS} }} }}
    properties {{ name required {FIELDS} }}
  }}
"""
SAVED = f"""
  __typename
  ... on DraftSaved {{ draft {{ id revision document findings {{ path rule }} {DEFINITIONS} }} }}
  ... on Invalid {{ problems {{ path rule }} }}
"""
CREATE = f"mutation ($input: CreateDraftInput!) {{ createDraft(input: $input) {{ {SAVED} }} }}"
EDIT = f"mutation ($input: EditDraftInput!) {{ editDraft(input: $input) {{ {SAVED} }} }}"

ORDER: list[dict[str, Any]] = [
    {"name": "order_id", "required": True, "type": "STRING", "minLength": 1, "maxLength": 2**40,
     "description": "The order.", "segmentable": True, "pii": "NONE"},
    {"name": "amount", "type": "NUMBER", "nullable": True, "exclusiveMinimum": 0, "maximum": 1e9,
     "multipleOf": 0.01, "default": {"value": None}},
    {"name": "points", "type": "INTEGER", "minimum": -(2**60) - 1},
    {"name": "kind", "enum": ["a", 1, True, None], "const": None},
    {"name": "state", "const": {"value": None}, "deprecated": True},
    {"name": "lines", "type": "ARRAY", "minItems": 1, "uniqueItems": False, "items": {
        "type": "OBJECT", "additionalProperties": False, "properties": [
            {"name": "sku", "required": True, "type": "STRING", "pattern": "^[a-z]+$"},
        ]}},
    {"name": "address", "type": "OBJECT", "properties": []},
    {"name": "anything", "type": "OBJECT", "examples": [{"a": [1]}, None]},
]  # fmt: skip

DOCUMENT: dict[str, Any] = {
    "type": "object",
    "required": ["order_id"],
    "properties": {
        "order_id": {"type": "string", "minLength": 1, "maxLength": 2**40,
                     "description": "The order.", "x-segmentable": True, "x-pii": "none"},
        "amount": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1e9,
                   "multipleOf": 0.01, "default": None},
        "points": {"type": "integer", "minimum": -(2**60) - 1},
        "kind": {"enum": ["a", 1, True, None]},
        "state": {"const": None, "deprecated": True},
        "lines": {"type": "array", "minItems": 1, "uniqueItems": False, "items": {
            "type": "object", "additionalProperties": False, "required": ["sku"],
            "properties": {"sku": {"type": "string", "pattern": "^[a-z]+$"}}}},
        "address": {"type": "object", "properties": {}},
        "anything": {"type": "object", "examples": [{"a": [1]}, None]},
    },
}  # fmt: skip


@pytest.fixture
async def registry(api: Api) -> Registry:
    registry = Registry(GraphQL(api))
    await registry.event_type("order_placed")
    return registry


async def create(registry: Registry, **given: Any) -> Any:
    answer = await registry.gql.data(CREATE, {"input": {"eventType": "order_placed"} | given})
    return answer["createDraft"]


def said(definition: dict[str, Any]) -> dict[str, Any]:
    """What an answer says of a property, without what it does not say."""
    kept = {n: value for n, value in definition.items() if value is not None and value is not False}
    for name in ("additionalProperties", "uniqueItems"):
        if definition[name] is False:
            kept[name] = False
    if isinstance(definition.get("items"), dict):
        kept["items"] = said(definition["items"])
    if definition.get("properties") is not None:
        kept["properties"] = [said(member) for member in definition["properties"]]
    return kept


async def test_definitions_and_document_are_two_views_of_one_draft(registry: Registry) -> None:
    by_definitions = await create(registry, definitions=ORDER)
    by_document = await create(registry, document=DOCUMENT)
    assert by_definitions["draft"]["document"] == DOCUMENT
    assert by_definitions["draft"]["findings"] == []
    shown = by_document["draft"]["definitions"]
    assert shown == by_definitions["draft"]["definitions"]
    given = [{k: v for k, v in entry.items() if (k, v) != ("const", None)} for entry in ORDER]
    by_name = {definition["name"]: said(definition) for definition in shown}
    assert by_name == {entry["name"]: entry for entry in given}


async def test_what_is_shown_can_be_sent_back_and_changes_nothing(registry: Registry) -> None:
    turned = DOCUMENT["properties"] | {"amount": {"type": ["null", "number"]}}
    document = DOCUMENT | {"properties": turned, "required": ["points", "order_id"], "title": "t"}
    draft = (await create(registry, document=document))["draft"]
    answer = await registry.gql.data(
        EDIT,
        {
            "input": {
                "id": draft["id"],
                "expectedRevision": draft["revision"],
                "definitions": draft["definitions"],
            }
        },
    )
    edited = answer["editDraft"]["draft"]
    assert edited["document"] == document
    assert edited["definitions"] == draft["definitions"]


async def test_a_published_version_shows_its_definitions(registry: Registry) -> None:
    await registry.published("order_placed", DOCUMENT)
    found = await registry.gql.data(
        f'{{ eventType(name: "order_placed") {{ currentVersion {{ {DEFINITIONS} }} }} }}'
    )
    draft = await create(registry, document=DOCUMENT)
    version = found["eventType"]["currentVersion"]
    by_name = {entry["name"]: entry for entry in version["definitions"]}
    assert by_name == {entry["name"]: entry for entry in draft["draft"]["definitions"]}


async def test_new_definitions_keep_what_the_newest_version_says_of_the_event_type(
    registry: Registry,
) -> None:
    await registry.published("order_placed", DOCUMENT | {"x-unknown-properties": "strip"})
    draft = await create(registry, definitions=[*ORDER, {"name": "note"}])
    expected = DOCUMENT | {
        "x-unknown-properties": "strip",
        "properties": DOCUMENT["properties"] | {"note": {}},
    }
    document = draft["draft"]["document"]
    assert {name: document[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("definitions", "path"),
    [
        ([{"name": "a"}, {"name": "a"}], "/definitions/1"),
        ([{"name": "a", "items": {"properties": [{"name": "b"}, {"name": "b"}]}}],
         "/definitions/0/items/properties/1"),
    ],
)  # fmt: skip
async def test_a_name_that_is_there_twice_is_refused(
    registry: Registry, definitions: Any, path: str
) -> None:
    answer = await create(registry, definitions=definitions)
    assert answer == {
        "__typename": "Invalid",
        "problems": [{"path": path, "rule": "property_repeated"}],
    }


async def test_a_draft_with_faults_shows_them_instead_of_definitions(registry: Registry) -> None:
    draft = (await create(registry, definitions=[{"name": "a", "nullable": True}]))["draft"]
    assert draft["document"]["properties"] == {"a": {"type": ["null"]}}
    assert draft["definitions"] is None
    assert {"path": "/properties/a/type", "rule": "keyword_value"} in draft["findings"]


async def test_a_limit_must_be_a_number(registry: Registry) -> None:
    for value in ("1", True, [1]):
        definitions = [{"name": "a", "type": "NUMBER", "minimum": value}]
        variables = {"input": {"eventType": "order_placed", "definitions": definitions}}
        errors = await registry.gql.errors(CREATE, variables)
        assert len(errors) == 1
        assert "Expected value of type 'Number'" in errors[0][1]


async def test_definitions_that_are_nested_too_deep_are_no_fault_of_the_service(
    registry: Registry,
) -> None:
    value: dict[str, Any] = {"type": "ARRAY"}
    for _ in range(20):
        value = {"type": "ARRAY", "items": value}
    draft = (await create(registry, definitions=[{"name": "a", **value}]))["draft"]
    assert draft["definitions"] is None
    assert "too_deep" in {finding["rule"] for finding in draft["findings"]}
