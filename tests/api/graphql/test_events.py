"""Events over GraphQL: by id, by key, and in pages; numbers exact, personal data masked."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.keys import Scope
from app.ingest import reading
from tests.api.graphql.support import GraphQL
from tests.support import Api, purchase

PAGE = """
query ($filter: EventFilter, $order: EventOrder, $first: Int, $after: String) {
  events(filter: $filter, orderBy: $order, first: $first, after: $after) {
    nodes { externalEventId }
    pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}
"""


async def listed(gql: GraphQL, order: str | None = None, **filter: Any) -> list[str]:
    data = await gql.data(PAGE, {"filter": filter, "order": order, "first": 200})
    return [node["externalEventId"] for node in data["events"]["nodes"]]


async def page_lengths(gql: GraphQL, order: str) -> list[int]:
    """How many purchases each page has, to the last one."""
    lengths: list[int] = []
    after = None
    while not lengths or after:
        filter = {"type": "purchase_completed"}
        variables = {"filter": filter, "order": order, "first": 50, "after": after}
        page = (await gql.data(PAGE, variables))["events"]
        lengths.append(len(page["nodes"]))
        after = page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None
    return lengths


async def deliver(api: Api, *events: dict[str, Any]) -> list[str]:
    """Deliver one by one, so that each has a time of receipt of its own; returns the ids."""
    answers = [(await api.post(event)).json() for event in events]
    assert [answer["status"] for answer in answers] == ["accepted"] * len(events), answers
    return [answer["event_id"] for answer in answers]


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


async def test_an_event_is_found_by_its_id_and_by_its_key(api: Api, gql: GraphQL) -> None:
    [event_id] = await deliver(api, purchase("e1"))
    data = await gql.data(
        """
        query ($id: ID!) {
          event(id: $id) { ...everything }
          eventByKey(source: "brand.pos", externalEventId: "e1") { ...everything }
        }
        fragment everything on Event {
          id externalEventId source eventType schemaVersion occurredAt occurredAtSent
          sizeBytes properties warnings { code }
          identity { externalUserId email phone deviceKey }
          profile { id known }
          deliveries {
            state original { outcome source apiKey { name } } later { nodes { eventId } }
          }
        }
        """,
        {"id": event_id},
    )
    [row] = await api.fetch("select size_bytes, profile_id from event")
    assert data["event"] == data["eventByKey"]
    assert data["event"] == {
        "id": event_id,
        "externalEventId": "e1",
        "source": "brand.pos",
        "eventType": "purchase_completed",
        "schemaVersion": 2,
        "occurredAt": "2026-05-20T12:45:00+00:00",
        "occurredAtSent": True,
        "sizeBytes": row["size_bytes"],
        "properties": {
            "order_id": "order_42",
            "amount": 120.5,
            "currency": "USD",
            "store_id": "store_42",
        },
        "warnings": [],
        "identity": {
            "externalUserId": "L-123456789",
            "email": "customer@example.com",
            "phone": None,
            "deviceKey": None,
        },
        "profile": {"id": f"prf_{row['profile_id'].hex}", "known": True},
        "deliveries": {
            "state": "STORED",
            "original": {"outcome": "ACCEPTED", "source": "brand.pos", "apiKey": {"name": "test"}},
            "later": {"nodes": []},
        },
    }


@pytest.mark.parametrize("id", ["evt_" + "0" * 32, "evt_74d63a", "prf_" + "0" * 32, ""])
async def test_what_is_no_event_of_the_tenant_is_null(gql: GraphQL, id: str) -> None:
    query = """
    query ($id: ID!) {
      event(id: $id) { id }
      deliveryHistory(id: $id) { eventId }
      whyOnThisProfile(event: $id) { assignedTo }
    }
    """
    data = await gql.data(query, {"id": id})
    assert data == {"event": None, "deliveryHistory": None, "whyOnThisProfile": None}


async def test_numbers_keep_every_digit_that_was_sent(api: Api, gql: GraphQL) -> None:
    body = (
        b'{"source":"brand.pos","externalEventId":"e1","eventType":"purchase_completed",'
        b'"identity":{"externalUserId":"L-1"},"properties":{"order_id":"o","currency":"USD",'
        b'"amount":12345678901234567890.123456789012345678901234567890}}'
    )
    response = await api.post(body)
    assert response.status_code == 202, response.text
    query = 'query { eventByKey(source: "brand.pos", externalEventId: "e1") { properties } }'
    without_pii = await api.new_key(scopes=[Scope.EVENTS_READ])
    for key in (api.key, without_pii):
        answer = (await gql.post(query, key=key)).content
        assert b'"amount":12345678901234567890.123456789012345678901234567890' in answer.replace(
            b" ", b""
        )


async def test_personal_data_is_masked_without_pii_read(api: Api, gql: GraphQL) -> None:
    event = purchase(
        "e1",
        eventType="newsletter_subscribed",
        properties={
            "newsletter": "weekly",
            "email": "customer@example.com",
            "confirmed_at": "2026-05-20T12:45:00Z",
            "ip_address": None,
        },
    )
    await deliver(api, event)
    query = """
    query {
      events { nodes { properties identity { externalUserId email phone } profile { id } } }
    }
    """
    without = await api.new_key(scopes=[Scope.EVENTS_READ, Scope.PROFILES_READ])
    [masked] = (await gql.data(query, key=without))["events"]["nodes"]
    [shown] = (await gql.data(query))["events"]["nodes"]
    assert masked["identity"] == {"externalUserId": "***", "email": "***", "phone": None}
    assert masked["properties"] == {
        "newsletter": "weekly",
        "email": "***",
        "confirmed_at": "2026-05-20T12:45:00Z",
        "ip_address": "***",
    }
    assert shown["identity"]["email"] == shown["properties"]["email"] == "customer@example.com"
    assert masked["profile"] == shown["profile"]


async def test_a_page_continues_behind_the_one_before(api: Api, gql: GraphQL) -> None:
    await api.results([purchase(f"e{n}") for n in range(5)])
    await deliver(api, *(purchase(f"e{n}") for n in range(5, 8)))
    seen: list[str] = []
    after = None
    pages = []
    for _ in range(4):
        variables = {"first": 2, "after": after}
        page = (await gql.data(PAGE, variables))["events"]
        seen += [node["externalEventId"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        pages.append((page["pageInfo"]["hasPreviousPage"], page["pageInfo"]["hasNextPage"]))
    assert seen[:3] == ["e7", "e6", "e5"]
    assert sorted(seen) == [f"e{n}" for n in range(8)]
    assert pages == [(False, True), (True, True), (True, True), (True, False)]


async def test_a_page_ends_when_it_holds_enough(
    api: Api, gql: GraphQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(api, *(purchase(f"e{n}") for n in range(7)))
    [size] = await api.fetch("select max(size_bytes) as bytes from event")
    monkeypatch.setattr(reading, "PAGE_BYTES", 2 * size["bytes"])
    for order in ("RECEIVED", "OCCURRED"):
        assert await page_lengths(gql, order) == [3, 3, 1]


async def test_a_page_ends_when_its_numbers_are_long(
    api: Api, gql: GraphQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    properties = purchase("e")["properties"] | {"amount": 1e307}
    await deliver(api, *(purchase(f"e{n}", properties=properties) for n in range(7)))
    [size] = await api.fetch(
        "select max(octet_length(properties::text)) as text, max(size_bytes) as sent from event"
    )
    assert size["text"] > size["sent"]
    monkeypatch.setattr(reading, "PAGE_BYTES", 2 * size["sent"])
    for order in ("RECEIVED", "OCCURRED"):
        assert await page_lengths(gql, order) == [3, 3, 1]  # too few bytes to be measured
    monkeypatch.setattr(reading, "SENT_BYTES", 0)
    for order in ("RECEIVED", "OCCURRED"):
        assert await page_lengths(gql, order) == [2, 2, 2, 1]


async def test_events_are_listed_by_every_filter(api: Api, gql: GraphQL) -> None:
    await deliver(
        api,
        purchase("e1", occurredAt="2026-05-20T12:00:00Z"),
        purchase("e2", occurredAt="2026-05-21T12:00:00Z", source="brand.crm"),
        purchase("e3", occurredAt="2026-05-19T12:00:00Z", identity={"email": "x@example.com"}),
        purchase("e4", occurredAt="2026-05-22T12:00:00Z", eventType="app_opened", properties={
            "platform": "ios", "app_version": "1.0"}),
        purchase("e5", identity={"externalUserId": "L-5", "email": "not an address"}),
    )  # fmt: skip
    assert await listed(gql) == ["e5", "e4", "e3", "e2", "e1"]
    assert await listed(gql, source="brand.crm") == ["e2"]
    assert await listed(gql, type="app_opened") == ["e4"]
    assert await listed(gql, type="purchase_completed", schemaVersion=2) == ["e5", "e3", "e2", "e1"]
    assert await listed(gql, type="purchase_completed", schemaVersion=1) == []
    assert await listed(gql, hasWarnings=True) == ["e5"]
    assert await listed(gql, hasWarnings=False) == ["e4", "e3", "e2", "e1"]
    day = {"since": "2026-05-19T12:00:00Z", "until": "2026-05-20T12:00:00Z"}
    assert await listed(gql, occurred=day) == ["e3"]
    assert await listed(gql, occurred=day, hasWarnings=True) == []
    assert await listed(gql, received=day) == []
    assert await listed(gql, received={"since": "2026-05-20T12:00:00+02:00"}) == [
        "e5", "e4", "e3", "e2", "e1",
    ]  # fmt: skip
    [received] = await api.fetch("select received_at from event where external_event_id = 'e4'")
    until = received["received_at"].isoformat()
    assert await listed(gql, received={"until": until}) == ["e3", "e2", "e1"]


async def test_events_of_a_type_or_profile_come_in_the_order_of_occurrence(
    api: Api, gql: GraphQL
) -> None:
    await deliver(
        api,
        purchase("e1", occurredAt="2026-05-20T12:00:00Z"),
        purchase("e2", occurredAt="2026-05-22T12:00:00Z"),
        purchase("e3", occurredAt="2026-05-21T12:00:00Z", identity={"email": "x@example.com"}),
    )
    in_order = ["e2", "e3", "e1"]
    assert await listed(gql, "OCCURRED", type="purchase_completed") == in_order
    since = {"since": "2026-05-21T12:00:00Z"}
    assert await listed(gql, "OCCURRED", type="purchase_completed", occurred=since) == ["e2", "e3"]
    query = "query { events { nodes { externalEventId profile { id } } } }"
    nodes = (await gql.data(query))["events"]["nodes"]
    profile = {node["externalEventId"]: node["profile"]["id"] for node in nodes}
    assert await listed(gql, profile=profile["e1"]) == ["e2", "e1"]
    assert await listed(gql, profile=profile["e3"]) == ["e3"]
    assert await listed(gql, profile=profile["e1"], source="brand.pos", occurred=since) == ["e2"]
    assert await listed(gql, profile=profile["e1"], type="app_opened") == []


@pytest.mark.parametrize(
    ("filter", "order", "message"),
    [
        ({}, "OCCURRED", "orderBy OCCURRED needs filter.type or filter.profile"),
        (
            {"profile": "prf_" + "0" * 32},
            "RECEIVED",
            "a profile's events are in the order of occurredAt: leave orderBy out",
        ),
        (
            {"type": "app_opened", "received": {}},
            "OCCURRED",
            "filter.received goes with orderBy RECEIVED; use filter.occurred",
        ),
        (
            {"schemaVersion": 1},
            None,
            "filter.schemaVersion needs filter.type: versions are an event type's",
        ),
        (
            {"received": {"since": "2026-05-20T12:00:00"}},
            None,
            "filter.received.since needs its UTC offset, as in 2026-05-20T12:45:00Z",
        ),
        (
            {"occurred": {"until": "0001-01-01T00:00:00+14:00"}},
            None,
            "filter.occurred.until is out of range",
        ),
    ],
)
async def test_a_filter_that_no_index_serves_is_refused(
    gql: GraphQL, filter: dict[str, Any], order: str | None, message: str
) -> None:
    errors = await gql.errors(PAGE, {"filter": filter, "order": order})
    assert errors == [("BAD_USER_INPUT", message)]


@pytest.mark.parametrize(
    "filter",
    [
        {"source": "nobody"},
        {"source": ""},
        {"source": "a\0b"},
        {"type": "no_such_type"},
        {"type": "app_opened", "schemaVersion": 99},
        {"profile": "prf_" + "0" * 32},
        {"profile": "nonsense"},
    ],
)
async def test_a_name_that_is_not_there_lists_nothing(
    api: Api, gql: GraphQL, filter: dict[str, Any]
) -> None:
    await deliver(api, purchase("e1"))
    assert await listed(gql, **filter) == []


@pytest.mark.parametrize("after", ["nonsense", "W10", "", "WyJvY2N1cnJlZCIsMSwyXQ"])
async def test_a_cursor_that_is_none_is_refused(gql: GraphQL, after: str) -> None:
    [(code, message)] = await gql.errors(PAGE, {"after": after})
    assert (code, message) == ("BAD_USER_INPUT", "after is not a cursor of this list")


async def test_a_cursor_of_another_order_is_refused(api: Api, gql: GraphQL) -> None:
    await deliver(api, purchase("e1"))
    page = (await gql.data(PAGE, {}))["events"]
    variables = {
        "after": page["pageInfo"]["endCursor"],
        "filter": {"type": "purchase_completed"},
        "order": "OCCURRED",
    }
    errors = await gql.errors(PAGE, variables)
    assert errors == [("BAD_USER_INPUT", "after is a cursor of another order")]


@pytest.mark.parametrize("scope", [Scope.EVENTS_WRITE, Scope.PROFILES_READ, Scope.PII_READ])
async def test_events_need_their_scope(api: Api, gql: GraphQL, scope: Scope) -> None:
    key = await api.new_key(scopes=[scope])
    assert await gql.errors(PAGE, {}, key=key) == [
        ("FORBIDDEN", "the API key lacks the scope events:read")
    ]


async def test_an_event_s_profile_needs_its_own_scope(api: Api, gql: GraphQL) -> None:
    await deliver(api, purchase("e1"))
    key = await api.new_key(scopes=[Scope.EVENTS_READ])
    errors = await gql.errors("query { events { nodes { profile { id } } } }", key=key)
    assert errors == [("FORBIDDEN", "the API key lacks the scope profiles:read")]


@pytest.mark.parametrize("year", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
@pytest.mark.parametrize("side", ["since", "until"])
async def test_windows_may_be_as_wide_as_time(api: Api, gql: GraphQL, year: str, side: str) -> None:
    await deliver(api, purchase("e1"))
    inside = ["e1"] if (side == "since") == year.startswith("0001") else []
    window = {side: year}
    assert await listed(gql, received=window) == inside
    assert await listed(gql, occurred=window) == inside
    assert await listed(gql, "OCCURRED", type="purchase_completed", occurred=window) == inside


async def test_texts_that_nothing_is_called_by_find_nothing(gql: GraphQL) -> None:
    query = """
    query ($text: String!, $id: ID!) {
      event(id: $id) { id }
      eventByKey(source: $text, externalEventId: $text) { id }
      deliveryHistoryByKey(source: $text, externalEventId: $text) { state }
      deliveries(filter: {source: $text}) { nodes { outcome } }
      profile(id: $id) { id }
      profileByIdentifier(kind: EMAIL, value: "a@example.com", source: $text) { id }
      whyOnThisProfile(event: $id) { assignedTo }
    }
    """
    for text in ("\0", "", " ", "x" * 10_000, "\u202e", "'; drop table event; --"):
        data = await gql.data(query, {"text": text, "id": text})
        assert [value for value in data.values() if value not in (None, {"nodes": []})] == []
