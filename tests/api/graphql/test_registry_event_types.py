"""The life of an event type over GraphQL, and what its senders notice of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.access import queries as access
from app.access.keys import Scope
from tests.api.graphql.counting import statements_of
from tests.api.graphql.registry import NUMBER, TEXT, Registry, caller, document
from tests.api.graphql.support import GraphQL
from tests.support import Api, eventually, purchase

NEXT_YEAR = (datetime.now(UTC) + timedelta(days=365)).isoformat()


@pytest.fixture
def registry(api: Api) -> Registry:
    return Registry(GraphQL(api))


async def test_a_new_event_type_is_described_and_has_no_version(registry: Registry) -> None:
    created = await registry.send(
        "createEventType", name="gift_card_sold", displayName="Gift card sold", owner="shops"
    )
    assert created == {
        "__typename": "EventTypeCreated",
        "eventType": {
            "name": "gift_card_sold",
            "displayName": "Gift card sold",
            "owner": "shops",
            "description": None,
            "status": "ACTIVE",
            "compatibility": "BACKWARD_TRANSITIVE",
            "revision": 1,
            "notice": None,
        },
        "warnings": [],
    }
    found = await registry.gql.data(
        '{ eventType(name: "gift_card_sold") { currentVersion { number } versions { number } } }'
    )
    assert found["eventType"] == {"currentVersion": None, "versions": []}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"name": "Gift Card"}, ("/name", "event_type_name")),
        ({"name": "purchase_completed"}, ("/name", "event_type_taken")),
        ({"name": "gift_card_sold", "owner": " "}, ("/owner", "text_length")),
        ({"name": "gift_card_sold", "description": "\x00"}, ("/description", "text_not_storable")),
        ({"name": "gift_card_sold", "displayName": "x" * 201}, ("/displayName", "text_length")),
    ],
)
async def test_an_event_type_that_cannot_be_is_refused_with_the_place(
    registry: Registry, given: dict[str, Any], problem: tuple[str, str]
) -> None:
    answer = await registry.send("createEventType", **given)
    assert answer == {
        "__typename": "Invalid",
        "problems": [{"path": problem[0], "rule": problem[1]}],
    }


async def test_a_name_that_is_easily_confused_is_warned_of(registry: Registry) -> None:
    created = await registry.send("createEventType", name="purchases_completed")
    assert created["warnings"] == [{"path": "/name", "rule": "event_types_alike"}]


async def test_what_is_left_out_of_a_description_stays_and_null_clears(registry: Registry) -> None:
    await registry.event_type("gift_card_sold", owner="shops", displayName="Gift card")
    answer = await registry.send(
        "describeEventType",
        name="gift_card_sold",
        expectedRevision=1,
        displayName=None,
        description="Somebody bought a gift card.",
    )
    changed = answer["eventType"]
    assert (changed["displayName"], changed["owner"]) == (None, "shops")
    assert (changed["description"], changed["revision"]) == ("Somebody bought a gift card.", 2)


async def test_a_change_to_what_is_so_already_spends_no_revision(registry: Registry) -> None:
    await registry.event_type("gift_card_sold", owner="shops")
    answer = await registry.send(
        "describeEventType", name="gift_card_sold", expectedRevision=1, owner="shops"
    )
    assert answer["eventType"]["revision"] == 1


@pytest.mark.contract("4.9: a stale expectedRevision is a conflict")
@pytest.mark.parametrize(
    ("mutation", "given"),
    [
        ("describeEventType", {"owner": "shops"}),
        ("setCompatibility", {"compatibility": "FULL_TRANSITIVE"}),
        ("deprecateEventType", {"sunsetAt": NEXT_YEAR, "note": "use another"}),
        ("retireEventType", {"note": "use another"}),
        ("restoreEventType", {"reason": "needed"}),
    ],
)
async def test_every_change_needs_the_revision_that_it_was_decided_on(
    registry: Registry, mutation: str, given: dict[str, Any]
) -> None:
    await registry.event_type("gift_card_sold")
    stale = await registry.send(mutation, name="gift_card_sold", expectedRevision=7, **given)
    assert stale == {"__typename": "StaleRevision", "currentRevision": 1}
    nothing = await registry.send(mutation, name="nobody_s", expectedRevision=1, **given)
    assert nothing == {"__typename": "NotFound", "message": "there is no such event type"}


@pytest.mark.contract("4.9: a stale expectedRevision is a conflict")
async def test_of_many_who_change_the_same_revision_one_does(registry: Registry) -> None:
    await registry.event_type("gift_card_sold")
    answers = await asyncio.gather(
        *(
            registry.send(
                "describeEventType", name="gift_card_sold", expectedRevision=1, owner=f"owner {n}"
            )
            for n in range(8)
        )
    )
    kinds = sorted(answer["__typename"] for answer in answers)
    assert kinds == ["EventTypeChanged"] + ["StaleRevision"] * 7
    changes = await registry.gql.api.fetch(
        "select 1 from registry_change where action = 'event_type_described'"
    )
    assert len(changes) == 1


async def test_to_promise_less_takes_a_reason_and_an_approver(api: Api, registry: Registry) -> None:
    await registry.event_type("gift_card_sold")
    writer = await caller(api, Scope.SCHEMA_WRITE, Scope.SCHEMA_READ)
    to_none = {"name": "gift_card_sold", "expectedRevision": 1, "compatibility": "NONE"}
    assert await writer.send("setCompatibility", **to_none) == {
        "__typename": "NotPermitted",
        "reason": "reason_missing",
    }
    assert await writer.send("setCompatibility", **to_none, reason="an experiment") == {
        "__typename": "NotPermitted",
        "reason": "scope_missing",
    }
    stricter = to_none | {"compatibility": "FULL_TRANSITIVE"}
    assert (await writer.send("setCompatibility", **stricter))["eventType"]["revision"] == 2
    approved = await registry.send(
        "setCompatibility", **to_none | {"expectedRevision": 2}, reason="an experiment"
    )
    assert approved["eventType"]["compatibility"] == "NONE"


async def test_a_deprecated_type_is_taken_with_a_warning_that_says_when_and_what_instead(
    api: Api, registry: Registry
) -> None:
    answer = await registry.send(
        "deprecateEventType",
        name="purchase_completed",
        expectedRevision=await revision(registry, "purchase_completed"),
        sunsetAt="2030-06-30T00:00:00Z",
        note="use order_completed",
    )
    assert answer["eventType"]["status"] == "DEPRECATED"
    assert answer["eventType"]["notice"] == {
        "sunsetAt": "2030-06-30T00:00:00+00:00",
        "note": "use order_completed",
    }
    warning = {
        "path": "/eventType",
        "code": "event_type_deprecated",
        "message": "the event type is deprecated, to be retired on 2030-06-30: use order_completed",
    }
    numbers = iter(range(1000))

    async def is_warned() -> bool:
        response = await api.post(purchase(f"w{next(numbers)}"))
        assert response.status_code == 202
        return response.json().get("warnings") == [warning]

    await eventually(is_warned)


async def test_a_retired_type_is_refused_with_the_reason_and_can_be_restored(
    api: Api, registry: Registry
) -> None:
    retired = await registry.send(
        "retireEventType",
        name="purchase_completed",
        expectedRevision=await revision(registry, "purchase_completed"),
        note="use order_completed",
    )
    assert retired["eventType"]["status"] == "RETIRED"
    numbers = iter(range(1000))
    refusal = {
        "path": "/eventType",
        "code": "event_type_retired",
        "message": "the event type is retired: use order_completed",
    }

    async def is_refused() -> bool:
        response = await api.post(purchase(f"r{next(numbers)}"))
        return response.status_code == 422 and response.json()["errors"] == [refusal]

    await eventually(is_refused)
    again = {"name": "purchase_completed", "expectedRevision": retired["eventType"]["revision"]}
    deprecated = await registry.send(
        "deprecateEventType", **again, sunsetAt=NEXT_YEAR, note="use order_completed"
    )
    assert deprecated == {"__typename": "NotPermitted", "reason": "event_type_retired"}
    restored = await registry.send("restoreEventType", **again, reason="still needed")
    assert restored["eventType"]["status"] == "ACTIVE"
    assert restored["eventType"]["notice"] is None

    async def is_taken() -> bool:
        return bool((await api.post(purchase(f"t{next(numbers)}"))).status_code == 202)

    await eventually(is_taken)


async def test_who_may_only_write_schemas_cannot_retire_a_type(api: Api) -> None:
    writer = await caller(api, Scope.SCHEMA_WRITE)
    answer = await writer.send(
        "retireEventType", name="purchase_completed", expectedRevision=1, note="over"
    )
    assert answer == {"__typename": "NotPermitted", "reason": "scope_missing"}


@pytest.mark.parametrize("sunset_at", ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
async def test_a_type_is_deprecated_by_a_date_ahead(registry: Registry, sunset_at: str) -> None:
    answer = await registry.send(
        "deprecateEventType",
        name="purchase_completed",
        expectedRevision=1,
        sunsetAt=sunset_at,
        note="x",
    )
    assert answer["problems"] == [{"path": "/sunsetAt", "rule": "date_range"}]


async def test_senders_of_a_type_are_listed_with_their_keys(api: Api, registry: Registry) -> None:
    till = await api.new_key(name="till-17")
    await api.batch([purchase("a"), purchase("b"), purchase("b")], key=till)
    await api.post(purchase("c", source="brand.web"), key=till)
    await api.post(purchase("d", source="brand.web", properties={}))  # refused: still a sender
    await api.post(purchase("e", eventType="app_opened", properties={}, source="brand.app"))
    found = await registry.gql.data(
        '{ eventType(name: "purchase_completed") { senders { source events keys { name } } } }'
    )
    senders = found["eventType"]["senders"]
    assert [(sender["source"], sender["events"]) for sender in senders] == [
        ("brand.pos", 3),
        ("brand.web", 2),
    ]
    assert [[key["name"] for key in sender["keys"]] for sender in senders] == [
        ["till-17"],
        ["test", "till-17"],
    ]


LIST = """
query ($search: String, $statuses: [EventTypeStatus!], $first: Int! = 50, $after: String) {
  eventTypes(search: $search, statuses: $statuses, first: $first, after: $after) {
    nodes { name } pageInfo { hasNextPage endCursor }
  }
}
"""


async def names(registry: Registry, **variables: Any) -> list[str]:
    found = (await registry.gql.data(LIST, variables))["eventTypes"]
    return [node["name"] for node in found["nodes"]]


async def test_event_types_are_listed_by_name_page_by_page(registry: Registry) -> None:
    everything = await names(registry)
    assert len(everything) == 12
    assert everything == sorted(everything)
    pages: list[str] = []
    after = None
    while True:
        found = (await registry.gql.data(LIST, {"first": 5, "after": after}))["eventTypes"]
        pages += [node["name"] for node in found["nodes"]]
        after = found["pageInfo"]["endCursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
    assert pages == everything


async def test_event_types_are_found_by_their_texts_and_status(registry: Registry) -> None:
    await registry.event_type("gift_card_sold", displayName="Voucher bought 100%")
    assert await names(registry, search="VOUCHER") == ["gift_card_sold"]
    assert await names(registry, search="100%") == ["gift_card_sold"]
    assert await names(registry, search="%") == ["gift_card_sold"]
    await registry.send(
        "retireEventType", name="gift_card_sold", expectedRevision=1, note="never used"
    )
    assert await names(registry, statuses=["RETIRED"]) == ["gift_card_sold"]


EVERYTHING = """
{ eventTypes(first: 14) { nodes {
    name currentVersion { number state document properties { path types } definitions { name } }
    versions(first: 2) { number state }
    drafts { id findings { rule } breakages { rule } eventType { name } }
    senders(first: 2) { source keys { id } }
} } }
"""


async def test_a_list_with_everything_costs_one_statement_a_kind(
    registry: Registry,
) -> None:
    for name in ("gift_card_sold", "gift_card_used"):
        await registry.event_type(name)
        await registry.published(name, document(value=NUMBER))
        await registry.draft(name, document(value=TEXT))
    found = (await registry.gql.data(EVERYTHING))["eventTypes"]["nodes"]
    assert len(found) == 14
    assert await statements_of(registry.gql.api, EVERYTHING) == 9


async def test_another_tenant_s_event_type_looks_like_none(api: Api, registry: Registry) -> None:
    stranger = await stranger_of(api)
    await registry.event_type("gift_card_sold")
    draft = await registry.draft("gift_card_sold", document(value=NUMBER))

    async def is_known() -> bool:
        return (await stranger.gql.post("{ __typename }", key=stranger.key)).status_code == 200

    await eventually(is_known)
    answer = await stranger.send(
        "describeEventType", name="gift_card_sold", expectedRevision=1, owner="me"
    )
    assert answer == {"__typename": "NotFound", "message": "there is no such event type"}
    assert await stranger.publish(draft) == {
        "__typename": "NotFound",
        "message": "there is no such draft",
    }
    found = await stranger.gql.data(
        'query ($id: ID!) { eventType(name: "gift_card_sold") { name } draft(id: $id) { id } '
        'changes(filter: {subject: "gift_card_sold"}) { nodes { action } } }',
        {"id": draft["id"]},
        key=stranger.key,
    )
    assert found == {"eventType": None, "draft": None, "changes": {"nodes": []}}


@pytest.mark.parametrize(
    ("query", "scope"),
    [
        ("{ eventTypes { nodes { name } } }", Scope.SCHEMA_READ),
        ("{ drafts { nodes { id } } }", Scope.SCHEMA_READ),
        ("{ changes { nodes { action } } }", Scope.SCHEMA_READ),
        (
            'mutation { createEventType(input: {name: "gift"}) { __typename } }',
            Scope.SCHEMA_WRITE,
        ),
        (
            'mutation { createDraft(input: {eventType: "gift", document: {}}) { __typename } }',
            Scope.SCHEMA_WRITE,
        ),
    ],
)
@pytest.mark.contract("4.20: scopes")
async def test_a_key_without_the_scope_is_refused(api: Api, query: str, scope: Scope) -> None:
    others = [one for one in Scope if one not in (scope, Scope.ADMIN)]
    key = await api.new_key(scopes=others)
    errors = await GraphQL(api).errors(query, key=key)
    assert errors == [("FORBIDDEN", f"the API key lacks the scope {scope}")]


async def stranger_of(api: Api) -> Registry:
    """An administrator of another tenant."""
    tenant_id = await access.create_tenant("stranger")
    key = await access.create_key(
        tenant_id, name="stranger", scopes=[Scope.ADMIN], environment="test"
    )
    return Registry(GraphQL(api), key.text)


async def revision(registry: Registry, name: str) -> int:
    found = await registry.gql.data(
        "query ($name: String!) { eventType(name: $name) { revision } }", {"name": name}
    )
    return int(found["eventType"]["revision"])
