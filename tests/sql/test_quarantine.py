"""Rejected items live as long as their tenant said, and no longer."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg

from app import clock
from app.access.queries import set_tenant
from app.db.pool import prepare_connection
from app.quarantine.filter import ItemState
from app.quarantine.queries import delete_expired
from app.quarantine.reading import discard, resolve
from tests.support import Api, eventually, purchase


async def test_items_are_deleted_when_the_time_set_by_their_tenant_is_over(api: Api) -> None:
    async def refuse(name: str) -> None:
        assert (await api.post(purchase(name, identity={}))).status_code == 422

    await refuse("thirty days")
    await set_tenant(api.tenant_id, {"quarantine_days": 3})

    async def is_known() -> bool:
        await refuse("three days")
        rows = await api.fetch(
            "select 1 from quarantine where expires_at = received_at + interval '3 days'"
        )
        return bool(rows)

    await eventually(is_known)
    connection = await asyncpg.connect(api.database_url)
    try:
        await delete_expired(connection, clock.now() + timedelta(days=2), 1000)
        kept = await api.fetch("select distinct external_event_id from quarantine order by 1")
        assert [row[0] for row in kept] == ["thirty days", "three days"]
        await delete_expired(connection, clock.now() + timedelta(days=4), 1000)
        kept = await api.fetch(
            "select external_event_id, expires_at - received_at as life from quarantine"
            " where expires_at > $1",
            clock.now() + timedelta(days=4),
        )
        assert {row["life"] for row in kept} == {timedelta(days=30)}
        left = await api.fetch("select count(*) as items from quarantine")
        assert left[0]["items"] == len(kept)
    finally:
        await connection.close()


async def test_what_was_resolved_while_a_discard_waited_is_left_as_it_is(api: Api) -> None:
    await api.results([purchase(f"r{n}", identity={}) for n in range(3)])
    items = [row[0].bytes for row in await api.fetch("select quarantine_id from quarantine")]
    replay = await asyncpg.connect(api.database_url)
    keeper = await asyncpg.connect(api.database_url)
    try:
        await prepare_connection(keeper)
        async with replay.transaction():
            await replay.execute(
                "update quarantine set resolution = 1, resolved_at = now()"
                f" where quarantine_id = '{items[0].hex()}'"
            )
            waiting = asyncio.create_task(discard(keeper, api.tenant_id, items, clock.now()))

            async def waits() -> bool:
                pid = keeper.get_server_pid()
                return bool((await api.fetch("select pg_blocking_pids($1)", pid))[0][0])

            await eventually(waits)
        assert await waiting == 2
        kept = await api.fetch("select quarantine_id from quarantine where payload is not null")
        assert [row[0].bytes for row in kept] == items[:1]
    finally:
        await replay.close()
        await keeper.close()


async def test_an_item_that_was_discarded_while_a_replay_delivered_it_has_its_event(
    api: Api,
) -> None:
    await api.results([purchase(f"r{n}", identity={}) for n in range(2)])
    delivered, given_up = sorted(
        row[0].bytes for row in await api.fetch("select quarantine_id from quarantine")
    )
    event_id = bytes(16)
    connection = await asyncpg.connect(api.database_url)
    try:
        await prepare_connection(connection)
        await discard(connection, api.tenant_id, [delivered, given_up], clock.now())
        for state in (ItemState.ACCEPTED, ItemState.DUPLICATE):  # the first answer stands
            await resolve(connection, api.tenant_id, [(delivered, state, event_id)], clock.now())
    finally:
        await connection.close()
    rows = await api.fetch("select resolution, event_key from quarantine order by quarantine_id")
    assert [row["resolution"] for row in rows] == [ItemState.ACCEPTED, ItemState.DISCARDED]
    assert (rows[0]["event_key"].bytes, rows[1]["event_key"]) == (event_id, None)


async def test_expired_items_are_deleted_in_bounded_steps(api: Api) -> None:
    await api.results([purchase(f"r{n}", identity={}) for n in range(5)])
    connection = await asyncpg.connect(api.database_url)
    try:
        late = clock.now() + timedelta(days=31)
        assert [await delete_expired(connection, late, 2) for _ in range(4)] == [2, 2, 1, 0]
    finally:
        await connection.close()
