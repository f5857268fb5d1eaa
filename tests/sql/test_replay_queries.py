"""Replays as they are kept: one at a time in a tenant, one worker at each, no step twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app import clock, ids
from app.access.queries import create_tenant
from app.db.pool import Pool, close_pool, open_pool
from app.db.scan import Position
from app.quarantine.filter import Filter
from app.replay import queries as replays
from app.replay.queries import DONE, STOPPED, Tally
from tests.support import Seed


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url, max_size=4)
    yield pool
    await close_pool(pool)


async def start(pool: Pool, tenant_id: int) -> bytes | None:
    async with pool.acquire() as connection:
        return await replays.start_replay(
            connection,
            tenant_id,
            public_id="aaaaaaaaaa",
            which=Filter(source="brand.pos"),
            dry_run=True,
            now=clock.now(),
        )


async def test_a_tenant_has_one_replay_at_a_time(pool: Pool, seeded: Seed) -> None:
    first = await start(pool, seeded.tenant_id)
    assert first is not None
    assert await start(pool, seeded.tenant_id) is None
    assert await start(pool, await create_tenant("other")) is not None
    async with pool.acquire() as connection:
        assert await replays.finish(connection, seeded.tenant_id, first, DONE, clock.now())
        assert not await replays.finish(connection, seeded.tenant_id, first, STOPPED, clock.now())
    assert await start(pool, seeded.tenant_id) is not None


async def test_a_replay_is_claimed_by_one_worker_with_what_was_asked_for(
    pool: Pool, seeded: Seed
) -> None:
    before = clock.now()
    replay_id = await start(pool, seeded.tenant_id)
    async with pool.acquire() as one, pool.acquire() as two:
        async with one.transaction():
            claimed = await replays.claim_replay(one)
            assert claimed is not None
            assert (claimed.replay_id, claimed.filter.source) == (replay_id, "brand.pos")
            assert before <= claimed.filter.received.end <= clock.now()
            async with two.transaction():
                assert await replays.claim_replay(two) is None
        async with two.transaction():
            assert await replays.claim_replay(two) == claimed


async def test_tenants_take_turns(pool: Pool, seeded: Seed) -> None:
    first = await start(pool, seeded.tenant_id)
    assert first is not None
    second = await start(pool, await create_tenant("other"))
    async with pool.acquire() as connection:
        for expected in (first, second):
            claimed = await replays.claim_replay(connection)
            assert claimed is not None
            assert claimed.replay_id == expected
            behind = Position(clock.now(), ids.new_id())
            tally = Tally(scanned=200)
            await replays.advance(connection, claimed.tenant_id, expected, behind, tally)


async def test_steps_add_up_and_the_next_begins_behind_the_last(pool: Pool, seeded: Seed) -> None:
    replay_id = await start(pool, seeded.tenant_id)
    assert replay_id is not None
    behind = Position(clock.now(), ids.new_id())
    async with pool.acquire() as connection:
        for _ in range(2):
            tally = Tally(scanned=9, accepted=1, duplicate=2, conflict=1, rejected=3, failed=1)
            await replays.advance(connection, seeded.tenant_id, replay_id, behind, tally)
        claimed = await replays.claim_replay(connection)
        found = await replays.find_replay(connection, seeded.tenant_id, replay_id)
        assert await replays.find_replay(connection, seeded.tenant_id + 1, replay_id) is None
    assert claimed is not None
    assert claimed.after == behind
    assert found is not None
    assert (found.scanned, found.duplicate, found.rejected, found.failed) == (18, 4, 6, 2)


async def test_what_is_ahead_is_counted_up_to_a_limit(
    pool: Pool, seeded: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pool.execute(
        "insert into quarantine (bucket, quarantine_id, tenant_id, received_at, expires_at,"
        " api_key_id, error_code, reasons, size_bytes, payload)"
        " select 0, gen_random_uuid(), $1, now() - n * interval '1 minute', now(), 1,"
        " 'validation_failed', '[]', 1, '' from generate_series(1, 3) n",
        seeded.tenant_id,
    )
    for limit, total in ((3, 3), (2, None)):
        monkeypatch.setattr(replays, "MAX_COUNTED", limit)
        replay_id = await start(pool, seeded.tenant_id)
        assert replay_id is not None
        async with pool.acquire() as connection:
            found = await replays.find_replay(connection, seeded.tenant_id, replay_id)
            assert found is not None
            assert found.total == total
            await replays.finish(
                connection, seeded.tenant_id, replay_id, replays.STOPPED, clock.now()
            )
