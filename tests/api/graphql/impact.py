"""What tests of impact runs share: a document, how to ask, and the real replay to compare with."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from app import ids
from app.access import queries as access
from app.db.pool import prepare_connection
from app.ingest.decode import decode_event
from app.ingest.event import Event, Rejected
from app.ingest.judge import Clock, Judge
from app.registry.catalog import Catalog
from app.registry.queries import read_catalog
from tests.api.graphql.support import GraphQL
from tests.support import Api, eventually

FIGURES = """
fragment Figures on Impact {
  id eventType state scanned total strippedEvents lastDays maxEvents requestedBy
  events { scanned newlyFailing newlyPassing }
  quarantined { scanned newlyFailing newlyPassing }
  bySource { name newlyFailing newlyPassing }
  byRule { name newlyFailing newlyPassing }
  byPath { name newlyFailing newlyPassing }
  findings { change rule path items eventIds quarantineIds }
}
"""
START = (
    FIGURES
    + """
mutation ($input: StartImpactInput!) {
  startImpact(input: $input) {
    __typename
    ... on ImpactStarted { impact { ...Figures } }
    ... on Invalid { problems { path rule } }
    ... on NotFound { message }
    ... on NotPermitted { reason message }
  }
}
"""
)
ASK = FIGURES + "query ($id: ID!) { impact(id: $id) { ...Figures } }"

DRAFT: dict[str, Any] = {
    "type": "object",
    "required": ["order_id", "amount", "currency", "store_id"],
    "properties": {
        "order_id": {"type": "string"},
        "amount": {"type": "number", "maximum": 1000},
        "currency": {"type": "string", "enum": ["USD", "EUR"]},
        "store_id": {"type": "string"},
        "tip": {"type": "number", "minimum": 0},
        "line_items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["sku"],
                "properties": {
                    "sku": {"type": "string", "maxLength": 5},
                    "quantity": {"type": "integer"},
                    "unit_price": {"type": "number"},
                },
            },
        },
    },
}
"""Requires a store, knows tips, forgets channels, and limits amounts, currencies and SKUs."""


async def start(gql: GraphQL, key: str | None = None, **given: Any) -> Any:
    asked = {"eventType": "purchase_completed", "document": DRAFT} | given
    return (await gql.data(START, {"input": asked}, key=key))["startImpact"]


async def ask(gql: GraphQL, id: str, key: str | None = None) -> Any:
    return (await gql.data(ASK, {"id": id}, key=key))["impact"]


async def finish(gql: GraphQL, **given: Any) -> Any:
    """The whole figures of a run."""
    started = await start(gql, **given)
    assert started["__typename"] == "ImpactStarted", started
    impact = started["impact"]

    async def is_done() -> bool:
        nonlocal impact
        impact = await ask(gql, impact["id"])
        return bool(impact["state"] == "DONE")

    await eventually(is_done, 20)
    return impact


class Replay:
    """Judges all that is stored of one type again, with a registry as it is read for ingest."""

    def __init__(self, judge: Judge, principals: Any, sources: Any) -> None:
        self._judge = judge
        self._principals = {principal.key_id: principal for principal in principals.values()}
        self._sources = sources

    def reasons(self, key_id: int, raw: bytes) -> list[tuple[str, str]]:
        """(code, path) of each reason against an item as its key would deliver it today."""
        now = Clock.at(datetime.now(UTC))
        principal = self._principals[key_id]
        judged = self._judge.judge(decode_event(raw), raw, principal, self._sources, now)
        assert isinstance(judged, Event | Rejected)
        found = () if isinstance(judged, Event) else judged.violations
        return [(violation.code, violation.path) for violation in found]


async def replay_of(connection: asyncpg.Connection, tenant_id: int) -> Replay:
    catalog = Catalog()
    catalog.replace(tenant_id, await read_catalog(connection, tenant_id))
    return Replay(
        Judge(catalog),
        await access.read_principals(connection),
        await access.read_sources(connection, tenant_id),
    )


async def stored_items(connection: asyncpg.Connection, event_type: str) -> list[Any]:
    """(id, source, key id, bytes) of all events, as envelopes again, and of all refused items."""
    events = await connection.fetch(
        "select e.*, s.name as source from event e join source s on s.id = e.source_id"
        " join event_type t on t.id = e.event_type_id where t.name = $1",
        event_type,
    )
    refused = await connection.fetch(
        "select * from quarantine where event_type = $1 and resolution is null", event_type
    )
    return [
        *(
            (
                ids.encode(ids.EVENT_PREFIX, row["event_key"]),
                row["source"],
                row["api_key_id"],
                b'{"source":%b,"externalEventId":%b,"eventType":%b,"identity":%b,"properties":%b}'
                % (
                    *(
                        msgspec.json.encode(text)
                        for text in (row["source"], row["external_event_id"], event_type)
                    ),
                    row["identity"].encode(),
                    row["properties"].encode(),
                ),
            )
            for row in events
        ),
        *(
            (
                ids.encode(ids.QUARANTINE_PREFIX, row["quarantine_id"]),
                row["source"],
                row["api_key_id"],
                row["payload"],
            )
            for row in refused
        ),
    ]


async def publish(
    connection: asyncpg.Connection,
    event_type: str,
    document: dict[str, Any],
    grace: timedelta | None = None,
) -> None:
    """As the newest version, in the registry itself; grace: of the version before it."""
    if grace is not None:
        await connection.execute(
            "update event_type_version set accepted_until = now() + $1"
            " where (event_type_id, version) in (select t.id, max(version) from event_type t"
            " join event_type_version v on v.event_type_id = t.id where name = $2 group by t.id)",
            grace,
            event_type,
        )
    await connection.execute(
        "insert into event_type (tenant_id, name, created_at) values (1, $1, now())"
        " on conflict do nothing",
        event_type,
    )
    await connection.execute(
        "insert into event_type_version (tenant_id, event_type_id, version, document, checksum,"
        " published_at, published_by) select 1, t.id, 1 + (select count(*) from event_type_version"
        " where event_type_id = t.id), $2, '', now(), 'test' from event_type t where name = $1",
        event_type,
        msgspec.json.encode(document).decode(),
    )
    await connection.execute("update tenant set registry_revision = registry_revision + 1")


async def replay(api: Api, event_type: str, document: dict[str, Any]) -> dict[str, Any]:
    """The figures as they come out when the document is published and everything judged again."""
    connection = await asyncpg.connect(api.database_url)
    await prepare_connection(connection)
    try:
        stored = await stored_items(connection, event_type)
        before = await replay_of(connection, api.tenant_id)
        was = {id: before.reasons(key_id, raw) for id, _, key_id, raw in stored}
        await publish(connection, event_type, document)
        after = await replay_of(connection, api.tenant_id)
        will_be = {id: after.reasons(key_id, raw) for id, _, key_id, raw in stored}
    finally:
        await connection.close()
    return figures(stored, was, will_be)


def figures(stored: list[Any], was: dict[str, Any], will_be: dict[str, Any]) -> dict[str, Any]:
    """Counted with none of the code that is tested; a number in a path is an item of an array."""
    count: dict[str, Counter[Any]] = defaultdict(Counter)
    samples: dict[Any, set[str]] = defaultdict(set)
    for id, source, _, _ in stored:
        kind = "events" if id.startswith("evt_") else "quarantined"
        count[kind]["scanned"] += 1
        if bool(was[id]) == bool(will_be[id]):
            continue
        change = "newlyFailing" if will_be[id] else "newlyPassing"
        reasons = {
            (code, "/".join("*" if part.isdecimal() else part for part in path.split("/")))
            for code, path in will_be[id] or was[id]
        }
        count[kind][change] += 1
        count["bySource"][source, change] += 1
        for name in {code for code, _ in reasons}:
            count["byRule"][name, change] += 1
        for name in {path for _, path in reasons}:
            count["byPath"][name, change] += 1
        for reason in reasons:
            samples[change, *reason].add(id)
    return {"count": count, "samples": samples}


def assert_same(impact: dict[str, Any], real: dict[str, Any]) -> None:
    count, samples = real["count"], real["samples"]
    for kind in ("events", "quarantined"):
        names = ("scanned", "newlyFailing", "newlyPassing")
        assert impact[kind] == {name: count[kind][name] for name in names}
    for view in ("bySource", "byRule", "byPath"):
        found = {
            (row["name"], change): row[change]
            for row in impact[view]
            for change in ("newlyFailing", "newlyPassing")
            if row[change]
        }
        assert found == dict(count[view]), view
    assert {
        (finding["change"], finding["rule"], finding["path"]): finding["items"]
        for finding in impact["findings"]
    } == {
        ("NEWLY_FAILING" if change == "newlyFailing" else "NEWLY_PASSING", *reason): len(found)
        for (change, *reason), found in samples.items()
    }
    for finding in impact["findings"]:
        change = "newlyFailing" if finding["change"] == "NEWLY_FAILING" else "newlyPassing"
        shown = finding["eventIds"] + finding["quarantineIds"]
        assert set(shown) <= samples[change, finding["rule"], finding["path"]]
        assert len(shown) == len(set(shown)) == min(10, finding["items"])
