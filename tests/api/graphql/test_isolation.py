"""Another tenant's ids, names, keys and cursors find nothing, wherever the schema takes a value.

The schema is walked: all its fields and arguments, those of tomorrow too. What is answered for
something of another tenant's must be what is answered for something that exists nowhere.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, NamedTuple

import pytest
from graphql import GraphQLSchema

from app.db.pool import lent_pool
from tests.api.graphql.arguments import Call
from tests.api.graphql.furnished import Tenant, contents, event_of, furnish, under_way
from tests.api.graphql.names import Kind, Twin, texts_of
from tests.api.graphql.registry import Registry
from tests.api.graphql.sockets import Listener, are_in_force, connected, send, sender
from tests.api.graphql.support import GraphQL
from tests.api.graphql.walking import (
    ALIASES,
    Place,
    Selector,
    Walker,
    arguments_of,
    fields_of,
    given_by,
    places_of,
    read_schema,
    types_below,
    written,
)
from tests.conftest import Databases
from tests.support import Api, Seed, Service, eventually, service_in_process

# A field that fails has those beside it cancelled, and graphql-core awaits nothing of theirs below.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
OWNER, TWIN, STRANGER = "zebra", "zecko", "koala"


class World(NamedTuple):
    database: str
    seeded: Seed
    schema: GraphQLSchema
    owner: Tenant
    stranger: Tenant
    twin: Twin


async def build(database_url: str, seeded: Seed) -> tuple[GraphQLSchema, Tenant, Tenant]:
    async with service_in_process(database_url, seeded, refresh_seconds=0.06) as api:
        schema = await read_schema(GraphQL(api))
        # Ids of drafts are told apart from other numbers.
        await api.fetch("alter table event_type_draft alter column id restart with 770000001")
        owner, stranger = await asyncio.gather(furnish(api, OWNER), furnish(api, STRANGER))
        return schema, owner, stranger


@pytest.fixture(scope="module")
def world(databases: Databases, template: tuple[str, Seed]) -> Iterator[World]:
    name = databases.create(template[0])
    schema, owner, stranger = asyncio.run(build(databases.url(name), template[1]))
    yield World(name, template[1], schema, owner, stranger, Twin(OWNER, TWIN, owner.found))
    databases.drop(name)


@pytest.fixture
def database_url(databases: Databases, world: World) -> Iterator[str]:
    """A fresh database with what `world` has."""
    name = databases.create(world.database)
    yield databases.url(name)
    gc.collect()  # here, not in the middle of another test
    databases.drop(name)


_TYPE = re.compile('"__typename": "([^"]+)"')
WIPED = re.compile(
    r'"[0-9]+"|"[a-z2-7]{10}"|cdp_[a-z]+_[a-z2-7]{10}_[a-z2-7]{32}|[a-z]{3}_[0-9a-f]{32}'
    r"|20[0-9]{2}-[0-9]{2}-[0-9]{2}T[^\"]*"
    r'|"(?:scanned|scannedUntil|finishedAt|accepted|duplicate|conflict|rejected|failed)":'
    r' (?:[0-9]+|null|"[^"]*")|"state": "(?:RUNNING|DONE)"'
)
"""New ids, keys and times, and how far a replay is: no two mutations answer the same ones."""
wiped = partial(WIPED.sub, "<new>")
AT_ONCE = {"startImpact": 1, "replayQuarantine": 1}
"""Mutations of which a tenant can have a few under way."""
A_CONNECTION = 4
"""Subscriptions that one may have."""
NAMING = ("createEventType", "setSource")
"""After these a stranger has things of its own by the names that it gave: they are last."""


class Asked(NamedTuple):
    call: Call
    answer: Any
    twin: Any
    """The answer to the same with names that exist nowhere; None: there are no names in it."""


async def ask(
    walker: Walker, place: Place, calls: list[Call], twin: Twin, **how: Any
) -> list[Asked]:
    """Each call, and right behind it the same about what exists nowhere."""
    sent = []
    for call in calls:
        other = twin.of(call.arguments)
        sent += [call.arguments] if other == call.arguments else [call.arguments, other]
    answers = iter(await walker.answers(place, sent, walker.selector.level(place.type), **how))
    return [
        Asked(
            call,
            next(answers),
            None if twin.of(call.arguments) == call.arguments else next(answers),
        )
        for call in calls
    ]


def queries(world: World) -> list[Place]:
    return [place for place in places_of(world.schema) if place.operation == "query"]


def mutations(world: World) -> list[Place]:
    found = [place for place in places_of(world.schema) if place.operation == "mutation"]
    return sorted(found, key=lambda place: place.name in NAMING)


def subscriptions(world: World) -> list[Place]:
    return [place for place in places_of(world.schema) if place.operation == "subscription"]


def calls_of(place: Place, world: World) -> list[Call]:
    """All that a stranger can try: with the owner's things, and with them among its own."""
    caller, owner = place.caller, world.owner.values
    if place.operation == "subscription":
        return list(caller.alone(owner))
    mine = world.stranger.values
    if place.operation == "mutation":
        # Nothing of its own is changed: a second call would be answered otherwise.
        mine |= {Kind.TYPE_REVISION: [0], Kind.DRAFT_REVISION: [0]}
        mine[Kind.PROPERTY] = mine[Kind.PROPERTY][1:]
    return [*caller.own(owner), *caller.foreign(owner, mine)]


async def test_a_stranger_is_answered_as_if_nothing_were_there(api: Api, world: World) -> None:
    walker, twin = Walker(GraphQL(api), world.stranger.key), world.twin
    for place in queries(world):
        for call, answer, other in await ask(walker, place, calls_of(place, world), twin):
            where = place.name, call.arguments, answer
            assert not twin.seen(answer, call.arguments), where
            if other is not None:
                assert not twin.seen(other, None), where
                assert twin.blurred(answer) == twin.blurred(other), (*where, other)


async def test_a_stranger_s_mutations_change_nothing_of_another_tenant(
    api: Api, world: World
) -> None:
    walker, twin = Walker(GraphQL(api), world.stranger.key), world.twin
    await under_way(api, world.owner)
    before = await contents(api, world.owner)
    sent: set[str] = set()

    for place in mutations(world):
        calls = calls_of(place, world)
        sent.update(text for call in calls for text in texts_of(call.arguments))
        how = {
            "at_once": AT_ONCE.get(place.name, ALIASES),
            "before": partial(settle, world.stranger),
        }
        for call, answer, other in await ask(walker, place, calls, twin, **how):
            where = place.name, call.arguments, answer
            assert not twin.seen(answer, list(sent)), where
            if other is not None:
                assert wiped(twin.blurred(answer)) == wiped(twin.blurred(other)), (*where, other)
    assert await contents(api, world.owner) == before


async def test_the_owner_is_answered_otherwise_wherever_a_name_is_looked_for(
    api: Api, world: World
) -> None:
    """The walk is not blind."""
    walker, values = Walker(GraphQL(api), world.owner.key), world.owner.values
    looked_for, found = set(), set()
    for place in [*queries(world), *mutations(world)]:
        looked_for |= {leaf.coordinate for leaf in place.caller.leaves if leaf.is_looked_for}
        calls = [call for call in place.caller.own(values) if call.leaf and call.leaf.is_looked_for]
        how = {"before": partial(settle, world.owner)} if place.operation == "mutation" else {}
        for call, answer, other in await ask(walker, place, calls, world.twin, **how):
            if world.twin.blurred(answer) != world.twin.blurred(other):
                found.add(call.leaf.coordinate)
    assert looked_for - found == set()


async def test_a_stranger_s_own_things_lead_to_nothing_of_another_tenant(
    api: Api, world: World
) -> None:
    """All that can be selected, down to where types repeat; the owner sees each type that way."""
    stranger = Walker(GraphQL(api), world.stranger.key)
    owner = Walker(GraphQL(api), world.owner.key)
    shown: set[str] = set()
    for place in queries(world):
        if place.way:
            continue
        selection = stranger.selector.spanning(place.type)
        for tenant, walker in ((world.owner, owner), (world.stranger, stranger)):
            calls = [call.arguments for call in place.caller.plain(tenant.values)]
            for answer in await walker.answers(place, calls, selection, at_once=1):
                if tenant is world.owner:
                    shown |= set(_TYPE.findall(json.dumps(answer)))
                else:
                    assert not world.twin.seen(answer, None), (place.name, answer)
    assert types_below(world.schema.query_type) - shown == set()


async def test_a_stranger_who_listens_is_told_nothing(service: Service, world: World) -> None:
    """Whatever names it gives, while the owner of these names is told of its own deliveries."""
    asked = [(place, call) for place in subscriptions(world) for call in calls_of(place, world)]
    async with AsyncExitStack() as connections:

        async def listen(key: str, some: list[tuple[Place, Call]]) -> Listener:
            listener = await connections.enter_async_context(connected(service.url, key))
            for number, (place, call) in enumerate(some):
                query, variables = written(place, [call.arguments], Selector().level(place.type))
                await listener.subscribe(query, str(number), variables=variables)
            return listener

        strangers = [
            await listen(world.stranger.key, asked[start : start + A_CONNECTION])
            for start in range(0, len(asked), A_CONNECTION)
        ]
        owner = await listen(world.owner.key, asked[:1])
        client = await connections.enter_async_context(sender(service.url, world.owner.key))
        await eventually(partial(are_in_force, service.url, len(asked) + 1), 20)
        await send(client, event_of(OWNER, "live"), event_of(OWNER, "live"))
        assert world.twin.seen([await owner.message() for _ in range(2)], None)
        for stranger in strangers:
            assert await stranger.is_quiet(0.5)


def test_every_argument_is_walked_and_every_field_is_selected(world: World) -> None:
    given, selector = set[str](), Selector()
    for place in places_of(world.schema):
        for call in calls_of(place, world):
            given |= given_by(place, call.arguments)
        if place.operation == "query":
            selector.spanning(place.type)
        else:
            selector.level(place.type)
    walked = {(place.owner, place.name) for place in places_of(world.schema)} | selector.selected
    assert fields_of(world.schema) - walked == set()
    assert arguments_of(world.schema) - given == set()


async def test_a_stranger_s_event_of_the_same_key_is_another_event(api: Api, world: World) -> None:
    """Where it has registered the same type, too; the other tenant's events stay as they are."""
    registry = Registry(GraphQL(api), world.stranger.key)
    identity = {"email": f"anna@{OWNER}.example", "deviceKey": "n/a"}
    event = event_of(OWNER, f"{OWNER}-1") | {"identity": identity}
    await registry.event_type(event["eventType"])
    await registry.published(
        event["eventType"], {"type": "object", "x-unknown-properties": "strip"}
    )

    async def is_taken() -> bool:
        return (await api.post(event, key=world.stranger.key)).status_code in (200, 202)

    await eventually(is_taken)
    again = (await api.post(event, key=world.stranger.key)).json()
    assert again["status"] == "duplicate"
    assert again["original_event_id"] not in world.owner.values[Kind.EVENT]
    [other] = await api.fetch(
        "select count(*) as events, count(distinct event_key) as keys,"
        " count(distinct profile_id) as people from event where external_event_id = $1",
        f"{OWNER}-1",
    )
    assert dict(other) == {"events": 2, "keys": 2, "people": 2}
    mine = (await api.post(event, key=world.owner.key)).json()
    assert mine["original_event_id"] == world.owner.values[Kind.EVENT][0]


async def settle(tenant: Tenant) -> None:
    """What a tenant has under way is ended, so that no limit is met."""
    for statement in (
        "update impact_run set state = 'CANCELLED', finished_at = now()"
        " where tenant_id = $1 and finished_at is null",
        "update quarantine_replay set state = 'STOPPED', finished_at = now()"
        " where tenant_id = $1 and finished_at is null",
        "update event_type_draft set state = 'DISCARDED'"
        " where tenant_id = $1 and state in ('DRAFT', 'IN_REVIEW')",
    ):
        await lent_pool().execute(statement, tenant.tenant_id)
