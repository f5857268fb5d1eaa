"""The published reference is what the code says, checked in, and true to its own schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from app.api.rest.openapi import BATCH_PATH, EVENTS_PATH, docs_routes, openapi_document
from app.errors import CATALOGUE, REASONS, ErrorCode
from scripts.generate_docs import COMMAND, ROOT, errors_markdown, generated_files
from tests.support import EXAMPLE

DOCUMENT = openapi_document()
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}

OUTSIDE_OF_OPERATIONS = {ErrorCode.NOT_FOUND}
"""Answered where there is no operation; told in the document's description."""


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            assert method in METHODS
            yield f"{method.upper()} {path}", operation


def media_types() -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it is, what it says) of every body of the document."""
    for name, operation in operations():
        bodies = {"request": operation.get("requestBody", {})} | operation["responses"]
        for kind, body in bodies.items():
            for media_type, content in body.get("content", {}).items():
                yield f"{name} {kind} {media_type}", content


def examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """(name, schema, value) of every example of the document."""
    for where, content in media_types():
        if "example" in content:
            yield where, content["schema"], content["example"]
        for name, example in content.get("examples", {}).items():
            yield f"{where} {name}", content["schema"], example["value"]


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """Of a schema inside the document: its references start at the document's root."""
    whole = {"allOf": [schema], "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


@pytest.mark.parametrize("path", generated_files(), ids=lambda path: path.name)
def test_what_is_checked_in_is_what_the_code_says(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generated_files()[path], (
        f"{path.relative_to(ROOT)} is out of date: run `{COMMAND}`"
    )


@pytest.mark.contract("4.3: docs/errors.md is generated from the catalogue")
def test_the_errors_page_has_one_row_for_each_code() -> None:
    rows = re.findall(r"^\| `([a-z_]+)`", errors_markdown(), re.MULTILINE)
    assert rows == [*CATALOGUE, *REASONS]


@pytest.mark.contract("4.3: the catalogue is closed")
def test_every_error_code_is_in_the_catalogue() -> None:
    assert set(CATALOGUE) == set(ErrorCode)


def test_the_document_has_the_structure_of_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert {"title", "version"} <= set(DOCUMENT["info"])
    assert {EVENTS_PATH, BATCH_PATH} <= set(DOCUMENT["paths"])
    schemes = DOCUMENT["components"]["securitySchemes"]
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    ids = [operation["operationId"] for _, operation in operations()]
    assert len(ids) == len(set(ids))
    for name, operation in operations():
        assert set(operation["tags"]) <= tags, name
        assert all(set(wanted) <= set(schemes) for wanted in operation["security"]), name
        for status, response in operation["responses"].items():
            assert re.fullmatch("[1-5][0-9]{2}", status), name
            assert response["description"], name


def test_every_reference_resolves() -> None:
    found = set(references(DOCUMENT))
    for reference in found:
        node: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    used = {reference.rsplit("/", 1)[1] for reference in found}
    assert used == {*DOCUMENT["components"]["schemas"], *DOCUMENT["components"]["headers"]}


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_schema_is_a_json_schema(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    assert jsonschema_rs.meta.is_valid(dialect | schema)


@pytest.mark.parametrize(
    ("schema", "value"), [pytest.param(s, v, id=name) for name, s, v in examples()]
)
def test_every_example_keeps_its_schema(schema: dict[str, Any], value: object) -> None:
    assert list(validator(schema).iter_errors(value)) == []


@pytest.mark.parametrize(
    ("path", "is_pointer"),
    [
        ("", True),
        ("/properties/order_id", True),
        ("/properties/a~1b~0c", True),
        ("/properties//\n", True),
        ("properties", False),
        ("/properties/a~2", False),
    ],
)
def test_a_violation_s_path_is_a_json_pointer(path: str, is_pointer: bool) -> None:
    violation = {"path": path, "code": "content_differs", "message": "differs"}
    schema = validator({"$ref": "#/components/schemas/Violation"})
    assert schema.is_valid(violation) is is_pointer


@pytest.mark.contract("1: one event")
def test_the_event_example_is_the_contract_s() -> None:
    content = DOCUMENT["paths"][EVENTS_PATH]["post"]["requestBody"]["content"]
    assert content["application/json"]["examples"]["purchase"]["value"] == EXAMPLE


@pytest.mark.parametrize(
    "change",
    [
        {"source": ""},
        {"source": " brand.pos"},
        {"externalEventId": "a" * 256},
        {"externalEventId": "line\nfeed"},
        {"eventType": None},
        {"occurredAt": 1},
        {"occured_at": "2026-05-20T12:45:00Z"},
        {"identity": {}},
        {"identity": {"email": None}},
        {"identity": {"email": "a@example.com", "mail": "a@example.com"}},
        {"properties": []},
    ],
)
def test_the_event_schema_refuses_what_the_service_refuses(change: dict[str, Any]) -> None:
    schema = DOCUMENT["components"]["schemas"]["Event"]
    assert not validator(schema).is_valid(EXAMPLE | change)


@pytest.mark.parametrize("left_out", ["occurredAt", "properties"])
def test_null_in_an_optional_field_counts_as_left_out(left_out: str) -> None:
    schema = DOCUMENT["components"]["schemas"]["Event"]
    assert list(validator(schema).iter_errors(EXAMPLE | {left_out: None})) == []


def test_every_error_code_is_shown_in_both_media_types_of_an_operation() -> None:
    shown: dict[str, set[str]] = {"application/json": set(), "application/problem+json": set()}
    for where, content in media_types():
        for example in content.get("examples", {}).values():
            if "error_code" in example["value"]:
                shown[where.rsplit(" ", 1)[1]].add(example["value"]["error_code"])
    promised = set(ErrorCode) - OUTSIDE_OF_OPERATIONS
    assert shown == dict.fromkeys(shown, promised)


@pytest.mark.contract("4.3: each error_code has one status")
def test_every_error_is_shown_at_its_status_and_with_known_reasons() -> None:
    for name, operation in operations():
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                for example in content.get("examples", {}).values():
                    value = example["value"]
                    if "error_code" in value:
                        assert CATALOGUE[value["error_code"]].status == int(status), name
                        assert {error["code"] for error in value["errors"]} <= set(REASONS)


def test_the_pages_need_no_other_host() -> None:
    paths = {path for route in docs_routes() for path in route.paths}
    assert paths == {
        "/openapi.json",
        "/docs",
        "/docs/init.js",
        "/docs/swagger-ui.css",
        "/docs/swagger-ui-bundle.js",
    }
