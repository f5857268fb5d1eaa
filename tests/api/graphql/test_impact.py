"""Impact before publishing over GraphQL: who may ask for what, and what is answered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import graphql
import msgspec
import pytest

from app.access import queries as access
from app.access.keys import Scope
from app.api.graphql.schema import build_schema
from tests.api.graphql.counting import statements_of
from tests.api.graphql.impact import ASK, DRAFT, FIGURES, START, ask, finish, start
from tests.api.graphql.support import GraphQL
from tests.support import Api, purchase

CANCEL = """
mutation ($id: ID!) {
  cancelImpact(id: $id) { __typename ... on ImpactCancelled { impact { id state } } }
}
"""
NEWEST = "select run_id from impact_run order by requested_at desc limit 1"
GUIDE = Path(__file__).parents[3] / "docs" / "impact.md"
BROKEN = {"type": "object", "properties": {"a": {"type": "text"}}}


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


async def test_a_draft_is_judged_by_its_document_for_its_event_type(api: Api, gql: GraphQL) -> None:
    (row,) = await api.fetch(
        "insert into event_type_draft (tenant_id, event_type_id, document, based_on, authors,"
        " created_at, changed_at) select 1, id, $1, 1, '{x}', now(), now() from event_type"
        " where name = 'purchase_completed' returning id",
        msgspec.json.encode(DRAFT).decode(),
    )
    await api.results([purchase("x", properties={"order_id": "1", "amount": 1, "currency": "USD"})])
    impact = await finish(gql, eventType=None, document=None, draftId=str(row["id"]))
    assert (impact["eventType"], impact["events"]["newlyFailing"]) == ("purchase_completed", 1)


@pytest.mark.parametrize(
    ("given", "path", "rule"),
    [
        ({"lastDays": 0}, "/lastDays", "range"),
        ({"lastDays": 366}, "/lastDays", "range"),
        ({"maxEvents": 0}, "/maxEvents", "range"),
        ({"maxEvents": 1_000_001}, "/maxEvents", "range"),
        ({"draftId": "1"}, "/draftId", "one_of"),
        ({"eventType": None}, "/eventType", "event_type_name"),
        ({"eventType": "No Name"}, "/eventType", "event_type_name"),
        ({"document": None}, "/document", "schema_not_object"),
        ({"document": {}}, "/document", "root_type"),
        ({"document": BROKEN}, "/document/properties/a/type", "keyword_value"),
    ],
)
async def test_what_cannot_be_judged_is_said_with_its_path(
    api: Api, gql: GraphQL, given: dict[str, Any], path: str, rule: str
) -> None:
    answer = await start(gql, **given)
    assert answer == {"__typename": "Invalid", "problems": [{"path": path, "rule": rule}]}
    assert await api.fetch("select from impact_run") == []


async def test_a_retired_type_has_no_impact_and_runs_have_a_limit(api: Api, gql: GraphQL) -> None:
    await api.fetch("update event_type set status = 'RETIRED' where name = 'app_opened'")
    assert (await start(gql, eventType="app_opened"))["reason"] == "event_type_retired"
    await api.fetch(
        "insert into impact_run (run_id, tenant_id, event_type, version_ids, document, max_events,"
        " requested_by, requested_at, cursor_at, cursor_id, result, claimed_until)"
        " select gen_random_uuid(), 1, 'x', '{}', '{}', 1, 'x', now(), now(), gen_random_uuid(),"
        " '{}', now() + interval '1 hour' from generate_series(1, 5)"
    )
    answer = await start(gql)
    assert (answer["__typename"], answer["reason"]) == ("NotPermitted", "too_many_runs")
    await gql.data(CANCEL, {"id": f"imp_{(await api.fetch(NEWEST))[0]['run_id'].hex}"})
    assert (await start(gql))["__typename"] == "ImpactStarted"


async def test_runs_of_an_event_type_are_listed_newest_first(gql: GraphQL) -> None:
    started = [(await start(gql))["impact"]["id"] for _ in range(3)]
    query = """query ($after: String) {
      impacts(eventType: "purchase_completed", first: 2, after: $after) {
        nodes { id } pageInfo { hasNextPage endCursor }
      }
    }"""
    first = (await gql.data(query))["impacts"]
    second = (await gql.data(query, {"after": first["pageInfo"]["endCursor"]}))["impacts"]
    assert [node["id"] for node in first["nodes"] + second["nodes"]] == started[::-1]
    assert [p["pageInfo"]["hasNextPage"] for p in (first, second)] == [True, False]
    for name in ("x", "No \\u0000 name"):
        query = f'{{ impacts(eventType: "{name}") {{ nodes {{ id }} }} }}'
        assert await gql.data(query) == {"impacts": {"nodes": []}}


async def test_a_page_costs_the_same_statements_however_many_runs_it_has(
    api: Api, gql: GraphQL
) -> None:
    listed = f"""{FIGURES}
      query {{ impacts(eventType: "purchase_completed") {{ nodes {{ ...Figures }} }} }}"""
    none = await statements_of(api, listed)
    for _ in range(3):
        await start(gql)
    assert await statements_of(api, listed) == none


async def test_a_run_that_has_ended_stays_as_it_is_when_it_is_cancelled(gql: GraphQL) -> None:
    impact = await finish(gql)
    answer = await gql.data(CANCEL, {"id": impact["id"]})
    assert answer["cancelImpact"]["impact"] == {"id": impact["id"], "state": "DONE"}


def test_the_requests_in_the_guide_are_valid() -> None:
    blocks = re.findall(r"```graphql\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    schema = graphql.build_schema(build_schema().as_str())
    found = [graphql.validate(schema, graphql.parse(block)) for block in blocks]
    assert found == [[], []]


async def test_looking_and_starting_need_their_scopes(api: Api, gql: GraphQL) -> None:
    id = (await start(gql))["impact"]["id"]
    reader = await api.new_key(scopes=[Scope.SCHEMA_READ])
    assert (await ask(gql, id, key=reader))["id"] == id
    for query, variables in ((START, {"input": {}}), (CANCEL, {"id": id})):
        assert await gql.errors(query, variables, key=reader) == [
            ("FORBIDDEN", "the API key lacks the scope schema:write")
        ]
    writer = await api.new_key(scopes=[Scope.SCHEMA_WRITE])
    assert await gql.errors(ASK, {"id": id}, key=writer) == [
        ("FORBIDDEN", "the API key lacks the scope schema:read")
    ]


async def test_another_tenant_s_run_looks_like_none(api: Api, gql: GraphQL) -> None:
    id = (await start(gql))["impact"]["id"]
    other = await access.create_key(
        await access.create_tenant("other"), name="x", scopes=[Scope.ADMIN], environment="test"
    )
    for strange in (id, "imp_" + "0" * 32, "imp_1", "evt_" + id[4:]):
        assert await ask(gql, strange, key=other.text) is None
        assert await gql.data(CANCEL, {"id": strange}, key=other.text) == {
            "cancelImpact": {"__typename": "NotFound"}
        }
    listed = await gql.data(
        '{ impacts(eventType: "purchase_completed") { nodes { id } } }', key=other.text
    )
    assert listed == {"impacts": {"nodes": []}}
    draft = {"eventType": None, "document": None, "draftId": "1"}
    assert (await start(gql, key=other.text, **draft))["__typename"] == "NotFound"
