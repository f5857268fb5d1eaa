"""From rejected events to a registered event type, over HTTP alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.access.keys import Scope
from tests.api.graphql.registry import TEXT, Registry, caller, document
from tests.api.graphql.support import GraphQL
from tests.support import EXAMPLE, Api, purchase

PROPOSE = """
mutation ($eventType: String!) {
  proposeDraft(eventType: $eventType) {
    __typename
    ... on DraftProposed {
      samples strippedNames warnings { path rule }
      draft { id revision state document summary basedOn findings { path rule severity } }
    }
    ... on Invalid { problems { path rule } }
    ... on NotPermitted { reason }
  }
}
"""

NOTHING = {"__typename": "NotPermitted", "reason": "nothing_to_propose"}


@pytest.fixture
def registry(api: Api) -> Registry:
    return Registry(GraphQL(api))


async def propose(registry: Registry, event_type: str) -> Any:
    answer = await registry.gql.data(PROPOSE, {"eventType": event_type}, key=registry.key)
    return answer["proposeDraft"]


def booking(number: int) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "guests": number + 1,
        "seats_at": "2026-06-01T19:00:00+02:00",
        "guest_phone": "+49 151 2345678",
        "dishes": [{"name": "soup", "price": 4.5}, {"name": "bread", "price": None}],
    }
    if number == 0:
        properties["note"] = "by the window"
    return purchase(f"booking_{number}", eventType="table_booked", properties=properties)


BOOKING: dict[str, Any] = {
    "type": "object",
    "required": ["dishes", "guest_phone", "guests", "seats_at"],
    "properties": {
        "dishes": {
            "$comment": "in 12 of 12",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "price"],
                "properties": {
                    "name": {"$comment": "in 24 of 24", "type": "string"},
                    "price": {"$comment": "in 24 of 24", "type": ["number", "null"]},
                },
            },
        },
        "guest_phone": {"$comment": "in 12 of 12", "type": "string", "x-pii": "direct"},
        "guests": {"$comment": "in 12 of 12", "type": "integer"},
        "note": {"$comment": "in 1 of 12", "type": "string"},
        "seats_at": {"$comment": "in 12 of 12", "type": "string", "format": "date-time"},
    },
}


async def results(api: Api, items: list[Any]) -> list[str]:
    return [result["status"] for result in await api.results(items)]


async def accepted(api: Api, items: list[Any]) -> None:
    """The same deliveries until this worker has taken the new version over."""
    while "error" in (found := await results(api, items)):
        assert set(found) == {"error"}
    assert set(found) == {"accepted"}


async def test_events_of_an_unregistered_type_become_a_draft_that_accepts_them(
    api: Api, registry: Registry
) -> None:
    items = [booking(number) for number in range(12)]
    assert set(await results(api, items)) == {"error"}
    proposed = await propose(registry, "table_booked")
    draft = proposed["draft"]
    assert proposed == {
        "__typename": "DraftProposed",
        "samples": 12,
        "strippedNames": 0,
        "warnings": [],
        "draft": {
            "id": draft["id"],
            "revision": 1,
            "state": "DRAFT",
            "document": BOOKING,
            "summary": "Proposed from what was rejected (events: 12; names left out: 0).",
            "basedOn": 0,
            "findings": [],
        },
    }
    assert set(await results(api, items)) == {"error"}
    assert (await registry.publish(draft))["__typename"] == "DraftPublished"
    await accepted(api, items)
    assert await propose(registry, "table_booked") == NOTHING


async def test_no_value_that_was_sent_is_in_a_proposal(api: Api, registry: Registry) -> None:
    properties = {
        "code": "SECRET-1", "list": ["SECRET-2"], "inner": {"code": "SECRET-3"}, "count": 918273,
        "by_customer": {"jane@example.com": 1, "4915112345678": 2},
    }  # fmt: skip
    await api.post(purchase("a", eventType="table_booked", properties=properties))
    told = json.dumps(await propose(registry, "table_booked"))
    assert [part for part in ("SECRET", "918273", "jane", "4915") if part in told] == []
    assert '"by_customer"' in told


async def test_unknown_properties_of_a_registered_type_become_its_next_version(
    api: Api, registry: Registry
) -> None:
    await registry.event_type("gift_card_sold")
    known = document(value=TEXT)
    await registry.published("gift_card_sold", known)
    unknown = purchase("a", eventType="gift_card_sold", properties={"value": "10", "design": "red"})
    invalid = purchase("b", eventType="gift_card_sold", properties={"value": 10})
    while "event_type_unregistered" in (await api.post(unknown)).text:
        pass
    assert (await api.post(invalid)).status_code == 422
    proposed = await propose(registry, "gift_card_sold")
    assert proposed["samples"] >= 1
    draft = proposed["draft"]
    assert draft["basedOn"] == 1
    design = draft["document"]["properties"].pop("design")
    assert draft["document"] == known
    assert design["type"] == "string"
    version = await registry.publish(draft)
    assert version["version"]["number"] == 2
    assert version["version"]["forced"] is False
    await accepted(api, [unknown])
    assert (await api.post(invalid)).status_code == 422


async def test_names_that_were_stripped_are_proposed_without_a_type(
    api: Api, registry: Registry
) -> None:
    await registry.event_type("gift_card_sold")
    open_document = document(value=TEXT) | {"x-unknown-properties": "strip"}
    await registry.published("gift_card_sold", open_document)
    properties = {"value": "10", "utm": "spring", "email": "a@example.com"}
    await accepted(api, [purchase("a", eventType="gift_card_sold", properties=properties)])
    proposed = await propose(registry, "gift_card_sold")
    assert (proposed["samples"], proposed["strippedNames"]) == (0, 2)
    comment = "left out 1 times: its type is not known"
    assert proposed["draft"]["document"]["properties"] == {
        "value": TEXT,
        "utm": {"$comment": comment},
        "email": {"$comment": comment, "x-pii": "direct"},
    }
    assert (await registry.publish(proposed["draft"]))["__typename"] == "DraftPublished"


async def test_a_name_near_a_registered_one_is_told(api: Api, registry: Registry) -> None:
    await api.post(purchase("a", eventType="purchases_completed"))
    proposed = await propose(registry, "purchases_completed")
    assert proposed["warnings"] == [{"path": "/eventType", "rule": "event_types_alike"}]


async def test_without_rejected_events_there_is_nothing_to_propose(
    api: Api, registry: Registry
) -> None:
    assert await propose(registry, "table_booked") == NOTHING
    assert await propose(registry, "purchase_completed") == NOTHING
    await api.post(purchase("a", properties=EXAMPLE["properties"] | {"amount": "much"}))
    assert await propose(registry, "purchase_completed") == NOTHING
    found = await registry.gql.data('{ eventType(name: "table_booked") { name } }')
    assert found == {"eventType": None}


async def test_a_name_that_no_event_type_can_have_is_refused(api: Api, registry: Registry) -> None:
    await api.post(purchase("a", eventType="Table-Booked"))
    assert await propose(registry, "Table-Booked") == {
        "__typename": "Invalid",
        "problems": [{"path": "/eventType", "rule": "event_type_name"}],
    }


async def test_proposing_takes_the_scope_of_writing_schemas(api: Api) -> None:
    reader = await caller(api, Scope.SCHEMA_READ)
    errors = await reader.gql.errors(PROPOSE, {"eventType": "table_booked"}, key=reader.key)
    assert [code for code, _ in errors] == ["FORBIDDEN"]
