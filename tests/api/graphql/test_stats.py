"""Stats over GraphQL: exact while load runs, told apart as asked, each tenant its own."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.access.keys import Scope
from app.stats import reading
from tests.api.graphql.counting import statements_of
from tests.api.graphql.support import GraphQL, other_tenant
from tests.support import Api, purchase

STATS = """
query ($received: TimeWindow, $step: StatsStep!, $zone: String! = "UTC",
       $groupBy: [StatsGroupBy!], $filter: StatsFilter, $first: Int! = 20) {
  stats(received: $received, step: $step, timeZone: $zone, groupBy: $groupBy, filter: $filter,
        first: $first) {
    starts total perSecond groups
    series { source eventType outcome reason total perSecond events }
  }
}
"""
ERRORS = "{ topErrors { reason source eventType events } }"
FRESHNESS = """
query ($filter: StatsFilter, $silentOnly: Boolean! = false) {
  freshness(filter: $filter, silentOnly: $silentOnly) {
    source eventType lastEventAt knownSince usualGapSeconds state silentSince
  }
}
"""
LAG = "query ($filter: StatsFilter) { lag(filter: $filter) { events p50Seconds p95Seconds } }"


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


async def stats(gql: GraphQL, key: str | None = None, **asked: Any) -> dict[str, Any]:
    answer = await gql.data(STATS, {"step": "WHOLE"} | asked, key=key)
    found: dict[str, Any] = answer["stats"]
    return found


async def deliver_some(api: Api) -> None:
    """Two accepted, one of them from brand.crm; one duplicate, one conflict, two rejected."""
    properties = purchase("x")["properties"]
    await api.results(
        [
            purchase("a"),
            purchase("b", source="brand.crm"),
            purchase("a"),
            purchase("a", properties=properties | {"amount": 1}),
            purchase("c", eventType="nonsense"),
            purchase("d", properties={}),
        ]
    )


async def test_series_are_told_apart_as_asked(api: Api, gql: GraphQL) -> None:
    await deliver_some(api)
    found = await stats(gql, groupBy=["OUTCOME", "REASON"])
    assert [(s["outcome"], s["reason"], s["total"], s["events"]) for s in found["series"]] == [
        ("ACCEPTED", "", 2, [2]),
        ("DUPLICATE", "", 1, [1]),
        ("CONFLICT", "", 1, [1]),
        ("REJECTED", "event_type_unregistered", 1, [1]),
        ("REJECTED", "property_missing", 1, [1]),
    ]
    assert (found["total"], found["groups"]) == (6, 5)
    assert {s["source"] for s in found["series"]} == {None}
    by_source = await stats(gql, groupBy=["SOURCE", "EVENT_TYPE"], first=1)
    assert [(s["source"], s["eventType"], s["total"]) for s in by_source["series"]] == [
        ("brand.pos", "purchase_completed", 4)
    ]
    assert by_source["groups"] == 3
    only = {"sources": ["brand.crm"], "outcomes": ["ACCEPTED", "DUPLICATE"]}
    assert (await stats(gql, filter=only))["total"] == 1
    assert (await stats(gql, filter={"eventTypes": [""]}))["total"] == 1
    assert (await stats(gql, filter={"sources": ["nobody"]}))["total"] == 0


async def test_steps_begin_where_the_zone_s_clock_says(api: Api, gql: GraphQL) -> None:
    await deliver_some(api)
    now = clock.now()
    received = {"since": (now - timedelta(hours=3)).isoformat(), "until": now.isoformat()}
    found = await stats(gql, step="HOUR", zone="Asia/Kolkata", received=received)
    assert {start[14:16] for start in found["starts"]} == {"30"}
    (series,) = found["series"]
    assert series["events"] == [0] * (len(found["starts"]) - 2) + [6]
    day = await stats(gql, step="DAY", zone="Europe/Berlin", received=received)
    assert sum(day["series"][0]["events"]) == 6
    assert day["perSecond"] > 0


async def test_counts_are_those_of_the_rows_at_any_moment_while_load_runs(
    api: Api, gql: GraphQL
) -> None:
    """What was answered before the question is in the answer, and nothing twice."""
    answered = sent = 0

    async def load(number: int) -> None:
        nonlocal answered, sent
        for batch in range(10):
            items = [purchase(f"e{number}-{batch}-{n % 15}") for n in range(20)]
            sent += len(items)
            await api.results(items)  # type: ignore[arg-type]
            answered += len(items)

    running = [asyncio.create_task(load(number)) for number in range(3)]
    while not all(task.done() for task in running):
        at_least = answered
        total = (await stats(gql))["total"]
        assert at_least <= total <= sent
    await asyncio.gather(*running)
    found = await stats(gql, groupBy=["OUTCOME"])
    rows = await api.fetch("select (select count(*) from event), (select count(*) from delivery)")
    assert {s["outcome"]: s["total"] for s in found["series"]} == {
        "ACCEPTED": rows[0][0],
        "DUPLICATE": rows[0][1],
    }
    assert found["total"] == sent


async def test_the_top_errors_name_source_type_and_reason(api: Api, gql: GraphQL) -> None:
    await deliver_some(api)
    await api.post(purchase("e", properties={}))
    assert (await gql.data(ERRORS))["topErrors"] == [
        {
            "reason": "property_missing",
            "source": "brand.pos",
            "eventType": "purchase_completed",
            "events": 2,
        },
        {
            "reason": "event_type_unregistered",
            "source": "brand.pos",
            "eventType": "",
            "events": 1,
        },
    ]


async def test_freshness_says_when_each_source_last_delivered(api: Api, gql: GraphQL) -> None:
    await deliver_some(api)
    found = (await gql.data(FRESHNESS))["freshness"]
    assert [(f["source"], f["eventType"]) for f in found] == [
        ("brand.crm", "purchase_completed"),
        ("brand.pos", "purchase_completed"),
    ]
    assert {f["silentSince"] for f in found} == {f["usualGapSeconds"] for f in found} == {None}
    assert {f["state"] for f in found} == {"DELIVERING"}
    assert [f["knownSince"] for f in found] == [f["lastEventAt"] for f in found]
    crm = await gql.data(FRESHNESS, {"filter": {"sources": ["brand.crm"]}})
    assert [f["source"] for f in crm["freshness"]] == ["brand.crm"]
    await api.fetch(
        "insert into ingest_freshness select bucket, tenant_id, source_id, event_type_id,"
        " minute, 900 from ingest_stat where outcome = 1 limit 1"
    )
    await api.fetch("update ingest_stat set minute = minute - interval '2 hours'")
    await api.fetch("update ingest_freshness set last_minute = last_minute - interval '2 hours'")
    silent = (await gql.data(FRESHNESS, {"silentOnly": True}))["freshness"]
    assert [(f["usualGapSeconds"], f["state"]) for f in silent] == [(900, "SILENT")]
    assert silent[0]["silentSince"] == silent[0]["lastEventAt"]


async def test_the_lag_is_of_events_that_said_when_they_happened(api: Api, gql: GraphQL) -> None:
    now = clock.now()
    for number, seconds in enumerate([10, 20, 30, 1000]):
        occurred = (now - timedelta(seconds=seconds)).isoformat()
        await api.post(purchase(f"l{number}", occurredAt=occurred))
    without = purchase("none")
    del without["occurredAt"]
    await api.post(without)
    lag = (await gql.data(LAG))["lag"]
    assert lag["events"] == 4
    assert lag["p50Seconds"] == pytest.approx(20, abs=10)
    assert lag["p95Seconds"] == pytest.approx(1000, abs=10)
    nobody = (await gql.data(LAG, {"filter": {"sources": ["nobody"]}}))["lag"]
    assert nobody == {"events": 0, "p50Seconds": None, "p95Seconds": None}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"zone": "Mars/Olympus"}, "timeZone is no name of the IANA database"),
        ({"zone": "../etc/passwd"}, "timeZone is no name of the IANA database"),
        ({"zone": "\0"}, "timeZone is no name of the IANA database"),
        (
            {"step": "MINUTE", "received": {"since": "2020-01-01T00:00:00Z"}},
            "a chart has 2,000 steps at most: ask for longer steps or for less",
        ),
        (
            {"received": {"since": "2021-01-01T00:00:00Z", "until": "2020-01-01T00:00:00Z"}},
            "received ends before it begins",
        ),
        ({"first": 201}, "first must be 1 to 200"),
    ],
)
async def test_what_no_chart_can_be_is_refused(
    gql: GraphQL, asked: dict[str, Any], message: str
) -> None:
    assert await gql.errors(STATS, {"step": "HOUR"} | asked) == [("BAD_USER_INPUT", message)]


@pytest.mark.parametrize("field", ["topErrors", "freshness", "lag"])
async def test_outcomes_are_refused_where_they_would_not_be_heeded(
    gql: GraphQL, field: str
) -> None:
    query = f"{{ {field}(filter: {{ outcomes: [ACCEPTED] }}) {{ __typename }} }}"
    assert await gql.errors(query) == [("BAD_USER_INPUT", "filter.outcomes is for stats only")]


async def test_a_chart_of_too_many_counts_is_refused_before_it_is_drawn(
    api: Api, gql: GraphQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver_some(api)
    monkeypatch.setattr(reading, "MAX_POINTS", 4)
    assert (await stats(gql, groupBy=["OUTCOME"]))["groups"] == 4
    asked = {"step": "WHOLE", "groupBy": ["REASON", "OUTCOME"]}
    ((code, message),) = await gql.errors(STATS, asked)
    assert code == "BAD_USER_INPUT"
    assert message.startswith("a chart has 4 counts at most")


async def test_the_widest_stretches_do_no_harm(gql: GraphQL) -> None:
    ever = {"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"}
    assert (await stats(gql, received=ever))["total"] == 0
    for step in ("MINUTE", "HOUR", "DAY"):
        ((code, _),) = await gql.errors(STATS, {"step": step, "received": ever})
        assert code == "BAD_USER_INPUT"
        for edge in ("0001-01-01T00:00:00Z", "9999-12-30T23:00:00Z"):
            only = {"since": edge, "until": edge}
            for zone in ("Asia/Tokyo", "America/New_York"):
                assert (await stats(gql, step=step, received=only, zone=zone))["total"] == 0


async def test_another_tenant_s_deliveries_are_not_counted(api: Api, gql: GraphQL) -> None:
    await deliver_some(api)
    other = await other_tenant()
    assert (await stats(gql, key=other))["total"] == 0
    named = {"sources": ["brand.pos"]}
    assert (await stats(gql, key=other, filter=named, groupBy=["SOURCE"]))["series"] == []
    assert (await gql.data(ERRORS, key=other))["topErrors"] == []
    assert (await gql.data(FRESHNESS, key=other))["freshness"] == []
    assert (await gql.data(LAG, key=other))["lag"]["events"] == 0


async def test_stats_need_their_scope(api: Api, gql: GraphQL) -> None:
    reader = await api.new_key(scopes=[Scope.EVENTS_READ, Scope.SCHEMA_READ])
    for query in (STATS, ERRORS, FRESHNESS, LAG):
        ((code, _),) = await gql.errors(query, {"step": "HOUR"}, key=reader)
        assert code == "FORBIDDEN"


async def test_the_number_of_statements_does_not_depend_on_what_is_told_apart(api: Api) -> None:
    await deliver_some(api)
    assert await statements_of(api, STATS, {"step": "HOUR"}) == 4
    groups = ["SOURCE", "EVENT_TYPE", "OUTCOME", "REASON"]
    assert await statements_of(api, STATS, {"step": "HOUR", "groupBy": groups}) == 4
    assert await statements_of(api, ERRORS) == 4
    assert await statements_of(api, FRESHNESS) == 3
    assert await statements_of(api, LAG) == 3
