"""Dedupe history over GraphQL: what was delivered again, by whom, and where it differed."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.keys import Scope
from tests.api.graphql.support import GraphQL
from tests.support import Api, purchase

HISTORY = """
query ($key: String!) {
  deliveryHistoryByKey(source: "brand.pos", externalEventId: $key) {
    eventId state
    event { externalEventId }
    original { ...delivery }
    later { nodes { ...delivery } }
  }
}
fragment delivery on Delivery {
  eventId outcome differingPaths source apiKey { name } event { externalEventId }
}
"""
LIST = """
query ($filter: DeliveryFilter, $first: Int, $after: String) {
  deliveries(filter: $filter, first: $first, after: $after) {
    nodes { outcome source differingPaths event { externalEventId } }
    pageInfo { hasNextPage endCursor }
  }
}
"""


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


async def deliver_again(api: Api) -> str:
    """One event, a duplicate by another key, and a conflict; returns the event's id."""
    event_id: str = (await api.post(purchase("e1"))).json()["event_id"]
    other = await api.new_key(name="nightly import")
    assert (await api.post(purchase("e1"), key=other)).json()["status"] == "duplicate"
    changed = purchase("e1", properties={"order_id": "o", "amount": 1, "currency": "USD"})
    assert (await api.post(changed)).status_code == 409
    return event_id


async def test_a_key_s_history_has_the_original_and_each_later_delivery(
    api: Api, gql: GraphQL
) -> None:
    event_id = await deliver_again(api)
    event = {"externalEventId": "e1"}
    common = {"eventId": event_id, "source": "brand.pos", "event": event}
    assert await gql.data(HISTORY, {"key": "e1"}) == {
        "deliveryHistoryByKey": {
            "eventId": event_id,
            "state": "STORED",
            "event": event,
            "original": common
            | {"outcome": "ACCEPTED", "differingPaths": [], "apiKey": {"name": "test"}},
            "later": {
                "nodes": [
                    common
                    | {
                        "outcome": "DUPLICATE",
                        "differingPaths": [],
                        "apiKey": {"name": "nightly import"},
                    },
                    common
                    | {
                        "outcome": "CONFLICT",
                        "differingPaths": [
                            "/properties/amount",
                            "/properties/order_id",
                            "/properties/store_id",
                        ],
                        "apiKey": {"name": "test"},
                    },
                ]
            },
        }
    }


async def test_the_history_is_the_same_by_id_and_from_its_event(api: Api, gql: GraphQL) -> None:
    event_id = await deliver_again(api)
    query = """
    query ($id: ID!) {
      deliveryHistory(id: $id) { ...history }
      event(id: $id) { deliveries { ...history } }
    }
    fragment history on DeliveryHistory {
      eventId state original { receivedAt } later { nodes { receivedAt outcome } }
    }
    """
    data = await gql.data(query, {"id": event_id})
    assert data["deliveryHistory"] == data["event"]["deliveries"]
    assert len(data["deliveryHistory"]["later"]["nodes"]) == 2


async def test_a_history_pages_oldest_first(api: Api, gql: GraphQL) -> None:
    await api.results([purchase("e1") for _ in range(4)])
    query = """
    query ($after: String) {
      deliveryHistoryByKey(source: "brand.pos", externalEventId: "e1") {
        later(first: 2, after: $after) {
          edges { cursor node { receivedAt } } pageInfo { hasNextPage endCursor }
        }
      }
    }
    """
    first = (await gql.data(query))["deliveryHistoryByKey"]["later"]
    after = first["pageInfo"]["endCursor"]
    second = (await gql.data(query, {"after": after}))["deliveryHistoryByKey"]["later"]
    cursors = [edge["cursor"] for page in (first, second) for edge in page["edges"]]
    assert len(cursors) == len(set(cursors)) == 3
    assert [p["pageInfo"]["hasNextPage"] for p in (first, second)] == [True, False]


@pytest.mark.parametrize(("state", "gone"), [(0, "PAST_RETENTION"), (1, "ERASED")])
async def test_a_key_answers_when_its_event_is_gone(
    api: Api, gql: GraphQL, state: int, gone: str
) -> None:
    event_id = await deliver_again(api)
    await api.fetch("delete from event")
    await api.fetch("update event_key set state = $1", state)
    history = (await gql.data(HISTORY, {"key": "e1"}))["deliveryHistoryByKey"]
    assert (history["eventId"], history["state"], history["event"]) == (event_id, gone, None)
    assert history["original"] == {
        "eventId": event_id,
        "outcome": "ACCEPTED",
        "differingPaths": [],
        "source": None,
        "apiKey": None,
        "event": None,
    }
    assert [one["outcome"] for one in history["later"]["nodes"]] == ["DUPLICATE", "CONFLICT"]


async def test_a_key_that_was_never_delivered_has_no_history(gql: GraphQL) -> None:
    assert await gql.data(HISTORY, {"key": "e1"}) == {"deliveryHistoryByKey": None}


async def test_later_deliveries_are_listed_by_source_outcome_and_time(
    api: Api, gql: GraphQL
) -> None:
    await deliver_again(api)
    crm = purchase("c1", source="brand.crm")
    await api.post(crm)
    await api.post(crm)

    async def listed(**filter: Any) -> list[tuple[str, str]]:
        nodes = (await gql.data(LIST, {"filter": filter}))["deliveries"]["nodes"]
        return [(node["event"]["externalEventId"], node["outcome"]) for node in nodes]

    everything = [("c1", "DUPLICATE"), ("e1", "CONFLICT"), ("e1", "DUPLICATE")]
    assert await listed() == everything
    assert await listed(source="brand.crm") == [("c1", "DUPLICATE")]
    assert await listed(outcome="CONFLICT") == [("e1", "CONFLICT")]
    assert await listed(source="brand.crm", outcome="CONFLICT") == []
    assert await listed(source="nobody") == []
    [row] = await api.fetch("select received_at from delivery where outcome = 3")
    at = row["received_at"].isoformat()
    assert await listed(received={"since": at}) == everything[:2]
    assert await listed(received={"until": at}) == everything[2:]
    assert await gql.errors(LIST, {"filter": {"outcome": "ACCEPTED"}}) == [
        ("BAD_USER_INPUT", "filter.outcome: what was accepted is in events")
    ]


async def test_pages_of_later_deliveries_meet_without_gap_or_overlap(
    api: Api, gql: GraphQL
) -> None:
    await api.results([purchase(f"e{n % 3}") for n in range(9)])
    seen, after = [], None
    for _ in range(3):
        page = (await gql.data(LIST, {"first": 2, "after": after}))["deliveries"]
        seen += [node["event"]["externalEventId"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert sorted(seen) == ["e0", "e0", "e1", "e1", "e2", "e2"]
    assert page["pageInfo"]["hasNextPage"] is False


@pytest.mark.parametrize(
    "field",
    [
        "deliveries { nodes { outcome } }",
        'deliveryHistory(id: "evt_00000000000000000000000000000000") { state }',
        'deliveryHistoryByKey(source: "s", externalEventId: "e") { state }',
    ],
)
async def test_the_history_needs_the_scope_of_events(api: Api, gql: GraphQL, field: str) -> None:
    key = await api.new_key(scopes=[Scope.PROFILES_READ, Scope.PII_READ])
    errors = await gql.errors(f"query {{ {field} }}", key=key)
    assert errors == [("FORBIDDEN", "the API key lacks the scope events:read")]


async def test_sources_that_retry_most_come_first(api: Api, gql: GraphQL) -> None:
    await deliver_again(api)
    crm, web = purchase("c1", source="brand.crm"), purchase("w1", source="brand.web")
    for event in (crm, crm, web):
        await api.post(event)
    query = """
    query ($received: TimeWindow, $first: Int) {
      retryingSources(received: $received, first: $first) {
        source deliveries duplicates conflicts rate
      }
    }
    """
    pos = {"source": "brand.pos", "deliveries": 3, "duplicates": 1, "conflicts": 1, "rate": 2 / 3}
    crm_s = {"source": "brand.crm", "deliveries": 2, "duplicates": 1, "conflicts": 0, "rate": 0.5}
    assert await gql.data(query) == {"retryingSources": [pos, crm_s]}
    assert await gql.data(query, {"first": 1}) == {"retryingSources": [pos]}
    tills = '{ retryingSources(prefix: "brand.p") { source } }'
    assert await gql.data(tills) == {"retryingSources": [{"source": "brand.pos"}]}
    before = {"until": "2026-01-01T00:00:00Z"}
    assert await gql.data(query, {"received": before}) == {"retryingSources": []}
    long_ago = {"until": "0001-01-01T00:00:00Z"}
    assert await gql.data(query, {"received": long_ago}) == {"retryingSources": []}
    backwards = {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
    assert await gql.errors(query, {"received": backwards}) == [
        ("BAD_USER_INPUT", "received ends before it begins")
    ]
    key = await api.new_key(scopes=[Scope.EVENTS_READ])
    assert await gql.errors(query, key=key) == [
        ("FORBIDDEN", "the API key lacks the scope stats:read")
    ]
