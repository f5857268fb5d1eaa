"""Events by the values of their marked properties: every page in both orders, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from app.access import queries as access
from app.access.keys import Scope
from app.cli.starter import registry_folder
from app.ingest import by_property, reading
from app.registry.files import read_registry
from app.registry.service import apply_files
from tests.api.graphql.counting import statements_of
from tests.api.graphql.support import GraphQL, other_tenant
from tests.support import Api, purchase

PAGE = """
query ($filter: EventFilter, $order: EventOrder, $first: Int, $after: String) {
  events(filter: $filter, orderBy: $order, first: $first, after: $after) {
    nodes { externalEventId }
    pageInfo { hasNextPage endCursor }
  }
}
"""
BOUGHT = "purchase_completed"
LONG = "n" * 400
STORES = ["north", "south", LONG, LONG + "n", None]
COUPONS = [["A", "B"], ["B"], ["C", "A"], None]
EVENTS = 40

Properties = dict[str, Any]
Test = Callable[[Properties], bool]


def properties_of(n: int) -> Properties:
    """Of one of many purchases; None where it has none."""
    return {
        "amount": n % 7 + Decimal("0.1"),
        "store_id": STORES[n % 5],
        "coupon_codes": COUPONS[n % 4],
        "channel": "web" if n == 11 else None,
    }


def has(name: str, *items: str) -> Test:
    return lambda sent: any(item in (sent[name] or ()) for item in items)


def condition(property: str, **given: Any) -> dict[str, Any]:
    return {"property": f"/{property}", **given}


CONDITIONS: Sequence[tuple[list[dict[str, Any]], Test]] = [
    ([condition("store_id", equals="north")], lambda p: p["store_id"] == "north"),
    ([condition("store_id", equals=LONG)], lambda p: p["store_id"] == LONG),
    ([condition("store_id", equals="west")], lambda _: False),
    (
        [condition("store_id", **{"in": ["north", LONG, "north", "west"]})],
        lambda p: p["store_id"] in ("north", LONG),
    ),
    ([condition("store_id", exists=True)], lambda p: bool(p["store_id"])),
    ([condition("store_id", exists=False)], lambda p: not p["store_id"]),
    ([condition("store_id", range={"below": "o"})], lambda p: (p["store_id"] or "z") < "o"),
    ([condition("channel", equals="web")], lambda p: bool(p["channel"])),
    ([condition("channel", exists=True)], lambda p: bool(p["channel"])),
    ([condition("amount", equals=3.1)], lambda p: p["amount"] == Decimal("3.1")),
    (
        [condition("amount", range={"atLeast": 1.1, "below": 5.1})],
        lambda p: Decimal("1.1") <= p["amount"] < Decimal("5.1"),
    ),
    ([condition("amount", range={"above": 6.1})], lambda _: False),
    ([condition("coupon_codes", equals="A")], has("coupon_codes", "A")),
    ([condition("coupon_codes", **{"in": ["A", "B"]})], has("coupon_codes", "A", "B")),
    ([condition("coupon_codes", range={"atLeast": "A"})], has("coupon_codes", "A", "B", "C")),
    ([condition("coupon_codes", exists=True)], has("coupon_codes", "A", "B", "C")),
    (
        [condition("coupon_codes", equals="A"), condition("coupon_codes", equals="B")],
        lambda p: p["coupon_codes"] == ["A", "B"],
    ),
    (
        [condition("store_id", equals="north"), condition("amount", range={"atMost": 3})],
        lambda p: p["store_id"] == "north" and p["amount"] <= 3,
    ),
    (
        [condition("amount", range={"atMost": 3}), condition("store_id", exists=False)],
        lambda p: p["amount"] <= 3 and not p["store_id"],
    ),
    (
        [
            condition("store_id", exists=False),
            condition("coupon_codes", **{"in": ["B", "C"]}),
            condition("amount", range={"atLeast": 1}),
            condition("channel", exists=False),
        ],
        lambda p: not p["store_id"] and has("coupon_codes", "B", "C")(p) and p["amount"] >= 1,
    ),
]


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


async def buy(api: Api) -> None:
    """Some purchases: two sources, few people, and occurrences that are often equal."""
    for part in range(0, EVENTS, 10):
        items: list[object] = [
            purchase(
                f"e{n}",
                source=f"brand.{('pos', 'web')[n % 2]}",
                identity={"externalUserId": f"C{n % 3}"},
                occurredAt=f"2026-05-{n * 7 % 5 + 1:02d}T00:00:00Z",
                properties={"order_id": f"o{n}", "currency": "EUR"}
                | {name: value for name, value in _sent(n).items() if value is not None},
            )
            for n in range(part, part + 10)
        ]
        assert {r["status"] for r in await api.results(items)} == {"accepted"}


def _sent(n: int) -> Properties:
    return properties_of(n) | {"amount": float(properties_of(n)["amount"])}


async def expected(api: Api, order: str, passes: Test, more: str = "true") -> list[str]:
    """The events that pass a test, by a plain query and in plain Python."""
    at = "received_at" if order == "RECEIVED" else "occurred_at"
    rows = await api.fetch(
        "select e.external_event_id from event e join source s on s.id = e.source_id"
        f" where {more} order by e.{at} desc, e.event_key desc"
    )
    names = [row["external_event_id"] for row in rows]
    return [name for name in names if passes(properties_of(int(name[1:])))]


async def listed(gql: GraphQL, first: int, order: str | None = None, **filter: Any) -> list[str]:
    """All pages of a list, to its end."""
    seen: list[str] = []
    after = None
    for _ in range(3 * EVENTS):
        variables = {"filter": filter, "order": order, "first": first, "after": after}
        page = (await gql.data(PAGE, variables))["events"]
        assert len(page["nodes"]) <= first
        seen += [node["externalEventId"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return seen
    raise AssertionError("the list has no end")


@pytest.mark.parametrize("scanned", [10_000, 4])
async def test_pages_together_are_the_events_that_meet_the_conditions(
    api: Api, gql: GraphQL, monkeypatch: pytest.MonkeyPatch, scanned: int
) -> None:
    """Where a page may look at all values of a condition, and where it may not."""
    monkeypatch.setattr(reading, "SCANNED_ROWS", scanned)
    monkeypatch.setattr(by_property, "SCANNED_ROWS", scanned)
    await buy(api)
    for order in ("OCCURRED", "RECEIVED"):
        for conditions, passes in CONDITIONS:
            wanted = await expected(api, order, passes)
            for first in (1, 50):
                found = await listed(gql, first, order, type=BOUGHT, properties=conditions)
                assert found == wanted, (order, conditions, first)


@pytest.mark.parametrize("scanned", [10_000, 4])
async def test_conditions_go_with_every_other_filter(
    api: Api, gql: GraphQL, monkeypatch: pytest.MonkeyPatch, scanned: int
) -> None:
    monkeypatch.setattr(reading, "SCANNED_ROWS", scanned)
    monkeypatch.setattr(by_property, "SCANNED_ROWS", scanned)
    await buy(api)
    [[profile]] = await api.fetch("select profile_id from event where external_event_id = 'e0'")
    days = {"since": "2026-05-02T00:00:00Z", "until": "2026-05-04T00:00:00Z"}
    others: Sequence[tuple[dict[str, Any], str]] = [
        ({"source": "brand.web"}, "s.name = 'brand.web'"),
        ({"schemaVersion": 2, "hasWarnings": False}, "true"),
        ({"hasWarnings": True}, "false"),
        ({"occurred": days}, "e.occurred_at >= '2026-05-02Z' and e.occurred_at < '2026-05-04Z'"),
        ({"profile": f"prf_{profile.hex}"}, f"e.profile_id = '{profile.hex}'"),
    ]
    for conditions, passes in CONDITIONS:
        for filter, more in others:
            wanted = await expected(api, "OCCURRED", passes, more)
            found = await listed(gql, 3, type=BOUGHT, properties=conditions, **filter)
            assert found == wanted, (conditions, filter)


async def test_events_are_found_by_truth(api: Api, gql: GraphQL) -> None:
    for n, first_contact in enumerate((True, False, None)):
        properties: Properties = {"ticket_id": f"t{n}", "topic": "delivery"}
        if first_contact is not None:
            properties["first_contact"] = first_contact
        ticket = purchase(f"e{n}", eventType="support_ticket_opened", properties=properties)
        assert (await api.post(ticket)).status_code == 202
    for given, wanted in (
        ({"equals": True}, ["e0"]),
        ({"equals": False}, ["e1"]),
        ({"in": [False, True]}, ["e1", "e0"]),
        ({"exists": False}, ["e2"]),
    ):
        conditions = [condition("first_contact", **given)]
        found = await listed(gql, 50, type="support_ticket_opened", properties=conditions)
        assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize(
    ("filter", "order", "message"),
    [
        (
            {"properties": [condition("amount", equals=1)]},
            None,
            "filter.properties needs filter.type: properties are an event type's",
        ),
        (
            {"type": BOUGHT, "properties": [condition("order_id", equals="o1")]},
            None,
            "filter.properties: /order_id of purchase_completed is not segmentable: call"
            ' markSegmentable(eventType: "purchase_completed", path: "/order_id")',
        ),
        (
            {"type": BOUGHT, "properties": [condition("amount", equals="1")]},
            None,
            "filter.properties.0.equals: must be a number, as the property is",
        ),
        (
            {
                "type": BOUGHT,
                "properties": [
                    condition("amount", equals=1),
                    condition("store_id", **{"in": ["a", 7]}),
                ],
            },
            None,
            "filter.properties.1.in.1: must be a text, as the property is",
        ),
        (
            {"type": BOUGHT, "properties": [condition("amount")]},
            None,
            "filter.properties.0: give exactly one of equals, in, range and exists",
        ),
        (
            {"type": BOUGHT, "properties": [condition("amount", equals=1)] * 6},
            None,
            "filter.properties: 5 conditions at most",
        ),
        (
            {"type": BOUGHT, "received": {}, "properties": [condition("amount", equals=1)]},
            None,
            "filter.received goes with orderBy RECEIVED; use filter.occurred",
        ),
    ],
)
async def test_conditions_that_cannot_be_met_are_refused_with_the_reason(
    gql: GraphQL, filter: dict[str, Any], order: str | None, message: str
) -> None:
    errors = await gql.errors(PAGE, {"filter": filter, "order": order})
    assert errors == [("BAD_USER_INPUT", message)]


async def test_a_property_that_is_being_built_says_how_far_it_is(api: Api, gql: GraphQL) -> None:
    await api.fetch(
        "update segment_property set state = 'BUILDING', known_at = now() + interval '1 hour',"
        " next_at = now() + interval '1 hour', events_scanned = 37, events_total = 100"
        " where name = 'amount' returning id"
    )
    filter = {"type": BOUGHT, "properties": [condition("amount", equals=1)]}
    assert await gql.errors(PAGE, {"filter": filter}) == [
        (
            "BAD_USER_INPUT",
            "filter.properties: /amount of purchase_completed is being built, 37% so far: ask again"
            " when it is READY",
        )
    ]


@pytest.mark.parametrize("pii", ["indirect", "direct"])
async def test_what_a_key_may_not_see_it_cannot_ask_about(api: Api, gql: GraphQL, pii: str) -> None:
    await buy(api)
    await api.fetch(
        "update segment_property set pii = $1 where name = 'store_id' returning id", pii
    )
    filter = {"type": BOUGHT, "properties": [condition("store_id", equals="north")]}
    reader = await api.new_key(scopes=[Scope.EVENTS_READ])
    assert await gql.errors(PAGE, {"filter": filter}, key=reader) == [
        (
            "FORBIDDEN",
            "filter.properties: /store_id is personal data: it needs a key with the scope pii:read",
        )
    ]
    trusted = await api.new_key(scopes=[Scope.EVENTS_READ, Scope.PII_READ])
    data = await gql.data(PAGE, {"filter": filter}, key=trusted)
    assert len(data["events"]["nodes"]) == EVENTS // 5


@pytest.mark.parametrize("filter", [{}, {"profile": True}])
async def test_unmarking_between_two_pages_is_a_refusal(
    api: Api, gql: GraphQL, filter: dict[str, Any]
) -> None:
    """First the storage is gone before that is known here; then it is known."""
    await buy(api)
    [(profile, mark_id)] = await api.fetch(
        "select e.profile_id, p.id from event e join segment_property p using (event_type_id)"
        " where e.external_event_id = 'e0' and p.name = 'store_id'"
    )
    if filter:
        filter = {"profile": f"prf_{profile.hex}"}
    conditions = [condition("store_id", exists=True)]
    variables: dict[str, Any] = {
        "filter": {"type": BOUGHT, "properties": conditions} | filter,
        "first": 2,
    }
    page = (await gql.data(PAGE, variables))["events"]
    assert page["pageInfo"]["hasNextPage"]
    variables["after"] = page["pageInfo"]["endCursor"]
    await api.fetch(f"drop table segment_value_{mark_id:d}")
    assert await gql.errors(PAGE, variables) == [
        ("BAD_USER_INPUT", "filter.properties: a property was unmarked in this moment")
    ]
    await api.fetch("delete from segment_property where id = $1 returning id", mark_id)
    [(code, message)] = await gql.errors(PAGE, variables)
    assert code == "BAD_USER_INPUT"
    assert message.startswith("filter.properties: /store_id of purchase_completed is not segment")


async def test_another_tenant_s_marks_lead_to_nobody_s_events(api: Api, gql: GraphQL) -> None:
    """The same type and property there are another mark, with values of its own."""
    await buy(api)
    filter = {"type": BOUGHT, "properties": [condition("store_id", exists=True)]}
    variables = {"filter": filter, "first": 200}
    without_types = await other_tenant()
    assert (await gql.data(PAGE, variables, key=without_types))["events"]["nodes"] == []
    same_types = await access.create_tenant("same-types")
    await apply_files(same_types, read_registry(registry_folder()), actor="test")
    await api.fetch("update segment_property set state = 'READY' returning id")
    stranger = await access.create_key(
        same_types, name="stranger", scopes=[Scope.ADMIN], environment="test"
    )
    assert (await gql.data(PAGE, variables, key=stranger.text))["events"]["nodes"] == []
    assert len((await gql.data(PAGE, variables))["events"]["nodes"]) == EVENTS * 4 // 5


async def test_conditions_take_the_same_statements_whatever_they_find(
    api: Api, gql: GraphQL
) -> None:
    """The type, its marks; a scan between begin, settings and commit, a count before it; rows."""
    query = """
    query ($properties: [ConditionInput!], $first: Int) {
      events(filter: {type: "purchase_completed", properties: $properties}, first: $first) {
        nodes { id properties }
      }
    }
    """
    await buy(api)
    for conditions, wanted in (
        ([condition("store_id", equals="north")], 7),
        ([condition("store_id", **{"in": STORES[:4]})], 7),
        ([condition("amount", range={"atLeast": 1})], 8),
        ([condition("store_id", equals="north"), condition("amount", equals=1.1)], 8),
    ):
        for first in (1, 200):
            variables = {"properties": conditions, "first": first}
            assert await statements_of(api, query, variables) == wanted, conditions
