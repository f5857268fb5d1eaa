"""What lists cost: the number of statements does not grow with their rows."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.keys import Scope
from tests.api.graphql.counting import statements_of
from tests.api.graphql.support import GraphQL
from tests.support import Api, purchase

EVENTS = """
query ($first: Int!) {
  events(first: $first) {
    nodes {
      id source eventType schemaVersion properties identity { email }
      profile { id aliases identifiers { kind value } merges { mergedId } lastSeenAt }
      deliveries { state original { apiKey { name } } later(first: 3) { nodes { outcome } } }
    }
  }
}
"""
PROFILES = """
query ($first: Int!) {
  profiles(first: $first) {
    nodes {
      id aliases lastSeenAt identifiers { kind } merges { eventId } eventCounts { total }
      conflicts { value owner { id } chosen { id } }
      events(first: 2, type: "purchase_completed") { nodes { externalEventId } }
    }
  }
}
"""
DELIVERIES = """
query ($first: Int!) {
  deliveries(first: $first) {
    nodes { outcome apiKey { id } event { externalEventId profile { id } } }
  }
}
"""


@pytest.mark.parametrize(
    ("query", "statements"),
    [
        # scan, rows; profiles, members, identifiers, merges, last events; deliveries
        pytest.param(EVENTS, 8, id="events"),
        # scan; members, identifiers, merges, last events, counts, clashes; values, both sides;
        # names of the filter, scan in a transaction with its settings, rows
        pytest.param(PROFILES, 15, id="profiles"),
        # scan; ledger, events; profiles
        pytest.param(DELIVERIES, 4, id="deliveries"),
    ],
)
async def test_a_page_takes_as_many_statements_whatever_its_size(
    api: Api, query: str, statements: int
) -> None:
    people: list[dict[str, Any]] = [
        {"externalUserId": f"L-{n}", "email": f"{n // 2}@example.com"} for n in range(12)
    ]
    await api.results([purchase(f"e{n}", identity=one) for n, one in enumerate(people)])
    await api.results([purchase("p1", identity={"phone": "+4915112345678"})])
    await api.results(
        [purchase("p2", identity={"externalUserId": "L-1", "phone": "+4915112345678"})]
    )
    await api.results([purchase(f"e{n}", identity=one) for n, one in enumerate(people)])
    assert await statements_of(api, query, {"first": 14}) == statements
    assert await statements_of(api, query, {"first": 7}) <= statements


async def test_masking_takes_one_more_whatever_the_number_of_versions(
    api: Api,
) -> None:
    opened = {"eventType": "app_opened", "properties": {"platform": "ios", "app_version": "1.0"}}
    await api.results([purchase("e1"), purchase("e2", **opened), purchase("e3")])
    key = await api.new_key(scopes=[Scope.EVENTS_READ])
    query = "query { events { nodes { properties } } }"
    assert len((await GraphQL(api).data(query, key=key))["events"]["nodes"]) == 3
    assert await statements_of(api, query) == 2
    assert await statements_of(api, query, key=key) == 3
