"""Another tenant's ids, keys and names look exactly like missing ones."""

from __future__ import annotations

from typing import Any

from app.access import queries as access
from app.access.keys import Scope
from app.cli.starter import registry_folder
from app.registry.files import read_registry
from app.registry.service import apply_files
from tests.api.graphql.support import GraphQL
from tests.support import Api, purchase

LISTS = """
query ($since: DateTime, $type: String, $source: String, $profile: ID) {
  events { nodes { id } }
  byType: events(filter: {type: $type}, orderBy: OCCURRED) { nodes { id } }
  bySource: events(filter: {source: $source}) { nodes { id } }
  byTime: events(filter: {received: {since: $since}, occurred: {since: $since}}) { nodes { id } }
  byVersion: events(filter: {type: $type, schemaVersion: 2}) { nodes { id } }
  byWarnings: events(filter: {hasWarnings: true}) { nodes { id } }
  byProfile: events(filter: {profile: $profile}) { nodes { id } }
  profiles { nodes { id } }
  unknown: profiles(filter: {known: false, firstSeen: {since: $since}}) { nodes { id } }
  identityConflicts { nodes { rule } }
  byRule: identityConflicts(rule: TWO_CUSTOMERS, firstSeen: {since: $since}) { nodes { rule } }
  deliveries { nodes { outcome } }
  duplicates: deliveries(filter: {source: $source, outcome: DUPLICATE}) { nodes { outcome } }
  retryingSources { source }
}
"""
SINGLES = """
query ($event: ID!, $profile: ID!, $alias: ID!, $source: String!, $key: String!, $email: String!) {
  event(id: $event) { id }
  eventByKey(source: $source, externalEventId: $key) { id }
  deliveryHistory(id: $event) { state }
  deliveryHistoryByKey(source: $source, externalEventId: $key) { state }
  profile(id: $profile) { id }
  alias: profile(id: $alias) { id }
  profileByIdentifier(kind: EMAIL, value: $email, source: $source) { id }
  whyOnThisProfile(event: $event) { assignedTo }
}
"""


async def fill(api: Api) -> dict[str, Any]:
    """An event with warnings, duplicates, conflicts, a merge and a clash; what they are named."""
    merging = {"email": "a@example.com", "phone": "+4915112345678"}
    for event in (
        purchase("e1", identity={"email": "a@example.com", "deviceKey": "n/a"}),
        purchase("e2", identity={"phone": "+4915112345678"}),
        purchase("e3", identity=merging | {"externalUserId": "L-1"}),
        purchase("e4", identity=merging | {"externalUserId": "L-2"}),
        purchase("e5", identity={"deviceKey": "device-4711"}),
        purchase("e1", identity={"email": "a@example.com", "deviceKey": "n/a"}),
    ):
        await api.post(event)
    [event, *_] = await api.fetch("select event_key from event where external_event_id = 'e1'")
    older, younger, *_ = await api.fetch("select profile_id from profile order by created_at")
    return {
        "event": f"evt_{event['event_key'].hex}",
        "profile": f"prf_{older['profile_id'].hex}",
        "alias": f"prf_{younger['profile_id'].hex}",
        "source": "brand.pos",
        "key": "e1",
        "email": "a@example.com",
        "type": "purchase_completed",
        "since": "2020-01-01T00:00:00Z",
    }


async def stranger_s_key(api: Api) -> str:
    """An administrator's key of another tenant with the same registry."""
    other = await access.create_tenant("other")
    await apply_files(other, read_registry(registry_folder()), actor="test")
    key = await access.create_key(other, name="stranger", scopes=[Scope.ADMIN], environment="test")
    return key.text


def answered(data: dict[str, Any]) -> set[str]:
    """The fields that found something."""
    return {name for name, value in data.items() if value not in (None, [], {"nodes": []})}


def used(query: str, variables: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if f"${name}:" in query}


async def test_a_stranger_finds_nothing_where_the_owner_finds_everything(api: Api) -> None:
    variables, stranger, gql = await fill(api), await stranger_s_key(api), GraphQL(api)
    for query in (LISTS, SINGLES):
        mine = await gql.data(query, used(query, variables))
        theirs = await gql.data(query, used(query, variables), key=stranger)
        assert answered(mine) == set(mine)
        assert answered(theirs) == set()


async def test_a_stranger_s_own_event_leads_to_nobody_else(api: Api) -> None:
    """The same key, source and identifiers under another tenant are other things."""
    variables, stranger, gql = await fill(api), await stranger_s_key(api), GraphQL(api)
    answer = await api.post(
        purchase("e1", identity={"email": "a@example.com", "phone": "+4915112345678"}), key=stranger
    )
    assert answer.status_code == 202
    query = """
    query {
      eventByKey(source: "brand.pos", externalEventId: "e1") {
        id
        profile {
          id aliases merges { eventId } conflicts { rule } identifiers { eventId }
          events { nodes { id } } eventCounts { total }
        }
        deliveries { later { nodes { outcome } } }
      }
    }
    """
    event = (await gql.data(query, key=stranger))["eventByKey"]
    assert event["id"] != variables["event"]
    assert event["profile"]["id"] != variables["profile"]
    assert event["profile"] == {
        "id": event["profile"]["id"],
        "aliases": [],
        "merges": [],
        "conflicts": [],
        "identifiers": [{"eventId": event["id"]}] * 2,
        "events": {"nodes": [{"id": event["id"]}]},
        "eventCounts": {"total": 1},
    }
    assert event["deliveries"] == {"later": {"nodes": []}}


async def test_a_cursor_of_another_tenant_s_list_opens_no_other_list(api: Api) -> None:
    await fill(api)
    stranger, gql = await stranger_s_key(api), GraphQL(api)
    query = """
    query ($after: String) {
      events(first: 2, after: $after) { nodes { id } pageInfo { endCursor } }
    }
    """
    after = (await gql.data(query))["events"]["pageInfo"]["endCursor"]
    data = await gql.data(query, {"after": after}, key=stranger)
    assert data["events"]["nodes"] == []
