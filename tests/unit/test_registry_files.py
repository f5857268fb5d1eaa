"""Event types as files: faults are told by file, line and reason; the product's own have none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.registry.evolution import compatibility_findings
from app.registry.files import (
    MAX_FILE_BYTES,
    RegistryFilesError,
    checksum,
    positions,
    read_registry,
    write_registry,
)
from app.registry.linter import lint
from app.registry.spec import properties, settings
from app.registry.validator import compile_validator

PRODUCT = Path(__file__).parents[2] / "registry_schemas"
TEXT = {"type": "string"}
VISIT: dict[str, Any] = {"type": "object", "properties": {"a": TEXT}}


def write(folder: Path, files: dict[str, Any]) -> Path:
    """Files by path; what is no text is written as JSON, one member a line."""
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content, indent=2)
            file.write_text(text, encoding="utf-8")
    return folder


def problems(folder: Path) -> list[str]:
    with pytest.raises(RegistryFilesError) as caught:
        read_registry(folder)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_versions_are_read_in_order_and_notes_are_left_alone(tmp_path: Path) -> None:
    second = VISIT | {"properties": {"a": TEXT, "b": TEXT}}
    third = second | {"x-owner": "stores"}
    write(tmp_path, {
        "visit/1.json": VISIT, "visit/2.json": second, "visit/10.json": third,
        "README.md": "notes", "visit/README.md": "notes", ".hidden": "", "visit/.hidden": "",
    } | {f"visit/{n}.json": second for n in range(3, 10)})  # fmt: skip
    [(name, versions)] = read_registry(tmp_path).event_types.items()
    assert name == "visit"
    assert [version.version for version in versions] == list(range(1, 11))
    assert [version.document for version in versions] == [VISIT, *[second] * 8, third]
    assert versions[9].path == tmp_path / "visit/10.json"
    assert versions[9].checksum == checksum(third)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "visit/1.json:1: Expecting value (column 1)"),
        ('{\n  "type": "object",\n}', "visit/1.json:3: "),
        ('{\n  "type": "object"\n  "x-owner": "a"\n}',
         "visit/1.json:3: Expecting ',' delimiter (column 3)"),
        (b'{\n  "x-owner": "\xff"\n}', "visit/1.json:2: not UTF-8 (column 15)"),
        (f"{'[' * 100_000}", "visit/1.json:1: objects and arrays are nested hundreds deep"),
        (" " * (MAX_FILE_BYTES + 1), f"visit/1.json:1: over {MAX_FILE_BYTES} bytes"),
        ("[]", "visit/1.json:1: a schema must be an object; true and false are not supported"
         " (schema_not_object)"),
        ('{\n"type": "object",\n"type": "object"\n}',
         "visit/1.json:3: /type: the member is there twice"),
        ('{\n"type": "object",\n"properties": {\n"a": {\n"type": "strnig"\n}}}',
         'visit/1.json:5: /properties/a/type: type must be one of string, number, integer, boolean,'
         ' array, object, null, or a list of one of them and "null" (keyword_value)'),
        ('{"type": "object",\n"required": ["b"],\n"properties": {}}',
         "visit/1.json:2: /required/0: b is not one of the properties (required_unknown)"),
        ('{\n\n"x-owner": "crm"}',
         'visit/1.json:1: the root needs "type": "object": it describes an event\'s properties'
         " (root_type)"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_refused_with_file_line_and_reason(
    tmp_path: Path, text: str | bytes, expected: str
) -> None:
    [problem] = problems(write(tmp_path, {"visit/1.json": text}))
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"visit.json": VISIT},
         ["visit.json:1: only folders of event types belong here: <event_type>/<version>.json"]),
        ({"Visit/1.json": VISIT},
         ["Visit:1: an event type's name is lower-case words joined by _ or ., at most 128 long"]),
        ({"visit/.keep": ""}, ["visit:1: no version: 1.json is missing"]),
        ({"visit/01.json": VISIT, "visit/1.json": VISIT},
         ["visit/01.json:1: a version's file is 1.json, 2.json, …"]),
        ({"visit/1.json": VISIT, "visit/notes/2.json": VISIT},
         ["visit/notes:1: a version's file is 1.json, 2.json, …"]),
        ({"visit/1.json": VISIT, "visit/3.json": VISIT},
         ["visit/3.json:1: version 2 is missing: versions are numbered from 1 without gaps"]),
        ({"visit/2.json": VISIT},
         ["visit/2.json:1: version 1 is missing: versions are numbered from 1 without gaps"]),
    ],
)  # fmt: skip
def test_what_does_not_belong_into_the_folder_is_refused(
    tmp_path: Path, files: dict[str, Any], expected: list[str]
) -> None:
    assert problems(write(tmp_path, files)) == expected


def test_event_types_that_are_easily_confused_are_told_as_a_warning(tmp_path: Path) -> None:
    write(tmp_path, {"visit_begun/1.json": VISIT, "visits_begun/1.json": VISIT})
    assert [str(warning) for warning in read_registry(tmp_path).warnings] == [
        f"{tmp_path / 'visits_begun'}:1: visits_begun is easily confused with visit_begun"
    ]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path / "none") == [f"{tmp_path / 'none'}:1: there is no such folder"]


def test_the_faults_of_all_files_are_told_at_once_in_order_of_their_lines(tmp_path: Path) -> None:
    broken = '{\n"type": "array",\n"propertys": {},\n"required": "a"}'
    found = problems(write(tmp_path, {"a/1.json": broken, "b/1.json": "{"}))
    assert [problem.split(" ")[0:2] for problem in found] == [
        ["a/1.json:2:", "/type:"],
        ["a/1.json:3:", "/propertys:"],
        ["a/1.json:4:", "/required:"],
        ["b/1.json:1:", "Expecting"],
    ]


def test_a_version_that_breaks_with_an_earlier_one_is_refused_with_the_line_and_what_mends_it(
    tmp_path: Path,
) -> None:
    second = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}
    write(tmp_path, {"visit/1.json": VISIT, "visit/2.json": second})
    assert problems(tmp_path) == [
        "visit/2.json:4: /properties/a: /a breaks max_length_lowered against version 1: sizes"
        " beyond were accepted, now 3 is the most. Keep the maximal length."
    ]
    forced = read_registry(tmp_path, check_compatibility=False)
    assert [version.document for version in forced.event_types["visit"]] == [VISIT, second]
    write(tmp_path, {"visit/2.json": second | {"x-compatibility": "NONE"}})
    assert len(read_registry(tmp_path).event_types["visit"]) == 2


def test_a_property_that_is_gone_is_told_at_the_nearest_line_that_is_left(tmp_path: Path) -> None:
    write(tmp_path, {"visit/1.json": VISIT, "visit/2.json": '{"type": "object",\n"properties":{}}'})
    [problem] = problems(tmp_path)
    assert problem.startswith(
        "visit/2.json:2: /properties/a: /a breaks property_removed_while_unknown_rejected"
    )


def test_a_warning_alone_refuses_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"visit/1.json": {"type": "object", "properties": {"a": {}}}})
    registry = read_registry(tmp_path)
    assert [version.version for version in registry.event_types["visit"]] == [1]
    assert [str(warning).removeprefix(f"{tmp_path}/") for warning in registry.warnings] == [
        "visit/1.json:4: /properties/a: without a type any value is accepted (type_missing)"
    ]


def test_each_member_and_item_is_found_at_its_line_and_each_repetition_too() -> None:
    text = '{\n"a": [1,\n{"b": "},{\\""}],\n"c/~": {"d":\n1, "d": 2}, "e": {}, "f": []}'
    assert positions(text) == (
        {"": 1, "/a": 2, "/a/0": 2, "/a/1": 3, "/a/1/b": 3, "/c~1~0": 4, "/c~1~0/d": 5,
         "/e": 5, "/f": 5},
        [("/c~1~0/d", 5)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 100}, {"a": 1e2}, True),
        ({"a": 10**23}, {"a": 1e23}, True),
        ({"a": -0.0}, {"a": 0}, True),
        ({"a": [1.0, {"b": 2.0}]}, {"a": [1, {"b": 2}]}, True),
        ({"a": 1}, {"a": 1.5}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
    ],
)
def test_a_checksum_is_of_the_meaning(first: Any, second: Any, same: bool) -> None:
    assert (checksum(first) == checksum(second)) is same


def test_what_is_written_is_read_back_and_written_once(tmp_path: Path) -> None:
    doc = {
        "properties": {"b": {"minLength": 1, "type": "string"}, "a": {"items": {"type": "integer",
         "description": "é"}, "type": "array"}},
        "type": "object",
        "x-owner": "stores",
    }  # fmt: skip
    write_registry(tmp_path, {"visit": {1: doc}})
    file = tmp_path / "visit/1.json"
    written = file.read_text(encoding="utf-8")
    assert (
        written
        == """{
  "x-owner": "stores",
  "type": "object",
  "properties": {
    "a": {
      "type": "array",
      "items": {
        "description": "é",
        "type": "integer"
      }
    },
    "b": {
      "type": "string",
      "minLength": 1
    }
  }
}
"""
    )
    [version] = read_registry(tmp_path).event_types["visit"]
    assert (version.document, version.checksum) == (doc, checksum(doc))
    write(tmp_path, {"visit/1.json": json.dumps(doc)})
    write_registry(tmp_path, {"visit": {1: doc}})
    assert file.read_text() == json.dumps(doc)


@pytest.mark.parametrize("name", ["..", "../visit", "/tmp/visit", "Visit", ""])
def test_nothing_is_written_for_a_name_that_is_no_event_types(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError):
        write_registry(tmp_path / "registry", {name: {1: VISIT}})
    assert list(tmp_path.rglob("*")) == []


# The product's own event types

PRODUCT_TYPES = read_registry(PRODUCT).event_types
EXAMPLE = {"order_id": "order_42", "amount": 120.50, "currency": "USD", "store_id": "store_42"}


def test_the_products_own_event_types_have_neither_problems_nor_warnings() -> None:
    assert list(read_registry(PRODUCT).warnings) == []
    assert len(PRODUCT_TYPES) >= 9


@pytest.mark.parametrize("name", PRODUCT_TYPES)
def test_every_version_accepts_what_all_before_it_accepted(name: str) -> None:
    documents = [version.document for version in PRODUCT_TYPES[name]]
    for index, doc in enumerate(documents):
        assert lint(doc) == []
        assert settings(doc).compatibility == "BACKWARD_TRANSITIVE"
        assert compatibility_findings("BACKWARD_TRANSITIVE", documents[:index], doc) == []


@pytest.mark.parametrize("name", PRODUCT_TYPES)
def test_every_event_type_has_an_owner_and_a_name_and_every_property_a_description(
    name: str,
) -> None:
    for version in PRODUCT_TYPES[name]:
        said = settings(version.document)
        assert said.owner and said.display_name
        assert [p.path for p in properties(version.document) if not p.description] == []


@pytest.mark.parametrize("version", PRODUCT_TYPES["purchase_completed"])
def test_the_published_example_is_valid_under_every_version(version: Any) -> None:
    assert compile_validator(version.document).violations(EXAMPLE) == []


def test_purchase_completed_is_as_the_published_reference_has_it() -> None:
    document = PRODUCT_TYPES["purchase_completed"][0].document
    assert [(p.name, p.types, p.required, p.segmentable) for p in properties(document)] == [
        ("order_id", ("string",), True, False),
        ("amount", ("number",), True, True),
        ("currency", ("string",), True, False),
        ("store_id", ("string",), False, True),
    ]
