"""Profiles over GraphQL: who somebody is, what led there, and what that person did."""

from __future__ import annotations

from typing import Any

import pytest

from app.access import queries as access
from app.access.keys import Scope
from app.db.pool import lent_pool
from tests.api.graphql.support import GraphQL
from tests.support import Api, Seed, purchase, service_in_process

EMAIL = {"email": "a@example.com"}
PHONE = {"phone": "+4915112345678"}
BY_EMAIL = """
query ($value: String!) { profileByIdentifier(kind: EMAIL, value: $value) { id } }
"""


async def deliver(api: Api, *events: dict[str, Any]) -> list[str]:
    """Deliver one by one, so that profiles are older and younger; returns the events' ids."""
    answers = [(await api.post(event)).json() for event in events]
    assert [answer["status"] for answer in answers] == ["accepted"] * len(events), answers
    return [answer["event_id"] for answer in answers]


async def merge_two(api: Api) -> list[str]:
    """An older profile by email, a younger one by phone, and the event that names both."""
    return await deliver(
        api,
        purchase("e1", identity=EMAIL, occurredAt="2026-05-20T10:00:00Z"),
        purchase("e2", identity=PHONE, occurredAt="2026-05-22T10:00:00Z"),
        purchase("e3", identity=EMAIL | PHONE, occurredAt="2026-05-21T10:00:00Z"),
    )


async def profile_ids(api: Api) -> list[str]:
    rows = await api.fetch("select profile_id from profile order by created_at")
    return [f"prf_{row['profile_id'].hex}" for row in rows]


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


async def test_a_merged_profile_s_id_answers_with_the_survivor(api: Api, gql: GraphQL) -> None:
    event_ids = await merge_two(api)
    older, younger = await profile_ids(api)
    everything = """
    query ($older: ID!, $younger: ID!) {
      older: profile(id: $older) { ...everything }
      younger: profile(id: $younger) { ...everything }
    }
    fragment everything on Profile {
      id known aliases lastSeenAt
      identifiers { kind value source eventId profileId }
      merges { survivorId mergedId eventId }
      conflicts { rule }
      events { nodes { externalEventId } }
      eventCounts {
        total complete byType { eventType events firstOccurredAt lastOccurredAt }
      }
    }
    """
    data = await gql.data(everything, {"older": older, "younger": younger})
    assert data["older"] == data["younger"]
    assert data["older"] == {
        "id": older,
        "known": True,
        "aliases": [younger],
        "lastSeenAt": "2026-05-22T10:00:00+00:00",
        "identifiers": [
            {
                "kind": "EMAIL",
                "value": "a@example.com",
                "source": "brand.pos",
                "eventId": event_ids[0],
                "profileId": older,
            },
            {
                "kind": "PHONE",
                "value": "+4915112345678",
                "source": "brand.pos",
                "eventId": event_ids[1],
                "profileId": younger,
            },
        ],
        "merges": [{"survivorId": older, "mergedId": younger, "eventId": event_ids[2]}],
        "conflicts": [],
        "events": {
            "nodes": [
                {"externalEventId": "e2"},
                {"externalEventId": "e3"},
                {"externalEventId": "e1"},
            ]
        },
        "eventCounts": {
            "total": 3,
            "complete": True,
            "byType": [
                {
                    "eventType": "purchase_completed",
                    "events": 3,
                    "firstOccurredAt": "2026-05-20T10:00:00+00:00",
                    "lastOccurredAt": "2026-05-22T10:00:00+00:00",
                }
            ],
        },
    }


async def test_a_person_s_events_page_across_merges(api: Api, gql: GraphQL) -> None:
    await merge_two(api)
    [older, _] = await profile_ids(api)
    query = """
    query ($id: ID!, $after: String) {
      profile(id: $id) {
        events(first: 1, after: $after) {
          nodes { externalEventId } pageInfo { endCursor hasNextPage }
        }
      }
    }
    """
    seen, after = [], None
    for _ in range(3):
        page = (await gql.data(query, {"id": older, "after": after}))["profile"]["events"]
        seen += [node["externalEventId"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert seen == ["e2", "e3", "e1"]
    assert page["pageInfo"]["hasNextPage"] is False


async def test_a_profile_is_found_by_an_identifier_as_a_sender_would_write_it(
    api: Api, gql: GraphQL
) -> None:
    await merge_two(api)
    [older, _] = await profile_ids(api)
    found = await gql.data(BY_EMAIL, {"value": " A@Example.com "})
    assert found == {"profileByIdentifier": {"id": older}}
    assert await gql.data(BY_EMAIL, {"value": "b@example.com"}) == {"profileByIdentifier": None}


async def test_a_national_number_is_read_with_its_source_s_region(api: Api, gql: GraphQL) -> None:
    await merge_two(api)
    [older, _] = await profile_ids(api)
    query = """
    query ($source: String) {
      profileByIdentifier(kind: PHONE, value: "0151 12345678", source: $source) { id }
    }
    """
    await access.set_source(api.tenant_id, "brand.pos", {"default_phone_region": "DE"})
    found = await gql.data(query, {"source": "brand.pos"})
    assert found == {"profileByIdentifier": {"id": older}}
    [(code, message)] = await gql.errors(query, {"source": None})
    assert code == "BAD_USER_INPUT"
    assert message.startswith("identity.phone is not one person's phone number")


async def test_questions_about_people_need_no_connection_of_ingest(
    database_url: str, seeded: Seed
) -> None:
    async with service_in_process(database_url, seeded, pool_size=2) as api:
        gql = GraphQL(api)
        [event_id] = await deliver(api, purchase("e1", identity=PHONE))
        [profile] = await profile_ids(api)
        query = """
        query ($event: ID!) {
          profileByIdentifier(kind: PHONE, value: "+4915112345678", source: "brand.pos") { id }
          whyOnThisProfile(event: $event) { assignedTo }
        }
        """
        async with lent_pool().acquire(), lent_pool().acquire():
            assert await gql.data(query, {"event": event_id}) == {
                "profileByIdentifier": {"id": profile},
                "whyOnThisProfile": {"assignedTo": profile},
            }


async def test_a_value_that_links_nobody_is_refused(gql: GraphQL) -> None:
    errors = await gql.errors(BY_EMAIL, {"value": "not an address"})
    assert errors == [("BAD_USER_INPUT", "identity.email is not an email address; it was not used")]


async def test_profiles_are_listed_newest_first_without_those_that_were_merged(
    api: Api, gql: GraphQL
) -> None:
    await merge_two(api)
    await deliver(api, purchase("e4", identity={"deviceKey": "device-4711"}))
    older, _, device = await profile_ids(api)
    query = """
    query ($filter: ProfileFilter, $first: Int, $after: String) {
      profiles(filter: $filter, first: $first, after: $after) {
        nodes { id } pageInfo { endCursor hasNextPage }
      }
    }
    """

    async def listed(**variables: Any) -> list[str]:
        return [node["id"] for node in (await gql.data(query, variables))["profiles"]["nodes"]]

    assert await listed() == [device, older]
    assert await listed(filter={"known": True}) == [older]
    assert await listed(filter={"known": False}) == [device]
    [row] = await api.fetch("select created_at from profile where not known")
    created = row["created_at"].isoformat()
    assert await listed(filter={"firstSeen": {"since": created}}) == [device]
    assert await listed(filter={"firstSeen": {"until": created}}) == [older]
    first = (await gql.data(query, {"first": 1}))["profiles"]["pageInfo"]
    assert first["hasNextPage"] is True
    second = (await gql.data(query, {"first": 1, "after": first["endCursor"]}))["profiles"]
    assert [node["id"] for node in second["nodes"]] == [older]
    assert second["pageInfo"]["hasNextPage"] is False


async def test_values_of_identifiers_are_masked_without_pii_read(api: Api, gql: GraphQL) -> None:
    await deliver(api, purchase("e1", identity={"externalUserId": "L-1", "email": "a@x.io"}))
    await deliver(api, purchase("e2", identity={"externalUserId": "L-2", "email": "a@x.io"}))
    query = """
    query {
      profiles { nodes { identifiers { kind value } conflicts { value } } }
      identityConflicts { nodes { value } }
    }
    """
    key = await api.new_key(scopes=[Scope.PROFILES_READ])
    data = await gql.data(query, key=key)
    assert data == {
        "profiles": {
            "nodes": [
                {
                    "identifiers": [{"kind": "EXTERNAL", "value": "***"}],
                    "conflicts": [{"value": "***"}],
                },
                {
                    "identifiers": [
                        {"kind": "EXTERNAL", "value": "***"},
                        {"kind": "EMAIL", "value": "***"},
                    ],
                    "conflicts": [{"value": "***"}],
                },
            ]
        },
        "identityConflicts": {"nodes": [{"value": "***"}]},
    }


async def test_a_clash_is_told_from_both_sides(api: Api, gql: GraphQL) -> None:
    [_, second] = await deliver(
        api,
        purchase("e1", identity={"externalUserId": "L-1", "email": "a@x.io"}),
        purchase("e2", identity={"externalUserId": "L-2", "email": "a@x.io"}),
    )
    owner, chosen = await profile_ids(api)
    query = """
    query ($rule: ConflictRule) {
      profiles { nodes { conflicts { ...clash } } }
      identityConflicts(rule: $rule) { nodes { ...clash } }
    }
    fragment clash on IdentityConflict {
      kind value rule eventId owner { id } chosen { id }
    }
    """
    clash = {
        "kind": "EMAIL",
        "value": "a@x.io",
        "rule": "TWO_CUSTOMERS",
        "eventId": second,
        "owner": {"id": owner},
        "chosen": {"id": chosen},
    }
    data = await gql.data(query, {"rule": "TWO_CUSTOMERS"})
    assert data["profiles"]["nodes"] == [{"conflicts": [clash]}, {"conflicts": [clash]}]
    assert data["identityConflicts"]["nodes"] == [clash]
    other = await gql.data(query, {"rule": "SHARED_DEVICE"})
    assert other["identityConflicts"]["nodes"] == []


WHY = """
query ($event: ID!) {
  whyOnThisProfile(event: $event) {
    event { externalEventId }
    profile { id }
    assignedTo
    identifiers { kind value role link { eventId profileId } }
    merges { survivorId mergedId }
  }
}
"""


async def test_why_an_event_is_on_its_profile(api: Api, gql: GraphQL) -> None:
    first, second, both = await merge_two(api)
    older, younger = await profile_ids(api)
    merges = [{"survivorId": older, "mergedId": younger}]
    email = {"kind": "EMAIL", "value": "a@example.com"}
    phone = {"kind": "PHONE", "value": "+4915112345678"}
    by_first = {"eventId": first, "profileId": older}
    by_second = {"eventId": second, "profileId": younger}

    assert (await gql.data(WHY, {"event": first}))["whyOnThisProfile"] == {
        "event": {"externalEventId": "e1"},
        "profile": {"id": older},
        "assignedTo": older,
        "identifiers": [email | {"role": "INTRODUCED", "link": by_first}],
        "merges": [],
    }
    assert (await gql.data(WHY, {"event": second}))["whyOnThisProfile"] == {
        "event": {"externalEventId": "e2"},
        "profile": {"id": older},
        "assignedTo": younger,
        "identifiers": [phone | {"role": "INTRODUCED", "link": by_second}],
        "merges": merges,
    }
    assert (await gql.data(WHY, {"event": both}))["whyOnThisProfile"] == {
        "event": {"externalEventId": "e3"},
        "profile": {"id": older},
        "assignedTo": older,
        "identifiers": [
            email | {"role": "DECIDED", "link": by_first},
            phone | {"role": "AGREED", "link": by_second},
        ],
        "merges": merges,
    }


async def test_an_identifier_of_somebody_else_is_told_as_such(api: Api, gql: GraphQL) -> None:
    _, second = await deliver(
        api,
        purchase("e1", identity={"externalUserId": "L-1", "email": "a@x.io"}),
        purchase("e2", identity={"externalUserId": "L-2", "email": "a@x.io"}),
    )
    data = (await gql.data(WHY, {"event": second}))["whyOnThisProfile"]
    roles = [(one["kind"], one["role"]) for one in data["identifiers"]]
    assert roles == [("EXTERNAL", "INTRODUCED"), ("EMAIL", "ELSEWHERE")]


@pytest.mark.parametrize(
    ("field", "scope", "lacking"),
    [
        ("profiles { nodes { id } }", Scope.EVENTS_READ, Scope.PROFILES_READ),
        ("identityConflicts { nodes { rule } }", Scope.EVENTS_READ, Scope.PROFILES_READ),
        ("profiles { nodes { events { nodes { id } } } }", Scope.PROFILES_READ, Scope.EVENTS_READ),
        ("profiles { nodes { eventCounts { total } } }", Scope.PROFILES_READ, Scope.EVENTS_READ),
        ("profiles { nodes { lastSeenAt } }", Scope.PROFILES_READ, Scope.EVENTS_READ),
    ],
)
async def test_profiles_and_events_need_each_their_scope(
    api: Api, gql: GraphQL, field: str, scope: Scope, lacking: Scope
) -> None:
    await deliver(api, purchase("e1"))
    key = await api.new_key(scopes=[scope])
    errors = await gql.errors(f"query {{ {field} }}", key=key)
    assert errors == [("FORBIDDEN", f"the API key lacks the scope {lacking}")]
