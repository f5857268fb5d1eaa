"""Segmentable properties over GraphQL: marked, watched until they are ready, asked about."""

from __future__ import annotations

from typing import Any

import pytest

from app.access import queries as access
from app.access.keys import Scope
from tests.api.graphql.counting import statements_of
from tests.api.graphql.support import GraphQL
from tests.support import Api, eventually, purchase

PROPERTIES = """
query ($eventType: String, $first: Int = 50, $after: String) {
  segmentProperties(eventType: $eventType, first: $first, after: $after) {
    nodes {
      eventType path valueType isArray pii state progress coverage distinctValues
      topValues { value share }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""
MARK = """
mutation ($eventType: String!, $path: String!) {
  markSegmentable(eventType: $eventType, path: $path) {
    __typename
    ... on PropertyMarked { property { path valueType state progress createdBy } }
    ... on Invalid { problems { path rule } }
    ... on NotPermitted { reason }
    ... on Refusal { message }
  }
}
"""
UNMARK = """
mutation ($eventType: String!, $path: String!, $reason: String) {
  unmarkSegmentable(eventType: $eventType, path: $path, reason: $reason) {
    __typename
    ... on PropertyUnmarked { property { path state } }
    ... on Invalid { problems { path rule } }
  }
}
"""
PREVIEW = """
query ($definition: AudienceInput!, $sample: Int! = 0) {
  audiencePreview(definition: $definition, sample: $sample) {
    __typename
    ... on AudiencePreview { profiles sample }
    ... on Invalid { problems { path rule } }
    ... on NotPermitted { reason }
    ... on PropertyNotReady { eventType property state mutation message }
    ... on AudienceTooLarge { message }
  }
}
"""
BOUGHT = "purchase_completed"


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


async def buy(api: Api, *stores: str) -> None:
    items: list[object] = [
        purchase(
            f"e{n}",
            identity={"externalUserId": f"C{n}"},
            properties={"order_id": f"o{n}", "amount": n, "currency": "EUR", "store_id": store},
        )
        for n, store in enumerate(stores)
    ]
    assert {r["status"] for r in await api.results(items)} == {"accepted"}


async def property_of(gql: GraphQL, path: str, **options: Any) -> Any:
    found = await gql.data(PROPERTIES, {"eventType": BOUGHT}, **options)
    return next((n for n in found["segmentProperties"]["nodes"] if n["path"] == path), None)


async def preview(gql: GraphQL, definition: object, sample: int = 0, **options: Any) -> Any:
    found = await gql.data(PREVIEW, {"definition": definition, "sample": sample}, **options)
    return found["audiencePreview"]


async def test_a_property_is_marked_becomes_ready_and_is_asked_about(
    api: Api, gql: GraphQL
) -> None:
    await buy(api, "north", "south", "south")
    condition = {"eventType": BOUGHT, "where": [{"property": "/order_id", "equals": "o1"}]}
    refused = await preview(gql, {"did": condition})
    assert refused == {
        "__typename": "PropertyNotReady",
        "eventType": BOUGHT,
        "property": "/order_id",
        "state": None,
        "mutation": 'markSegmentable(eventType: "purchase_completed", path: "/order_id")',
        "message": "/order_id of purchase_completed is not segmentable: call"
        ' markSegmentable(eventType: "purchase_completed", path: "/order_id")',
    }
    marked = await gql.data(MARK, {"eventType": BOUGHT, "path": "/order_id"})
    assert marked["markSegmentable"] == {
        "__typename": "PropertyMarked",
        "property": {
            "path": "/order_id",
            "valueType": "TEXT",
            "state": "BUILDING",
            "progress": 0.0,
            "createdBy": api.key.split("_")[2],
        },
    }
    waiting = await preview(gql, {"did": condition})
    assert (waiting["__typename"], waiting["state"], waiting["mutation"]) == (
        "PropertyNotReady",
        "BUILDING",
        None,
    )

    async def is_ready() -> bool:
        return bool((await property_of(gql, "/order_id"))["state"] == "READY")

    await eventually(is_ready, seconds=60)
    assert await property_of(gql, "/order_id") == {
        "eventType": BOUGHT,
        "path": "/order_id",
        "valueType": "TEXT",
        "isArray": False,
        "pii": "none",
        "state": "READY",
        "progress": 1.0,
        "coverage": 1.0,
        "distinctValues": 3,
        "topValues": [],
    }
    found = await preview(gql, {"did": condition}, sample=5)
    rows = await api.fetch("select profile_id from event where external_event_id = 'e1'")
    assert found == {
        "__typename": "AudiencePreview",
        "profiles": 1,
        "sample": [f"prf_{rows[0]['profile_id'].hex}"],
    }


async def test_frequent_values_are_shown_but_not_those_of_personal_data(
    api: Api, gql: GraphQL
) -> None:
    await buy(api, "north", "south", "south", "south")
    assert (await property_of(gql, "/store_id"))["topValues"] is None
    await api.fetch("analyze")
    found = await property_of(gql, "/store_id")
    assert (found["distinctValues"], found["topValues"][0]) == (
        2,
        {"value": "south", "share": 0.75},
    )
    await api.fetch("update segment_property set pii = 'indirect' where path = '/store_id'")
    reader = await api.new_key(scopes=[Scope.SCHEMA_READ])
    assert (await property_of(gql, "/store_id", key=reader))["topValues"] is None
    assert (await property_of(gql, "/store_id"))["topValues"] is not None


async def test_pages_of_properties_take_the_same_statements_whatever_their_number(
    api: Api, gql: GraphQL
) -> None:
    first = (await gql.data(PROPERTIES, {"first": 3}))["segmentProperties"]
    after = first["pageInfo"]["endCursor"]
    second = (await gql.data(PROPERTIES, {"first": 200, "after": after}))["segmentProperties"]
    rows = await api.fetch("select path from segment_property order by id")
    paths = [node["path"] for page in (first, second) for node in page["nodes"]]
    assert paths == [row["path"] for row in rows]
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)
    assert await statements_of(api, PROPERTIES, {"first": 200}) == 2


@pytest.mark.parametrize("name", ["no_such_type", "", "a\0b"])
async def test_an_event_type_that_cannot_be_has_no_properties(gql: GraphQL, name: str) -> None:
    found = (await gql.data(PROPERTIES, {"eventType": name}))["segmentProperties"]
    assert found["nodes"] == []
    refused = (await gql.data(MARK, {"eventType": name, "path": "/amount"}))["markSegmentable"]
    assert refused == {"__typename": "NotFound", "message": "there is no such event type"}


async def test_unmarked_properties_are_going_and_can_be_marked_again(
    api: Api, gql: GraphQL
) -> None:
    variables = {"eventType": BOUGHT, "path": "/amount"}
    done = (await gql.data(UNMARK, variables | {"reason": "not used"}))["unmarkSegmentable"]
    assert done == {
        "__typename": "PropertyUnmarked",
        "property": {"path": "/amount", "state": "READY"},
    }
    assert (await property_of(gql, "/amount"))["state"] == "DROPPING"
    again = (await gql.data(UNMARK, variables))["unmarkSegmentable"]
    assert again == {"__typename": "NotFound"}
    unusable = (await gql.data(UNMARK, variables | {"reason": " "}))["unmarkSegmentable"]
    assert unusable == {
        "__typename": "Invalid",
        "problems": [{"path": "/reason", "rule": "text_length"}],
    }
    marked = (await gql.data(MARK, variables))["markSegmentable"]
    assert marked["property"]["state"] == "BUILDING"


async def test_marking_needs_scopes_and_for_personal_data_an_approver(
    api: Api, gql: GraphQL
) -> None:
    personal = {"eventType": "profile_updated", "path": "/first_name"}
    reader = await api.new_key(scopes=[Scope.SCHEMA_READ])
    assert await gql.errors(MARK, personal, key=reader) == [
        ("FORBIDDEN", "the API key lacks the scope schema:write")
    ]
    assert await gql.errors(UNMARK, personal, key=reader) == [
        ("FORBIDDEN", "the API key lacks the scope schema:write")
    ]
    writer = await api.new_key(scopes=[Scope.SCHEMA_WRITE])
    assert (await gql.data(MARK, personal, key=writer))["markSegmentable"] == {
        "__typename": "NotPermitted",
        "reason": "scope_missing",
        "message": "it needs a key with the scope schema:approve",
    }
    approver = await api.new_key(scopes=[Scope.SCHEMA_WRITE, Scope.SCHEMA_APPROVE])
    marked = (await gql.data(MARK, personal, key=approver))["markSegmentable"]
    assert marked["__typename"] == "PropertyMarked"


async def test_previews_need_scopes_for_people_and_for_personal_data(
    api: Api, gql: GraphQL
) -> None:
    await buy(api, "north")
    definition = {
        "did": {"eventType": BOUGHT, "where": [{"property": "/store_id", "exists": True}]}
    }
    counter = await api.new_key(scopes=[Scope.STATS_READ])
    assert (await preview(gql, definition, key=counter))["profiles"] == 1
    sampled = {"definition": definition, "sample": 1}
    assert await gql.errors(PREVIEW, sampled, key=counter) == [
        ("FORBIDDEN", "the API key lacks the scope profiles:read")
    ]
    writer = await api.new_key(scopes=[Scope.PROFILES_READ])
    assert await gql.errors(PREVIEW, sampled, key=writer) == [
        ("FORBIDDEN", "the API key lacks the scope stats:read")
    ]
    await api.fetch("update segment_property set pii = 'direct' where path = '/store_id'")
    assert await preview(gql, definition, key=counter) == {
        "__typename": "NotPermitted",
        "reason": "scope_missing",
    }


DID = {"eventType": BOUGHT}


@pytest.mark.parametrize(
    ("definition", "problems"),
    [
        ({}, [("", "definition_shape")]),
        ({"all": [{"did": DID}], "did": DID}, [("", "definition_shape")]),
        ({"all": [{"did": DID}, {}]}, [("/all/1", "definition_shape")]),
        ({"any": []}, [("", "empty_list")]),
        ({"did": {"eventType": "nothing"}}, [("/did/eventType", "event_type_unregistered")]),
        (
            {"not": {"did": DID | {"where": [{"property": "/amount", "equals": "1"}]}}},
            [("/not/did/where/0/equals", "value_type")],
        ),
        (
            {"did": DID | {"where": [{"property": "/amount", "range": {"below": {"a": 1}}}]}},
            [("/did/where/0/range", "value_type")],
        ),
        ({"did": DID | {"times": {"atLeast": 0}}}, [("/did/times", "times_always")]),
        ({"did": DID | {"sum": {"property": "/amount"}}}, [("/did/sum", "sum_empty")]),
    ],
)
async def test_a_definition_that_cannot_be_meant_is_invalid(
    gql: GraphQL, definition: object, problems: list[tuple[str, str]]
) -> None:
    found = await preview(gql, definition)
    assert found == {
        "__typename": "Invalid",
        "problems": [{"path": path, "rule": rule} for path, rule in problems],
    }


@pytest.mark.parametrize("depth", [7, 100, 400])
async def test_however_deep_a_definition_is_it_is_refused(gql: GraphQL, depth: int) -> None:
    definition: dict[str, Any] = {"did": DID}
    for _ in range(depth):
        definition = {"not": definition}
    answer = (await gql.post(PREVIEW, {"definition": definition})).json()
    refused = answer.get("errors") or answer["data"]["audiencePreview"]["problems"]
    assert refused, answer


async def test_numbers_are_compared_as_they_are_written(api: Api, gql: GraphQL) -> None:
    await api.results(
        [purchase("e1", properties={"order_id": "o", "amount": 0.1, "currency": "EUR"})]
    )
    for sent, profiles in ((0.1, 1), (0.10000000000000002, 0), (1, 0)):
        where = [{"property": "/amount", "equals": sent}]
        assert (await preview(gql, {"did": DID | {"where": where}}))["profiles"] == profiles
    where = [{"property": "/amount", "in": [5, 0.1]}]
    total = {"property": "/amount", "atMost": 0.1}
    definition = {
        "all": [
            {"did": DID | {"where": where, "sum": total}},
            {"not": {"did": {"eventType": "app_opened"}}},
        ]
    }
    assert (await preview(gql, definition))["profiles"] == 1
    for at_least, profiles in ((0, 1), (700, 0)):
        did = DID | {"sum": {"property": "/amount", "atLeast": at_least}}
        assert (await preview(gql, {"did": did}))["profiles"] == profiles


async def test_a_number_that_is_written_as_a_text_is_refused_where_it_is_written(
    gql: GraphQL,
) -> None:
    [(_, message)] = await gql.errors(
        """{ audiencePreview(definition: { did: {
             eventType: "purchase_completed", sum: { property: "/amount", atLeast: "100" }
           } }) { __typename } }"""
    )
    assert message == "Expected value of type 'Number'; it is not a number"


async def test_another_tenant_sees_no_marks_and_reaches_none(api: Api, gql: GraphQL) -> None:
    await buy(api, "north")
    other = await access.create_tenant("other")
    created = await access.create_key(other, name="other", scopes=[Scope.ADMIN], environment="test")
    key = created.text
    variables = {"eventType": BOUGHT, "path": "/amount"}
    assert await property_of(gql, "/amount", key=key) is None
    for mutation, field in ((MARK, "markSegmentable"), (UNMARK, "unmarkSegmentable")):
        answer = (await gql.data(mutation, variables, key=key))[field]
        assert answer["__typename"] == "NotFound"
    assert await preview(gql, {"did": DID}, key=key) == {
        "__typename": "Invalid",
        "problems": [{"path": "/did/eventType", "rule": "event_type_unregistered"}],
    }
    assert (await property_of(gql, "/amount"))["state"] == "READY"
