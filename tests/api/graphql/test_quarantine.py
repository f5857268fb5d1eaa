"""Quarantine over GraphQL: what was refused, what it has in common, and giving it up."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from app.access.keys import Scope
from app.api.graphql import quarantine
from app.quarantine import discarding, reading
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
    ... on QuarantineDiscarded { items isComplete scannedUntil }
    ... on Invalid { problems { path rule } }
    ... on NotPermitted { reason }
  }
}
"""
STOP = 'mutation { stopQuarantineReplay(id: "rpl_") { ... on NotPermitted { reason } } }'
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


async def test_a_page_ends_when_it_holds_enough_and_none_is_without_its_payload(
    api: Api, gql: GraphQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        await refused(api, without_amount(f"q{number}"))
    [size] = await api.fetch("select max(length(payload)) as bytes from quarantine")
    monkeypatch.setattr(reading, "PAGE_BYTES", 2 * size["bytes"])
    pages: list[list[str]] = []
    after = None
    while not pages or after:
        answer = (await gql.data(LIST, {"first": 50, "after": after}))["quarantine"]
        pages.append([json.loads(node["payload"])["externalEventId"] for node in answer["nodes"]])
        after = answer["pageInfo"]["endCursor"] if answer["pageInfo"]["hasNextPage"] else None
    assert pages == [["q6", "q5", "q4"], ["q3", "q2", "q1"], ["q0"]]


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
    only = (await gql.data(GROUPS, {"filter": {"eventType": "nonsense"}}))["quarantineGroups"]
    assert [group["reason"] for group in only["groups"]] == ["event_type_unregistered"]
    none = (await gql.data(GROUPS, {"filter": {"source": "nobody"}}))["quarantineGroups"]
    assert none == {"isComplete": True, "items": 4, "groups": []}


async def test_groups_are_those_of_the_newest_items_when_there_are_more(
    api: Api, gql: GraphQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_GROUPED", 2)
    monkeypatch.setattr(quarantine, "MAX_GROUPED", 2)
    await refused(api, purchase("old", eventType="nonsense"))
    await refused(api, without_amount("a"), without_amount("b"))
    which = {"eventType": "nonsense"}
    answer = (await gql.data(GROUPS, {"filter": which}))["quarantineGroups"]
    assert answer == {"isComplete": False, "items": 2, "groups": []}


async def test_discarding_drops_what_was_sent_and_leaves_the_counts(api: Api, gql: GraphQL) -> None:
    await refused(api, *(without_amount(f"a{n}") for n in range(3)))
    (first, *_) = await items_of(gql)
    answer = await gql.data(DISCARD, {"ids": [first["id"], "qrn_" + "0" * 32]})
    expected = {"__typename": "QuarantineDiscarded", "items": 1}
    expected |= {"isComplete": True, "scannedUntil": None}
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


async def test_discarding_by_a_filter_looks_at_so_many_open_items_and_goes_on_behind_them(
    api: Api, gql: GraphQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discarding, "SCANNED_ROWS", 2)
    for name, source in (("a", "brand.crm"), ("b", "brand.crm"), ("c", "brand.pos")):
        await refused(api, without_amount(name, source=source))
    answers: list[dict[str, Any]] = []
    since = None
    while not answers or not answers[-1]["isComplete"]:
        which = {"source": "brand.pos", "received": {"since": since}}
        answers.append((await gql.data(DISCARD, {"filter": which}))["discardQuarantine"])
        since = answers[-1]["scannedUntil"]
    assert [(answer["items"], answer["isComplete"]) for answer in answers] == [
        (0, False), (1, False), (0, True),
    ]  # fmt: skip
    assert {item["externalEventId"] for item in await items_of(gql, state="OPEN")} == {"a", "b"}


async def test_nothing_is_discarded_while_a_replay_is_under_way(api: Api, gql: GraphQL) -> None:
    await refused(api, without_amount("a"))
    (item,) = await items_of(gql)
    connection = await asyncpg.connect(api.database_url)
    try:
        async with connection.transaction():
            await connection.execute("lock table quarantine")  # the replay's first step waits
            await api.fetch(
                "insert into quarantine_replay (replay_id, tenant_id, public_id, filter, dry_run,"
                " state, started_at, after_at, after_id) select gen_random_uuid(), tenant_id,"
                " public_id, '{}', true, 'RUNNING', now(), now(), gen_random_uuid() from api_key"
            )
            for variables in ({"ids": [item["id"]]}, {"filter": {}}):
                answer = await gql.data(DISCARD, variables)
                assert answer["discardQuarantine"] == {
                    "__typename": "NotPermitted",
                    "reason": "replay_under_way",
                }
    finally:
        await connection.close()
    assert len(await items_of(gql, state="OPEN")) == 1


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
        STOP,
        "mutation { replayQuarantine(dryRun: true) { __typename } }",
    ):
        ((code, _),) = await gql.errors(mutation, {"ids": []}, key=reader)
        assert code == "FORBIDDEN"


@pytest.mark.parametrize("mutation", [DISCARD, STOP], ids=["discard", "stop"])
async def test_what_is_everybody_s_is_not_ended_by_a_key_that_may_only_deliver(
    api: Api, gql: GraphQL, mutation: str
) -> None:
    writer = await api.new_key(scopes=[Scope.EVENTS_WRITE])
    ((code, _),) = await gql.errors(mutation, {"filter": {}}, key=writer)
    assert code == "FORBIDDEN"
    scopes = [Scope.EVENTS_WRITE, Scope.EVENTS_READ]
    for limits in ({"sources": ["brand.pos"]}, {"event_types": ["purchase_completed"]}):
        till = await api.new_key(scopes=scopes, **limits)
        (answer,) = (await gql.data(mutation, {"filter": {}}, key=till)).values()
        assert answer["reason"] == "key_limited"
    (answer,) = (
        await gql.data(mutation, {"filter": {}}, key=await api.new_key(scopes=scopes))
    ).values()
    assert "reason" not in answer


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
