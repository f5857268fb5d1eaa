"""The queries of docs/reading.md work as they stand, and find what they speak of."""

from __future__ import annotations

import re

import pytest

from scripts.generate_docs import ROOT
from tests.api.graphql.support import GraphQL
from tests.support import Api, purchase

PAGE = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```graphql\n(.*?)```", PAGE, re.DOTALL)


def name_of(query: str) -> str:
    """Its first field."""
    return re.findall(r"\b(\w+)[ ({]", query.partition("{")[2])[0]


@pytest.mark.parametrize("query", QUERIES, ids=name_of)
async def test_a_query_of_the_page_finds_something(api: Api, query: str) -> None:
    phone = {"phone": "+4915112345678"}
    email = {"email": "customer@example.com"}
    for event in (
        purchase("txn_1"),
        purchase("txn_2", identity=phone),
        purchase("txn_3", identity=email | phone),
        purchase("txn_1"),
        purchase("txn_1", occurredAt="2026-05-21T12:45:00Z"),
        purchase("txn_4", identity={"externalUserId": "L-2", "email": "customer@example.com"}),
    ):
        last = await api.post(event)
    [merged] = await api.fetch("select merged_id from profile_merge")
    variables = {"event": last.json()["event_id"], "profile": f"prf_{merged['merged_id'].hex}"}
    data = await GraphQL(api).data(query, variables)
    empty = [name for name, value in data.items() if value in (None, [], {"nodes": []})]
    assert empty == []
