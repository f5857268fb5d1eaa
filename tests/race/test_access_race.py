"""Keys and sources changed by several people at once: no change undoes another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.access import queries as access
from app.access.directory import Directory
from app.access.keys import NewKey, Principal, Scope
from app.db.pool import Connection, Pool, close_pool, open_pool
from app.refresher import Refresher
from app.registry.catalog import Catalog
from app.segments.marks import Marks
from tests.support import Seed, eventually, purchase, seed, service_in_process

REVOKE = "update api_key set revoked_at = now() where public_id = $1"
WAITING = (
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and wait_event_type = 'Lock'"
)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url, max_size=8)
    yield pool
    await close_pool(pool)


async def new_key(tenant_id: int, **changes: Any) -> str:
    key = await access.create_key(
        tenant_id, name="shop", scopes=[Scope.EVENTS_WRITE], environment="test", **changes
    )
    return key.public_id


async def rotate(tenant_id: int, public_id: str) -> NewKey | None:
    return await access.rotate_key(
        tenant_id, public_id, environment="test", grace=timedelta(hours=1)
    )


async def test_of_rotations_at_once_one_succeeds_and_the_old_key_leads_to_it(
    pool: Pool, seeded: Seed
) -> None:
    old = await new_key(seeded.tenant_id)
    answers = await asyncio.gather(*(rotate(seeded.tenant_id, old) for _ in range(6)))
    (new,) = [answer for answer in answers if answer]
    successor = await pool.fetchval(
        "select n.public_id from api_key o join api_key n on n.id = o.replaced_by"
        " where o.public_id = $1", old,
    )  # fmt: skip
    assert successor == new.public_id
    assert await pool.fetchval("select count(*) from api_key where name = 'shop'") == 2


async def test_a_rotation_does_not_undo_a_revocation(pool: Pool, seeded: Seed) -> None:
    old = await new_key(seeded.tenant_id)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(REVOKE, old)
        rotation = asyncio.create_task(rotate(seeded.tenant_id, old))

        async def is_waiting() -> bool:
            return bool(await pool.fetchval(WAITING))

        await eventually(is_waiting)
    assert await rotation is None
    found = await access.find_key(seeded.tenant_id, old)
    assert found is not None
    assert found.revoked_at is not None


async def test_an_expired_key_is_not_rotated(pool: Pool, seeded: Seed) -> None:
    expires_at = clock.now() - timedelta(seconds=1)
    old = await new_key(seeded.tenant_id, expires_at=expires_at)
    assert await rotate(seeded.tenant_id, old) is None
    found = await access.find_key(seeded.tenant_id, old)
    assert found is not None
    assert found.expires_at == expires_at


async def test_a_worker_knows_no_key_before_the_event_types_that_were_there_first(
    pool: Pool, database_url: str, seeded: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, catalog = Directory(), Catalog()
    refresher = Refresher(pool, directory, catalog, Marks())
    late: list[Seed] = []
    read_principals = access.read_principals

    async def read_when_another_tenant_is_there(connection: Connection) -> dict[str, Principal]:
        if not late:
            late.append(await seed(database_url, "late"))
        return await read_principals(connection)

    def knows(one: Seed) -> tuple[bool, bool]:
        """Its key, and what it may send."""
        return (
            directory.authenticate(one.key.encode(), clock.now()) is not None,
            catalog.find(one.tenant_id, "purchase_completed") is not None,
        )

    monkeypatch.setattr(access, "read_principals", read_when_another_tenant_is_there)
    await refresher.refresh()
    assert (knows(seeded), knows(late[0])) == ((True, True), (False, False))
    await refresher.refresh()
    assert (knows(seeded), knows(late[0])) == ((True, True), (True, True))


async def test_many_that_bring_one_new_source_ask_once_and_keep_no_other_tenant_waiting(
    pool: Pool, database_url: str, seeded: Seed
) -> None:
    other = await seed(database_url, "other")
    async with service_in_process(database_url, seeded) as api, pool.acquire() as connection:

        async def is_waiting() -> bool:
            return bool(await pool.fetchval(WAITING))

        async with connection.transaction():
            await connection.execute(access.SQL["lock_tenant"], seeded.tenant_id)
            posts = [
                asyncio.create_task(api.post(purchase(f"e{n}", source="brand.new")))
                for n in range(30)
            ]
            await eventually(is_waiting)
            answer = await api.post(purchase("e", source="brand.new"), key=other.key)
            waiting = await pool.fetchval(WAITING)
        await asyncio.gather(*posts)
    assert (answer.status_code, waiting) == (202, 1)


async def test_settings_of_a_source_made_at_once_are_all_there(pool: Pool, seeded: Seed) -> None:
    changes = {
        "status": "DISABLED",
        "on_mismatch": "DUPLICATE",
        "default_phone_region": "DE",
        "owner": "Shops",
    }
    for name in ("brand.new", "brand.new", "brand.other"):
        await asyncio.gather(
            *(
                access.set_source(seeded.tenant_id, name, {column: value})
                for column, value in changes.items()
            ),
            access.set_source(seeded.tenant_id, name, {}),
        )
        found = await access.find_source(seeded.tenant_id, name)
        assert found is not None
        assert {column: getattr(found, column) for column in changes} == changes
