"""What is refused before anything is read, and how requests that are none are answered."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec
import pytest

from app.db.pool import Pool
from tests.api.graphql.support import GraphQL
from tests.support import Api, Seed, service_in_process


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


def nested(depth: int) -> str:
    return "{ __schema " + "{ types { fields { type " * depth + "{ name }" + " } } }" * depth + " }"


LOOP = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
BOMB = (
    "{ ...F0 } "
    + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(40))
    + " fragment F40 on Query { apiKeys(first: 200) { nodes { id } } }"
)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (nested(8), "depth"),
        ("{ " + " ".join(f"a{n}: apiKeys {{ nodes {{ id }} }}" for n in range(40)) + " }", "alias"),
        ("{ " + "__typename " * 4_000 + "}", "tokens"),
        ("{ " + "a { " * 700 + "b" + " }" * 700 + " }", "nested too deeply"),
        (LOOP, "itself"),
        (BOMB, "cost"),
        (
            "{ " + " ".join(f"a{n}: apiKeys(first: 200) {{ nodes {{ id name scopes status }} }}"
                            for n in range(25)) + " }",
            "cost",
        ),
        ("query ($n: Int!) { " + " ".join(
            f"a{n}: apiKeys(first: $n) {{ nodes {{ id name scopes status }} }}" for n in range(25)
        ) + " }", "cost"),
        ("{ " + "apiKeys(first: -9999999) @skip(if: true) { nodes { id } } "
         + " ".join(f"a{n}: apiKeys(first: 200) {{ nodes {{ id name scopes status }} }}"
                    for n in range(25)) + " }", "cost"),
        ("{ eventTypes(first: 200) { nodes { versions { properties { path } } } } }", "cost"),
        ("{ drafts(first: 200) { nodes { breakages { path } findings { path } } } }", "cost"),
        ("{ apiKeys(first: " + "9" * 30 + ") { nodes { id } } }", "32-bit"),
        ("{ apiKeys(first: 201) { nodes { id } } }", "first must be 1 to 200"),
        ("{ apiKeys(first: 0) { nodes { id } } }", "first must be 1 to 200"),
        ('{ apiKeys(after: "bm8") { nodes { id } } }', "not a cursor"),
        ("{ nothing }", "Cannot query field 'nothing'"),
        ("{", "Syntax Error"),
    ],
)  # fmt: skip
async def test_what_asks_for_too_much_or_for_nonsense_reads_nothing(
    gql: GraphQL, query: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(Pool, "acquire", refuse)
    errors = await gql.errors(query, {"n": 1})
    assert errors
    assert any(says in message for _, message in errors), errors


async def test_a_request_that_is_none_is_answered_like_every_other_error(
    api: Api, gql: GraphQL
) -> None:
    headers = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/json"}
    for body in (b"", b"{", b"[]", b'{"query": 1}', b'{"query": "{a}", "variables": []}', b"\xff"):
        answer = await api.client.post("/graphql", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "malformed_json")
    for query, name in (("", None), ("{ a }", "b"), ("subscription { a }", None),
                        ("query a { b } query c { d }", None),
                        ("fragment F on Query { a }", None)):  # fmt: skip
        body = msgspec.json.encode({"query": query, "operationName": name})
        answer = await api.client.post("/graphql", content=body, headers=headers)
        assert answer.status_code in (200, 400), (query, answer.text)
        assert "internal_error" not in answer.text and "INTERNAL" not in answer.text, answer.text
    long = await gql.post("{ __typename } #" + "x" * (64 << 10))
    assert (long.status_code, long.json()["error_code"]) == (413, "payload_too_large")
    large = await api.client.post("/graphql", content=b" " * (2 << 20), headers=headers)
    assert (large.status_code, large.json()["error_code"]) == (413, "payload_too_large")
    stranger = await gql.post("{ __typename }", key="cdp_test_aaaaaaaaaa_" + "a" * 32)
    assert (stranger.status_code, stranger.json()["error_code"]) == (401, "unauthorized")


async def test_a_value_that_no_database_knows_is_the_callers_mistake(gql: GraphQL) -> None:
    for query in ('{ source(name: "\\u0000") { name } }', '{ apiKey(id: "\\u0000") { name } }'):
        assert [code for code, _ in await gql.errors(query)] == ["BAD_USER_INPUT"]


async def test_a_mutation_is_not_taken_from_a_link(api: Api) -> None:
    answer = await api.client.get("/graphql?query=mutation{revokeApiKey(id:1){__typename}}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


async def test_a_statement_over_its_time_is_cancelled_and_the_caller_told(
    database_url: str, seeded: Seed
) -> None:
    connection = await asyncpg.connect(database_url)
    async with service_in_process(database_url, seeded, graphql_statement_seconds=0.2) as api:
        async with connection.transaction():
            await connection.execute("lock table event in access exclusive mode")
            errors = await GraphQL(api).errors("{ events { nodes { id } } }")
        assert errors == [("TOO_SLOW", "the database took too long: ask for less")]
        assert await GraphQL(api).data("{ events { nodes { id } } }") == {"events": {"nodes": []}}
    await connection.close()


async def test_schema_and_editor_can_be_switched_off(database_url: str, seeded: Seed) -> None:
    off: dict[str, Any] = {"graphql_introspection": False, "graphql_ide": False}
    async with service_in_process(database_url, seeded, **off) as api:
        errors = await GraphQL(api).errors("{ __schema { types { name } } }")
        assert any("introspection" in message.lower() for _, message in errors), errors
        page = await api.client.get("/graphql")
        assert page.status_code in (404, 405)
