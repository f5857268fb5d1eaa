"""Held against the public cases of schema evolution, and against what the modes mean elsewhere.

The cases stay outside the repository: where their folder is missing, they are skipped.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from app.registry.evolution import breakages, compatibility_findings
from app.registry.linter import lint
from app.registry.spec import MODES, Finding
from app.registry.validator import compile_validator
from scripts.compatibility_page import MEANINGS, REASONS, SCORE, Score

Schema = dict[str, Any]

ROOT = Path(__file__).parents[2]
CASES = ROOT.parent / "shared" / "conformance" / "apicurio-jsonschema-compatibility.json"
EXPECTED = {"backward": (True, False), "both": (True, True), "none": (False, False)}
"""Whether the updated schema accepts what the original did, and the other way round."""


def in_other_words(schema: Any) -> Any:
    """The same set of values: `true` as {}, and every required name as a property."""
    if schema is True:
        return {}
    if not isinstance(schema, dict):
        return schema
    said = dict(schema)
    if "required" in said:
        said["properties"] = {name: {} for name in said["required"]} | said.get("properties", {})
    if "properties" in said:
        said["properties"] = {n: in_other_words(child) for n, child in said["properties"].items()}
    if "items" in said:
        said["items"] = in_other_words(said["items"])
    return said


def document(schema: Any) -> Schema:
    """One that accepts {"value": v} exactly when the case's schema accepts v."""
    root: Schema = {"type": "object", "required": ["value"], "x-unknown-properties": "allow"}
    value = in_other_words(schema)
    if isinstance(value, dict):
        if value.get("$schema") == "http://json-schema.org/draft-07/schema#":
            del value["$schema"]
        if "$id" in value:
            root["$id"] = value.pop("$id")
    return root | {"properties": {"value": value}}


def refusal(*documents: Schema) -> Finding | None:
    found = (finding for entry in documents for finding in lint(entry))
    return next((finding for finding in found if finding.severity == "error"), None)


def reason(finding: Finding) -> str:
    """What the docs count it under: the keyword that is refused."""
    if finding.rule.startswith("keyword_") or finding.path.endswith(("/items", "/enum", "/const")):
        return finding.path.rpartition("/")[2]
    return finding.rule


@pytest.mark.skipif(not CASES.exists(), reason="the public cases are not on this machine")
def test_the_public_cases_are_judged_as_the_docs_say_and_none_is_misjudged() -> None:
    judged: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    cases = json.loads(CASES.read_text(encoding="utf-8"))["tests"]
    for case in cases:
        old, new = document(case["original"]), document(case["updated"])
        if finding := refusal(old, new):
            refused[reason(finding)] += 1
            continue
        answers = (breakages(old, new) == [], breakages(new, old) == [])
        for answer, expected in zip(answers, EXPECTED[case["compatibility"]], strict=True):
            assert answer or not expected, f"over-strict: {case['id']}"
            assert expected or not answer, f"unsound: {case['id']}"
        judged["right"] += 1
    assert Score(judged["right"], 0, 0, dict(sorted(refused.items()))) == SCORE
    assert len(cases) == SCORE.right + sum(SCORE.refused.values())


def test_the_docs_give_a_reason_for_each_refusal_and_a_meaning_for_each_mode() -> None:
    assert sorted(name for names in REASONS for name in names) == sorted(SCORE.refused)
    assert MEANINGS.keys() == set(MODES)


# The modes, as Confluent's and Apicurio's registries define them: against sets of events.

EVENTS = ("", "a", "aa", "aaa", "aaaa", 1, None)
VERSIONS = [
    {"type": "object", "properties": {"value": value}}
    for value in (
        *({"type": "string", "maxLength": limit} for limit in (1, 2, 3)),
        {"type": "string", "minLength": 2},
        {"type": "integer"},
        {},
    )
]
ACCEPTED = [
    frozenset(
        event for event in EVENTS if not compile_validator(version).violations({"value": event})
    )
    for version in VERSIONS
]
HISTORIES = [h for size in (0, 1, 2) for h in itertools.product(range(len(VERSIONS)), repeat=size)]


def allowed(mode: str, history: list[frozenset[Any]], new: frozenset[Any]) -> bool:
    compared = history if mode.endswith("_TRANSITIVE") else history[-1:]
    match mode.removesuffix("_TRANSITIVE"):
        case "NONE":
            return True
        case "BACKWARD":
            return all(old <= new for old in compared)
        case "FORWARD":
            return all(new <= old for old in compared)
        case _:
            return all(old == new for old in compared)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_lets_pass_exactly_what_its_definition_allows(mode: str) -> None:
    for history, new in itertools.product(HISTORIES, range(len(VERSIONS))):
        found = compatibility_findings(mode, [VERSIONS[i] for i in history], VERSIONS[new])
        definition = allowed(mode, [ACCEPTED[i] for i in history], ACCEPTED[new])
        assert (found == []) is definition, (history, new, found)
