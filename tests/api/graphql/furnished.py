"""Tenants with one of everything, and what theirs is called. Every name starts with their word.

What is made, is made over the API; only time is helped along: counters are moved into the past, so
that there are roll-ups of them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from app.access import queries as access
from app.access.keys import Scope
from app.db.pool import lent_pool
from app.stats.rollup import roll_up
from tests.api.graphql.names import Kind, phone_of, values_of
from tests.api.graphql.registry import NUMBER, TEXT, Registry
from tests.api.graphql.support import GraphQL
from tests.support import Api, eventually, move_counters_back


class Tenant(msgspec.Struct, frozen=True):
    word: str
    tenant_id: int
    key: str
    found: Any
    """The answer to NAMES."""

    @property
    def values(self) -> dict[Kind, list[Any]]:
        return values_of(self.word, self.found)


NAMES = """
query ($type: String!, $event: ID!) {
  event(id: $event) {
    id profile { id aliases events(first: 1) { pageInfo { endCursor } } }
  }
  events(first: 2) { nodes { id } pageInfo { endCursor } }
  profiles(first: 1, filter: {known: true}) { nodes { id aliases } pageInfo { endCursor } }
  quarantine(first: 2, state: OPEN) { nodes { id } pageInfo { endCursor } }
  quarantineReplays(first: 1) { nodes { id } pageInfo { endCursor } }
  impacts(eventType: $type, first: 1) { nodes { id } pageInfo { endCursor } }
  drafts(first: 2, states: [DRAFT, IN_REVIEW], eventType: $type) {
    nodes { id revision } pageInfo { endCursor }
  }
  deliveries(first: 1) { pageInfo { endCursor } }
  changes(first: 1) { pageInfo { endCursor } }
  apiKeys(first: 2) { nodes { id } pageInfo { endCursor } }
  sources(first: 1) { pageInfo { endCursor } }
  eventTypes(first: 1) { pageInfo { endCursor } }
  segmentProperties(first: 1) { pageInfo { endCursor } }
  identityConflicts(first: 1) { pageInfo { endCursor } }
  eventType(name: $type) { revision }
  deliveryHistory(id: $event) { later(first: 1) { pageInfo { endCursor } } }
}
"""


class Furnisher:
    """One tenant in the making."""

    def __init__(self, api: Api, word: str, key: str, tenant_id: int) -> None:
        self.api = api
        self.gql = GraphQL(api)
        self.word = word
        self.key = key
        self.tenant_id = tenant_id
        self.registry = Registry(self.gql, key)
        self.source, self.event_type = f"{word}.pos", f"{word}_bought"

    async def ask(self, query: str, **variables: Any) -> Any:
        return await self.gql.data(query, variables, key=self.key)

    async def ask_until(self, query: str, done: Callable[[Any], bool], **variables: Any) -> None:
        async def is_done() -> bool:
            return done(await self.ask(query, **variables))

        await eventually(is_done, 20)

    async def post(self, external_event_id: str, identity: Any = None, **changes: Any) -> Any:
        event = event_of(self.word, external_event_id) | changes
        event["identity"] = identity or {"deviceKey": f"{self.word}-device"}
        return (await self.api.post(event, key=self.key)).json()

    def document(self, unknown: str = "strip", **more: Any) -> dict[str, Any]:
        word = self.word
        properties = {
            f"{word}_store": TEXT,
            f"{word}_total": NUMBER,
            f"{word}_mail": TEXT | {"x-pii": "direct"},
            f"{word}_tags": {"type": "array", "items": TEXT, "default": [word]},
        }
        return {
            "type": "object",
            "description": f"what {word}s buy",
            "x-unknown-properties": unknown,
            "required": [f"{word}_store"],
            "properties": properties | more,
        }

    async def registered(self) -> None:
        """Versions, drafts in every state, a deprecated type, a mark; an event came too early."""
        word, registry = self.word, self.registry
        await self.post(f"{word}-early", eventType=f"{word}_left")
        for name in (self.event_type, f"{word}_left"):
            await registry.event_type(
                name, owner=f"{word} owner", description=f"{word}", displayName=f"{word} name"
            )
            await registry.published(name, self.document("reject"))
        await registry.published(
            self.event_type, self.document(**{f"{word}_tip": NUMBER}), reason=f"{word} reason"
        )
        deprecated = await registry.send(
            "deprecateEventType",
            name=f"{word}_left",
            expectedRevision=await self.revision(f"{word}_left"),
            sunsetAt=(datetime.now(UTC) + timedelta(days=30)).isoformat(),
            note=f"{word} note",
        )
        assert deprecated["__typename"] == "EventTypeChanged", deprecated
        breaking = self.document(**{f"{word}_store": NUMBER, f"{word}_total": TEXT})
        for mutation in ("submitDraft", "discardDraft", None):
            draft = await registry.draft(self.event_type, breaking, summary=f"{word} summary")
            if mutation:
                revision = draft["revision"]
                await registry.send(mutation, id=draft["id"], expectedRevision=revision)
        await self.ask(
            "mutation ($type: String!, $path: String!)"
            " { markSegmentable(eventType: $type, path: $path) { __typename } }",
            type=self.event_type,
            path=f"/{word}_store",
        )

    async def revision(self, name: str) -> Any:
        query = "query ($name: String!) { eventType(name: $name) { revision } }"
        return (await self.ask(query, name=name))["eventType"]["revision"]

    async def delivered(self) -> None:
        """Every outcome, a merge and a clash; items of a type nobody knows."""
        word, mail = self.word, {"email": f"anna@{self.word}.example"}
        phone = {"phone": phone_of(word)}
        for number in (1, 2, 3):
            await self.post(f"{word}-unknown-{number}", eventType=f"{word}_unknown")

        async def is_known() -> bool:
            answer = await self.post(f"{word}-1", mail | {"deviceKey": "n/a"})
            return answer.get("status") in ("accepted", "duplicate")

        await eventually(is_known)
        await self.post(f"{word}-2", phone)
        await self.post(f"{word}-3", mail | phone | {"externalUserId": f"{word}-L-1"})
        await self.post(f"{word}-4", mail | phone | {"externalUserId": f"{word}-L-2"})
        await self.post(f"{word}-5", {"deviceKey": f"{word}-device"})
        await self.post(f"{word}-1", mail | {"deviceKey": "n/a"})
        await self.post(f"{word}-1", mail, properties={f"{word}_store": f"{word} other"})
        await self.post(f"{word}-bad", mail, properties={f"{word}_total": f"{word} text"})

    async def governed(self) -> None:
        """A source's settings, keys, a proposal, a run, a discarded item and replays."""
        word = self.word
        await self.ask(
            "mutation ($input: SetSourceInput!) { setSource(input: $input) { __typename } }",
            input={"name": self.source, "owner": f"{word} owner", "defaultPhoneRegion": "DE"},
        )
        create = "mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) {"
        limited = {"sources": [self.source], "eventTypes": [self.event_type]}
        await self.ask(
            create + " ... on CreatedApiKey { key } } }",
            input={"name": f"{word} limited", "scopes": ["EVENTS_WRITE"], **limited},
        )
        await self.ask(
            "mutation ($type: String!) { proposeDraft(eventType: $type) { __typename } }",
            type=f"{word}_unknown",
        )
        [item] = (await self.ask("{ quarantine(first: 1) { nodes { id } } }"))["quarantine"][
            "nodes"
        ]
        await self.ask(
            "mutation ($ids: [ID!]) { discardQuarantine(ids: $ids) { __typename } }",
            ids=[item["id"]],
        )
        await self.ask(
            "mutation ($input: StartImpactInput!) { startImpact(input: $input) { __typename } }",
            input={
                "eventType": self.event_type,
                "document": self.document(**{f"{word}_store": NUMBER}),
            },
        )
        await self.ask("mutation { replayQuarantine(dryRun: false) { __typename } }")
        await self.ask_until(
            "query ($type: String!) {"
            " impacts(eventType: $type) { nodes { state } }"
            " quarantineReplays { nodes { state } }"
            " }",
            lambda data: all(data[name]["nodes"] == [{"state": "DONE"}] for name in data),
            type=self.event_type,
        )

    async def segmentable(self) -> None:
        """The storage of its mark is built, of events that no flush fed to it too."""
        await self.api.fetch(
            "update segment_property set known_at = now(), next_at = now() where tenant_id = $1",
            self.tenant_id,
        )
        await self.ask_until(
            "{ segmentProperties { nodes { state topValues { value } } } }",
            lambda data: all(
                node["state"] == "READY" and node["topValues"]
                for node in data["segmentProperties"]["nodes"]
            ),
        )
        # Measured for tomorrow, so that it is not measured again while somebody compares.
        await self.api.fetch(
            "update segment_property set measured_at = now() + interval '1 day'"
            " where tenant_id = $1",
            self.tenant_id,
        )

    async def rolled_up(self) -> None:
        """Its counters are those of two days ago, and summed up."""
        async with lent_pool().acquire() as connection:
            await move_counters_back(connection, self.tenant_id, timedelta(days=2))

        async def is_summed_up() -> bool:
            await roll_up(lent_pool())
            return bool(
                await self.api.fetch(
                    "select 1 from ingest_stat_day where tenant_id = $1 limit 1", self.tenant_id
                )
            )

        await eventually(is_summed_up, 20)

    async def named(self) -> Any:
        [event] = await self.api.fetch(
            "select event_key from event where tenant_id = $1 and external_event_id = $2",
            self.tenant_id,
            f"{self.word}-1",
        )
        return await self.ask(NAMES, type=self.event_type, event=f"evt_{event['event_key'].hex}")


async def furnish(api: Api, word: str) -> Tenant:
    """A tenant of that name with one of everything."""
    tenant_id = await access.create_tenant(word)
    key = await access.create_key(
        tenant_id, name=f"{word} admin", scopes=[Scope.ADMIN], environment="test"
    )
    furnisher = Furnisher(api, word, key.text, tenant_id)
    await furnisher.registered()
    await furnisher.delivered()
    await furnisher.governed()
    await furnisher.segmentable()
    await furnisher.rolled_up()
    return Tenant(word, tenant_id, key.text, await furnisher.named())


async def under_way(api: Api, tenant: Tenant) -> None:
    """Its run is not finished, and no worker goes on with it: there is something to cancel."""
    await api.fetch(
        "update impact_run set state = 'RUNNING', finished_at = null,"
        " claimed_until = now() + interval '1 day' where tenant_id = $1",
        tenant.tenant_id,
    )


def event_of(word: str, external_event_id: str) -> dict[str, Any]:
    return {
        "source": f"{word}.pos",
        "externalEventId": external_event_id,
        "eventType": f"{word}_bought",
        "occurredAt": f"2026-05-20T12:45:{ord(word[0]) % 60:02}Z",
        "properties": {
            f"{word}_store": f"{word} store",
            f"{word}_total": 12.5,
            f"{word}_mail": f"anna@{word}.example",
            f"{word}_extra": f"{word} extra",
        },
    }


async def contents(api: Api, tenant: Tenant) -> dict[str, str]:
    """A digest of a tenant's rows in each table; all tables have some."""
    tables = await api.fetch(
        "select c.table_name as name from information_schema.columns c"
        " join pg_class p on p.oid = c.table_name::regclass"
        " where c.table_schema = 'public' and c.column_name = 'tenant_id' and not p.relispartition"
        " and c.table_name <> 'ingest_stat_progress'"  # the clock's
    )
    assert tables
    found = {}
    for table in [table["name"] for table in tables] + ["tenant"]:
        column = "id" if table == "tenant" else "tenant_id"
        [row] = await api.fetch(
            f"select md5(string_agg(t::text, chr(10) order by t::text)) as digest from {table} t"
            f" where {column} = $1",
            tenant.tenant_id,
        )
        assert row["digest"], f"add a row of {table} to tests/api/graphql/furnished.py"
        found[table] = row["digest"]
    return found
