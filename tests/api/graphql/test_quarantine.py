"""Quarantine over GraphQL: what was refused, what it has in common, and giving it up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.access.keys import Scope
from tests.api.graphql.counting import statements_of
from tests.api.graphql.support import GraphQL, other_tenant
from tests.support import EXAMPLE, Api, purchase

LIST = """
query ($filter: QuarantineFilter, $state: QuarantineState, $first: Int!, $after: String) {
  quarantine(filter: $filter, state: $state, first: $first, after: $after) {
    nodes { id source externalEventId eventType errorCode state reasons { path code } payload }
    pageInfo { hasNextPage endCursor }
  }
}
"""
GROUPS = """
query ($filter: QuarantineFilter) {
  quarantineGroups(filter: $filter) {
    isComplete
    items
    groups { errorCode reason path source eventType count firstReceivedAt lastReceivedAt }
  }
}
"""
DISCARD = """
mutation ($ids: [ID!], $filter: QuarantineFilter) {
  discardQuarantine(ids: $ids, filter: $filter) {
    __typename
    ... on QuarantineDiscarded { items isComplete }
    ... on Invalid { problems { path rule } }
  }
}
"""
ONE = "query ($id: ID!) { quarantinedItem(id: $id) { id state resolvedAt payload } }"


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


def without_amount(name: str, **changes: Any) -> dict[str, Any]:
    properties = {k: v for k, v in EXAMPLE["properties"].items() if k != "amount"}
    return purchase(name, properties=properties, **changes)


async def refused(api: Api, *items: object) -> None:
    for result in await api.results(list(items)):
        assert result["status"] == "error"


async def items_of(gql: GraphQL, key: str | None = None, **variables: Any) -> list[dict[str, Any]]:
    answer = await gql.data(LIST, {"first": 50} | variables, key=key)
    found: list[dict[str, Any]] = answer["quarantine"]["nodes"]
    return found


async def test_a_refused_item_is_listed_with_every_reason_and_what_was_sent(
    api: Api, gql: GraphQL
) -> None:
    item = without_amount("q1", eventType="purchase_completed")
    await refused(api, item)
    (found,) = await items_of(gql)
    assert found == {
        "id": found["id"],
        "source": "brand.pos",
        "externalEventId": "q1",
        "eventType": "purchase_completed",
        "errorCode": "validation_failed",
        "state": "OPEN",
        "reasons": [{"path": "/properties/amount", "code": "property_missing"}],
        "payload": json.dumps(item, separators=(",", ":")),
    }
    one = await gql.data(ONE, {"id": found["id"]})
    assert one["quarantinedItem"]["payload"] == found["payload"]
    assert (await gql.data(ONE, {"id": "qrn_" + "0" * 32}))["quarantinedItem"] is None
    assert (await gql.data(ONE, {"id": "evt_" + "0" * 32}))["quarantinedItem"] is None


async def test_without_pii_read_only_the_shape_of_what_was_sent_is_shown(
    api: Api, gql: GraphQL
) -> None:
    await refused(api, without_amount("q1"), {"identity": {"email": "a@b.io"}})
    reader = await api.new_key(scopes=[Scope.EVENTS_READ])
    shown = [item["payload"] for item in await items_of(gql, key=reader)]
    assert all("customer@example.com" not in text and "a@b.io" not in text for text in shown)
    assert {"identity": {"email": "***"}} in [json.loads(text) for text in shown]


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({}, {"a", "b", "c"}),
        ({"source": "brand.crm"}, {"b"}),
        ({"eventType": "nonsense"}, {"c"}),
        ({"reason": "property_missing"}, {"a", "b"}),
        ({"path": "/properties/amount", "source": "brand.pos"}, {"a"}),
        ({"errorCode": "malformed_json"}, set()),
        ({"received": {"until": "2020-01-01T00:00:00Z"}}, set()),
        ({"received": {"since": "2020-01-01T00:00:00Z"}}, {"a", "b", "c"}),
    ],
)
async def test_every_filter_that_is_set_must_hold(
    api: Api, gql: GraphQL, filter_: dict[str, Any], expected: set[str]
) -> None:
    await refused(
        api,
        without_amount("a"),
        without_amount("b", source="brand.crm"),
        purchase("c", eventType="nonsense"),
    )
    found = await items_of(gql, filter=filter_)
    assert {item["externalEventId"] for item in found} == expected


async def test_pages_are_newest_first_and_meet_every_item_once(api: Api, gql: GraphQL) -> None:
    for number in range(7):
        await refused(api, without_amount(f"q{number}"))
    seen: list[str] = []
    after = None
    while True:
        answer = (await gql.data(LIST, {"first": 3, "after": after}))["quarantine"]
        seen += [node["externalEventId"] for node in answer["nodes"]]
        if not answer["pageInfo"]["hasNextPage"]:
            break
        after = answer["pageInfo"]["endCursor"]
    assert seen == [f"q{number}" for number in reversed(range(7))]


async def test_items_are_grouped_by_what_they_have_in_common(api: Api, gql: GraphQL) -> None:
    await refused(api, *(without_amount(f"a{n}") for n in range(3)))
    await refused(api, purchase("c", eventType="nonsense"))
    answer = (await gql.data(GROUPS))["quarantineGroups"]
    first = answer["groups"][0]
    assert answer["isComplete"] is True
    assert answer["items"] == 4
    assert first == {
        "errorCode": "validation_failed",
        "reason": "property_missing",
        "path": "/properties/amount",
        "source": "brand.pos",
        "eventType": "purchase_completed",
        "count": 3,
        "firstReceivedAt": first["firstReceivedAt"],
        "lastReceivedAt": first["lastReceivedAt"],
    }
    assert [group["count"] for group in answer["groups"]] == [3, 1]
    only = await gql.data(GROUPS, {"filter": {"eventType": "nonsense"}})
    assert [g["reason"] for g in only["quarantineGroups"]["groups"]] == ["event_type_unregistered"]


async def test_discarding_drops_what_was_sent_and_leaves_the_counts(api: Api, gql: GraphQL) -> None:
    await refused(api, *(without_amount(f"a{n}") for n in range(3)))
    (first, *_) = await items_of(gql)
    answer = await gql.data(DISCARD, {"ids": [first["id"], "qrn_" + "0" * 32]})
    expected = {"__typename": "QuarantineDiscarded", "items": 1, "isComplete": True}
    assert answer["discardQuarantine"] == expected
    again = await gql.data(DISCARD, {"ids": [first["id"]]})
    assert again["discardQuarantine"] == expected | {"items": 0}
    one = (await gql.data(ONE, {"id": first["id"]}))["quarantinedItem"]
    assert (one["state"], one["payload"]) == ("DISCARDED", None)
    assert one["resolvedAt"] is not None
    rest = await gql.data(DISCARD, {"filter": {"source": "brand.pos"}})
    assert rest["discardQuarantine"] == expected | {"items": 2}
    assert await items_of(gql, state="OPEN") == []
    assert len(await items_of(gql, state="DISCARDED")) == 3
    assert (await gql.data(GROUPS))["quarantineGroups"]["groups"] == []
    assert (await api.reconciliation()).balanced
    changes = await api.fetch(
        "select actor, subject, after from registry_change where action = 'quarantine_discarded'"
        " order by id"
    )
    assert [json.loads(change["after"])["items"] for change in changes] == [1, 2]
    assert {change["actor"] for change in changes} == {api.key.split("_")[2]}


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({}, {"path": "", "rule": "either_or"}),
        ({"ids": [], "filter": {}}, {"path": "", "rule": "either_or"}),
        ({"ids": ["qrn_"] * 201}, {"path": "/ids", "rule": "length"}),
    ],
)
async def test_what_to_discard_is_said_one_way(
    gql: GraphQL, variables: dict[str, Any], problem: dict[str, str]
) -> None:
    answer = await gql.data(DISCARD, variables)
    assert answer["discardQuarantine"] == {"__typename": "Invalid", "problems": [problem]}


async def test_reading_and_changing_need_their_scopes(api: Api, gql: GraphQL) -> None:
    writer = await api.new_key(scopes=[Scope.EVENTS_WRITE])
    reader = await api.new_key(scopes=[Scope.EVENTS_READ])
    reads = [LIST, GROUPS, "{ quarantineReplays { nodes { id } } }"]
    for query in reads:
        ((code, _),) = await gql.errors(query, {"first": 1}, key=writer)
        assert code == "FORBIDDEN"
    for mutation in (
        DISCARD,
        "mutation { replayQuarantine(dryRun: true) { __typename } }",
        'mutation { stopQuarantineReplay(id: "rpl_") { __typename } }',
    ):
        ((code, _),) = await gql.errors(mutation, {"ids": []}, key=reader)
        assert code == "FORBIDDEN"


async def test_another_tenant_s_items_are_nowhere(api: Api, gql: GraphQL) -> None:
    await refused(api, without_amount("a"))
    (item,) = await items_of(gql)
    other = await other_tenant()
    assert await items_of(gql, key=other) == []
    assert (await gql.data(ONE, {"id": item["id"]}, key=other))["quarantinedItem"] is None
    assert (await gql.data(GROUPS, key=other))["quarantineGroups"]["items"] == 0
    for variables in ({"ids": [item["id"]]}, {"filter": {}}):
        answer = await gql.data(DISCARD, variables, key=other)
        assert answer["discardQuarantine"]["items"] == 0
    assert len(await items_of(gql, state="OPEN")) == 1


async def test_lists_take_one_statement_whatever_their_length(api: Api) -> None:
    await refused(api, *(without_amount(f"a{n}") for n in range(9)))
    assert await statements_of(api, LIST, {"first": 5}) == 1
    assert await statements_of(api, GROUPS) == 1
    assert await statements_of(api, "{ quarantineReplays { nodes { id scanned } } }") == 1
