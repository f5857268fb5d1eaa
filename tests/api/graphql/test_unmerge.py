"""unmergeProfile: two people again, on record, and only for whoever may."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.access.keys import Scope
from tests.api.graphql.support import GraphQL, other_tenant
from tests.support import Api, purchase

EMAIL = {"email": "a@example.com"}
PHONE = {"phone": "+4915112345678"}
UNMERGE = """
mutation ($profile: ID!, $reason: String = "a typing error at the till") {
  unmergeProfile(profile: $profile, reason: $reason) {
    __typename
    ... on ProfileUnmerged {
      eventsMoved identifiersMoved
      survivor { id aliases identifiers { value } events { nodes { externalEventId } } }
      restored { id aliases identifiers { value } events { nodes { externalEventId } } }
    }
    ... on NotFound { message }
    ... on NotPermitted { message reason }
    ... on Invalid { problems { path rule } }
  }
}
"""


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


async def deliver(api: Api, external_event_id: str, **identity: str) -> str:
    answer = (await api.post(purchase(external_event_id, identity=identity))).json()
    assert answer["status"] == "accepted", answer
    event_id: str = answer["event_id"]
    return event_id


async def merge(api: Api) -> tuple[str, str]:
    """Two profiles, made one by `joins`; their ids, the older first."""
    await deliver(api, "mail", **EMAIL)
    await deliver(api, "call", **PHONE)
    await deliver(api, "joins", **EMAIL, **PHONE)
    rows = await api.fetch("select profile_id from profile order by created_at")
    older, younger = (f"prf_{row['profile_id'].hex}" for row in rows)
    return older, younger


async def unmerge(gql: GraphQL, profile: str, key: str | None = None, **more: str) -> Any:
    data = await gql.data(UNMERGE, {"profile": profile} | more, key=key)
    return data["unmergeProfile"]


async def test_both_profiles_come_back_with_what_is_theirs(api: Api, gql: GraphQL) -> None:
    older, younger = await merge(api)
    await deliver(api, "since", **PHONE, deviceKey="device-4711")
    assert await unmerge(gql, younger) == {
        "__typename": "ProfileUnmerged",
        "eventsMoved": 1,
        "identifiersMoved": 1,
        "survivor": {
            "id": older,
            "aliases": [],
            "identifiers": [{"value": "a@example.com"}],
            "events": {"nodes": [{"externalEventId": n} for n in await order(api, "mail joins")]},
        },
        "restored": {
            "id": younger,
            "aliases": [],
            "identifiers": [{"value": "+4915112345678"}, {"value": "device-4711"}],
            "events": {"nodes": [{"externalEventId": n} for n in await order(api, "call since")]},
        },
    }


async def order(api: Api, names: str) -> list[str]:
    """As a person's events are listed: all of these occurred at one time."""
    rows = await api.fetch(
        "select external_event_id from event where external_event_id = any ($1)"
        " order by event_key desc",
        names.split(),
    )
    return [row["external_event_id"] for row in rows]


async def test_the_same_identifiers_do_not_join_them_again(api: Api, gql: GraphQL) -> None:
    older, younger = await merge(api)
    await unmerge(gql, younger)
    await deliver(api, "again", **EMAIL, **PHONE)
    data = await gql.data(
        """
        query ($older: ID!, $younger: ID!) {
          older: profile(id: $older) { id merges { mergedId undoneAt undoneBy } }
          younger: profile(id: $younger) { id merges { mergedId } }
          identityConflicts(rule: SEPARATED) {
            nodes { kind value owner { id } chosen { id } }
          }
        }
        """,
        {"older": older, "younger": younger},
    )
    [merged] = data["older"].pop("merges")
    assert (merged["mergedId"], merged["undoneAt"] is None) == (younger, False)
    assert merged["undoneBy"] == api.key.split("_")[2]
    assert data == {
        "older": {"id": older},
        "younger": {"id": younger, "merges": []},
        "identityConflicts": {
            "nodes": [
                {
                    "kind": "PHONE",
                    "value": "+4915112345678",
                    "owner": {"id": younger},
                    "chosen": {"id": older},
                }
            ]
        },
    }


async def test_why_an_event_is_where_it_is_after_an_unmerge(api: Api, gql: GraphQL) -> None:
    _, younger = await merge(api)
    since = await deliver(api, "since", **PHONE, deviceKey="device-4711")
    await unmerge(gql, younger)
    why = """
    query ($event: ID!) {
      whyOnThisProfile(event: $event) {
        profile { id } assignedTo identifiers { kind role } merges { mergedId }
      }
    }
    """
    assert (await gql.data(why, {"event": since}))["whyOnThisProfile"] == {
        "profile": {"id": younger},
        "assignedTo": younger,
        "identifiers": [
            {"kind": "PHONE", "role": "DECIDED"},
            {"kind": "DEVICE", "role": "INTRODUCED"},
        ],
        "merges": [],
    }
    joins = (await api.fetch("select event_key from event where external_event_id = 'joins'"))[0]
    found = await gql.data(why, {"event": f"evt_{joins['event_key'].hex}"})
    assert [one["role"] for one in found["whyOnThisProfile"]["identifiers"]] == [
        "DECIDED",
        "ELSEWHERE",
    ]


async def test_an_audience_counts_them_as_two(api: Api, gql: GraphQL) -> None:
    _, younger = await merge(api)
    query = """
    query { audiencePreview(definition: {did: {
      eventType: "purchase_completed", where: [{property: "/amount", equals: 120.5}]
    }}) { ... on AudiencePreview { profiles } } }
    """
    assert (await gql.data(query))["audiencePreview"]["profiles"] == 1
    await unmerge(gql, younger)
    assert (await gql.data(query))["audiencePreview"]["profiles"] == 2


async def test_an_unmerge_is_on_record(api: Api, gql: GraphQL) -> None:
    older, younger = await merge(api)
    await unmerge(gql, younger)
    [row] = await api.fetch(
        "select * from registry_change where action = 'profile_unmerged' and tenant_id = $1",
        api.tenant_id,
    )
    before, after = msgspec.json.decode(row["before"]), msgspec.json.decode(row["after"])
    assert (row["actor"], row["subject"]) == (api.key.split("_")[2], f"profile {younger}")
    assert row["reason"] == "a typing error at the till"
    assert (before["survivor"], before.keys()) == (older, {"survivor", "merged_at", "event_id"})
    assert after == {"survivor": older, "events_moved": 0, "identifiers_moved": 0}


async def test_what_is_not_merged_cannot_be_unmerged(api: Api, gql: GraphQL) -> None:
    older, younger = await merge(api)
    refused = {
        "__typename": "NotPermitted",
        "message": "the profile is not merged into another, or no longer",
        "reason": "not_merged",
    }
    assert await unmerge(gql, older) == refused
    assert (await unmerge(gql, younger))["__typename"] == "ProfileUnmerged"
    assert await unmerge(gql, younger) == refused


async def test_two_unmerges_of_one_request_answer_for_the_time_after_each(
    api: Api, gql: GraphQL
) -> None:
    older, younger = await merge(api)
    await deliver(api, "tablet", deviceKey="device-4711")
    await deliver(api, "adopts", **EMAIL, deviceKey="device-4711")
    rows = await api.fetch("select profile_id from profile order by created_at")
    device = f"prf_{rows[2]['profile_id'].hex}"
    data = await gql.data(
        """
        mutation ($one: ID!, $two: ID!) {
          one: unmergeProfile(profile: $one, reason: "r") { ...result }
          two: unmergeProfile(profile: $two, reason: "r") { ...result }
        }
        fragment result on ProfileUnmerged { survivor { id aliases } restored { id } }
        """,
        {"one": younger, "two": device},
    )
    assert data == {
        "one": {"survivor": {"id": older, "aliases": [device]}, "restored": {"id": younger}},
        "two": {"survivor": {"id": older, "aliases": []}, "restored": {"id": device}},
    }


async def test_another_tenant_s_profile_is_not_there(api: Api, gql: GraphQL) -> None:
    _, younger = await merge(api)
    missing = {"__typename": "NotFound", "message": "there is no such profile"}
    assert await unmerge(gql, younger, key=await other_tenant()) == missing
    assert await unmerge(gql, "prf_" + "0" * 32) == missing
    assert await unmerge(gql, "evt_" + "0" * 32) == missing
    assert (await unmerge(gql, younger))["__typename"] == "ProfileUnmerged"


async def test_it_takes_the_right_to_correct_what_is_known_of_people(
    api: Api, gql: GraphQL
) -> None:
    _, younger = await merge(api)
    for scopes, lacking in (
        ([Scope.PROFILES_READ], Scope.PRIVACY_WRITE),
        ([Scope.PRIVACY_WRITE], Scope.PROFILES_READ),
    ):
        key = await api.new_key(scopes=scopes)
        errors = await gql.errors(UNMERGE, {"profile": younger}, key=key)
        assert errors == [("FORBIDDEN", f"the API key lacks the scope {lacking}")]
    scopes = [Scope.PROFILES_READ, Scope.PRIVACY_WRITE]
    limited = await api.new_key(scopes=scopes, sources=["brand.pos"])
    assert await unmerge(gql, younger, key=limited) == {
        "__typename": "NotPermitted",
        "message": "the key is limited to sources or event types; this is about all of them",
        "reason": "key_limited",
    }
    key = await api.new_key(scopes=scopes)
    short = 'mutation ($p: ID!) { unmergeProfile(profile: $p, reason: "r") { __typename } }'
    data = await gql.data(short, {"p": younger}, key=key)
    assert data == {"unmergeProfile": {"__typename": "ProfileUnmerged"}}


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1_001])
async def test_a_reason_must_be_given(api: Api, gql: GraphQL, reason: str) -> None:
    _, younger = await merge(api)
    assert await unmerge(gql, younger, reason=reason) == {
        "__typename": "Invalid",
        "problems": [{"path": "/reason", "rule": "length"}],
    }
