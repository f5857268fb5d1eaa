"""The published OpenAPI document against the running service, with generated requests."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.rest import openapi_examples as examples
from app.api.rest.openapi import BATCH_PATH, EVENTS_PATH
from app.cli.starter import registry_folder
from tests.support import Api, Service

EXAMPLES = 20
"""Generated requests of each kind (valid, invalid) for each endpoint."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ACCEPTED_TYPES = ("application/json", "application/problem+json")


def published(service: Service) -> dict[str, Any]:
    """The document as served, its open parts narrowed to what this tenant takes.

    Otherwise every generated event would fail at its event type, time or identity.
    """
    document: dict[str, Any] = httpx.get(f"{service.url}/openapi.json").json()
    rules = json.loads((registry_folder() / "app_opened" / "1.json").read_text())
    schemas = document["components"]["schemas"]
    schemas["Event"]["required"].append("properties")
    schemas["Event"]["properties"] |= {
        "eventType": {"const": "app_opened"},
        "occurredAt": {"enum": [None, "2026-05-20T12:45:00Z"]},
        "properties": {"type": "object"}
        | {name: rules[name] for name in ("required", "properties")},
    }
    schemas["Identity"]["required"] = ["externalUserId"]
    schemas["Identity"]["properties"]["externalUserId"] = {
        "type": "string",
        "pattern": "^[a-z]{9}$",
    }
    return document


def statuses(service: Service, path: str, mode: GenerationMode) -> Counter[int]:
    """Which answers generated requests got; every one of them keeps the document."""
    operation = schemathesis.openapi.from_dict(published(service))[path]["POST"]
    seen: Counter[int] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode), st.sampled_from(ACCEPTED_TYPES))
    def deliver(case: Case, accept: str) -> None:
        response = case.call_and_validate(
            base_url=service.url,
            session=session,
            headers={"Authorization": f"Bearer {service.key}", "Accept": accept},
            checks=CHECKS,
        )
        seen[response.status_code] += 1

    with requests.Session() as session:
        deliver()
    return seen


def test_answers_to_generated_requests_keep_the_document(service: Service) -> None:
    for path in (EVENTS_PATH, BATCH_PATH):
        valid = statuses(service, path, GenerationMode.POSITIVE)
        invalid = statuses(service, path, GenerationMode.NEGATIVE)
        assert valid.keys() & {200, 202}, f"{path}: nothing was accepted: {valid}"
        assert invalid.keys() & {400, 422}, f"{path}: nothing was refused: {invalid}"


async def test_the_batch_example_is_what_the_service_answers(api: Api) -> None:
    assert (await api.post(examples.EVENT)).status_code == 202
    items = [*examples.BATCH["items"], examples.EVENT | {"externalEventId": "x", "identity": {}}]
    answer = (await api.batch(items)).json()
    expected = examples.batch_answers()["mixed"]
    for result, example in zip(answer["results"], expected["results"], strict=True):
        for name in {"event_id", "original_event_id"} & set(example):
            result[name] = example[name]
    assert answer == expected
