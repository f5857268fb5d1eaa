"""Sources over GraphQL: settings that the next events follow."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.keys import Scope
from tests.api.graphql.support import GraphQL
from tests.support import Api, eventually, purchase

SET = """
mutation ($input: SetSourceInput!) {
  setSource(input: $input) {
    __typename
    ... on SourceSet { source { name status onMismatch defaultPhoneRegion owner } }
    ... on Invalid { problems { path rule } }
  }
}
"""


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


async def set_source(gql: GraphQL, **given: Any) -> Any:
    return (await gql.data(SET, {"input": {"name": "brand.pos"} | given}))["setSource"]


async def test_settings_that_are_left_out_stay_and_null_clears_one(gql: GraphQL) -> None:
    await set_source(gql, defaultPhoneRegion="DE", owner="Shops")
    answer = await set_source(gql, onMismatch="DUPLICATE", owner=None)
    assert answer == {
        "__typename": "SourceSet",
        "source": {
            "name": "brand.pos",
            "status": "ACTIVE",
            "onMismatch": "DUPLICATE",
            "defaultPhoneRegion": "DE",
            "owner": None,
        },
    }


async def test_a_disabled_source_is_refused_within_a_second(api: Api, gql: GraphQL) -> None:
    assert (await api.post(purchase("s1"))).status_code == 202
    await set_source(gql, status="DISABLED")

    async def is_refused() -> bool:
        response = await api.post(purchase("s2"))
        return response.status_code == 403 and "source_disabled" in response.text

    await eventually(is_refused)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"name": " x"}, {"path": "/name", "rule": "name"}),
        ({"status": None}, {"path": "/status", "rule": "null"}),
        ({"defaultPhoneRegion": "Germany"}, {"path": "/defaultPhoneRegion", "rule": "region"}),
        ({"defaultPhoneRegion": ""}, {"path": "/defaultPhoneRegion", "rule": "region"}),
        ({"owner": "x" * 101}, {"path": "/owner", "rule": "length"}),
    ],
)
async def test_settings_that_cannot_be_are_said_with_their_path(
    api: Api, gql: GraphQL, given: dict[str, Any], problem: dict[str, str]
) -> None:
    assert await set_source(gql, **given) == {"__typename": "Invalid", "problems": [problem]}
    assert await api.fetch("select from source") == []


async def test_pages_of_sources_are_in_the_order_of_their_names(gql: GraphQL) -> None:
    for name in ("b", "c", "a"):
        await set_source(gql, name=name)
    query = """query ($after: String) {
      sources(first: 2, after: $after) { nodes { name } pageInfo { hasNextPage endCursor } }
    }"""
    first = (await gql.data(query))["sources"]
    second = (await gql.data(query, {"after": first["pageInfo"]["endCursor"]}))["sources"]
    assert [node["name"] for node in first["nodes"] + second["nodes"]] == ["a", "b", "c"]
    assert [p["pageInfo"]["hasNextPage"] for p in (first, second)] == [True, False]


async def test_reading_and_setting_sources_need_their_scopes(api: Api, gql: GraphQL) -> None:
    reader = await api.new_key(scopes=[Scope.SCHEMA_READ])
    assert await gql.data('{ source(name: "none") { name } }', key=reader) == {"source": None}
    assert await gql.errors(SET, {"input": {"name": "x"}}, key=reader) == [
        ("FORBIDDEN", "the API key lacks the scope keys:admin")
    ]
