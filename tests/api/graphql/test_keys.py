"""API keys over GraphQL: what an administrator may hand out, and when it works."""

from __future__ import annotations

from typing import Any

import pytest

from app.access import queries as access
from app.access.keys import Scope
from tests.api.graphql.support import GraphQL
from tests.support import Api, eventually, purchase

CREATE = """
mutation ($input: CreateApiKeyInput!) {
  createApiKey(input: $input) {
    __typename
    ... on CreatedApiKey { key apiKey { id name scopes sources status } }
    ... on Invalid { problems { path rule } }
    ... on NotPermitted { reason }
  }
}
"""
ROTATE = """
mutation ($id: ID!, $grace: Int!) {
  rotateApiKey(id: $id, graceSeconds: $grace) {
    __typename
    ... on CreatedApiKey { key apiKey { id name scopes sources } }
    ... on NotPermitted { reason }
  }
}
"""
REVOKE = """
mutation ($id: ID!) {
  revokeApiKey(id: $id) { __typename ... on RevokedApiKey { apiKey { id status } } }
}
"""


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


async def created(gql: GraphQL, **changes: Any) -> Any:
    given = {"name": "till-17", "scopes": ["EVENTS_WRITE"]} | changes
    return (await gql.data(CREATE, {"input": given}))["createApiKey"]


async def test_a_created_key_works_at_once_and_its_secret_is_not_shown_again(
    api: Api, gql: GraphQL
) -> None:
    answer = await created(gql, sources=["brand.pos"])
    key_id = answer["apiKey"]["id"]
    assert answer == {
        "__typename": "CreatedApiKey",
        "key": answer["key"],
        "apiKey": {
            "id": key_id,
            "name": "till-17",
            "scopes": ["EVENTS_WRITE"],
            "sources": ["brand.pos"],
            "status": "ACTIVE",
        },
    }
    assert answer["key"].startswith(f"cdp_live_{key_id}_")
    assert (await api.post(purchase("k1"), key=answer["key"])).status_code == 202
    listed = await gql.post("{ apiKeys { nodes { id name } } }")
    assert key_id in listed.text
    assert answer["key"].rpartition("_")[2] not in listed.text


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "  "}, {"path": "/name", "rule": "length"}),
        ({"scopes": []}, {"path": "/scopes", "rule": "length"}),
        ({"sources": ["ok", " no"]}, {"path": "/sources/1", "rule": "name"}),
        ({"eventsPerMinute": 0}, {"path": "/eventsPerMinute", "rule": "range"}),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, {"path": "/expiresAt", "rule": "range"}),
        ({"expiresAt": "2220-01-01T00:00:00"}, {"path": "/expiresAt", "rule": "offset"}),
    ],
)
async def test_what_a_key_cannot_be_is_said_with_its_path(
    gql: GraphQL, changes: dict[str, Any], problem: dict[str, str]
) -> None:
    assert await created(gql, **changes) == {"__typename": "Invalid", "problems": [problem]}


async def test_no_key_hands_out_more_than_it_may_itself(api: Api, gql: GraphQL) -> None:
    admin = await api.new_key(scopes=[Scope.KEYS_ADMIN], sources=["brand.pos"])
    wanted = {"name": "x", "scopes": ["ADMIN"], "sources": ["brand.pos"]}
    answer = await gql.data(CREATE, {"input": wanted}, key=admin)
    assert answer["createApiKey"] == {"__typename": "NotPermitted", "reason": "scope_not_held"}
    wanted = {"name": "x", "scopes": ["KEYS_ADMIN"]}
    answer = await gql.data(CREATE, {"input": wanted}, key=admin)
    assert answer["createApiKey"] == {"__typename": "NotPermitted", "reason": "limit_not_held"}
    owner_id = api.key.split("_")[2]
    answer = await gql.data(ROTATE, {"id": owner_id, "grace": 0}, key=admin)
    assert answer["rotateApiKey"] == {"__typename": "NotPermitted", "reason": "scope_not_held"}


async def test_a_rotated_key_works_on_for_its_grace_only(api: Api, gql: GraphQL) -> None:
    old = await created(gql)
    rotated = await gql.data(ROTATE, {"id": old["apiKey"]["id"], "grace": 3600})
    assert rotated["rotateApiKey"]["apiKey"]["scopes"] == ["EVENTS_WRITE"]
    again = await gql.data(ROTATE, {"id": old["apiKey"]["id"], "grace": 3600})
    assert again["rotateApiKey"] == {"__typename": "NotFound"}
    for number, key in enumerate((old["key"], rotated["rotateApiKey"]["key"])):
        assert (await api.post(purchase(f"r{number}"), key=key)).status_code == 202
    newest = await gql.data(ROTATE, {"id": rotated["rotateApiKey"]["apiKey"]["id"], "grace": 0})
    refused = rotated["rotateApiKey"]["key"]

    async def is_refused() -> bool:
        return (await api.post(purchase("r9"), key=refused)).status_code == 401

    await eventually(is_refused)
    assert (await api.post(purchase("r2"), key=newest["rotateApiKey"]["key"])).status_code == 202


async def test_a_revoked_key_is_refused_and_stays_in_the_list(api: Api, gql: GraphQL) -> None:
    made = await created(gql)
    key_id = made["apiKey"]["id"]
    answer = await gql.data(REVOKE, {"id": key_id})
    assert answer["revokeApiKey"] == {
        "__typename": "RevokedApiKey",
        "apiKey": {"id": key_id, "status": "REVOKED"},
    }

    async def is_refused() -> bool:
        return (await api.post(purchase("v1"), key=made["key"])).status_code == 401

    await eventually(is_refused)
    again = await gql.data(REVOKE, {"id": key_id})
    assert again["revokeApiKey"] == {"__typename": "NotFound"}
    found = await gql.data("query ($id: ID!) { apiKey(id: $id) { status } }", {"id": key_id})
    assert found == {"apiKey": {"status": "REVOKED"}}


async def test_pages_of_keys_hold_each_key_once(gql: GraphQL) -> None:
    for number in range(6):
        await created(gql, name=f"till-{number}")
    query = """query ($after: String) {
      apiKeys(first: 3, after: $after) { nodes { name } pageInfo { hasNextPage endCursor } }
    }"""
    names, after, pages = [], None, 0
    while pages == 0 or after is not None:
        found = (await gql.data(query, {"after": after}))["apiKeys"]
        names += [node["name"] for node in found["nodes"]]
        after = found["pageInfo"]["endCursor"] if found["pageInfo"]["hasNextPage"] else None
        pages += 1
    assert (names, pages) == (["test", *(f"till-{number}" for number in range(6))], 3)


async def test_another_tenants_key_looks_like_a_missing_one(api: Api, gql: GraphQL) -> None:
    stranger = await access.create_tenant("stranger")
    theirs = await access.create_key(
        stranger, name="theirs", scopes=[Scope.ADMIN], environment="live"
    )
    find = "query ($id: ID!) { apiKey(id: $id) { name } }"
    assert await gql.data(find, {"id": theirs.public_id}) == {"apiKey": None}
    assert await gql.data(find, {"id": "aaaaaaaaaa"}) == {"apiKey": None}
    for mutation, field in ((ROTATE, "rotateApiKey"), (REVOKE, "revokeApiKey")):
        for key_id in (theirs.public_id, "aaaaaaaaaa"):
            answer = await gql.data(
                mutation, {"id": key_id} | ({"grace": 0} if "grace" in mutation else {})
            )
            assert answer == {field: {"__typename": "NotFound"}}
    assert await gql.data('{ apiKey(id: "aaaaaaaaaa") { name } }', key=theirs.text) == {
        "apiKey": None
    }


async def test_without_the_scope_nothing_of_keys_is_shown_or_done(api: Api, gql: GraphQL) -> None:
    writer = await api.new_key()
    forbidden = [("FORBIDDEN", "the API key lacks the scope keys:admin")]
    assert await gql.errors("{ apiKeys { nodes { id } } }", key=writer) == forbidden
    wanted = {"input": {"name": "x", "scopes": ["ADMIN"]}}
    assert await gql.errors(CREATE, wanted, key=writer) == forbidden
    assert len(await api.fetch("select from api_key")) == 2


async def test_what_was_done_with_keys_is_on_record_without_a_secret(
    api: Api, gql: GraphQL
) -> None:
    made = await created(gql)
    await gql.data(ROTATE, {"id": made["apiKey"]["id"], "grace": 0})
    rows = await api.fetch(
        "select actor, action, subject, after::text from registry_change"
        " where subject = $1 order by id",
        f"key {made['apiKey']['id']}",
    )
    mine = api.key.split("_")[2]
    assert [(row["actor"], row["action"]) for row in rows] == [
        (mine, "key_created"),
        (mine, "key_rotated"),
    ]
    secret = made["key"].rpartition("_")[2]
    assert all(secret not in row["after"] for row in rows)
