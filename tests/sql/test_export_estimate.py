"""The counters know how many events an export will have, whether or not they are rolled up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app import clock
from app.db.pool import Pool, close_pool, open_pool
from app.db.scan import EVER, Window
from app.stats.queries import CountKey, OutcomeKind, add_counts
from app.stats.reading import estimate_accepted
from app.stats.rollup import roll_up
from tests.support import Seed

ACCEPTED, DUPLICATE = OutcomeKind.ACCEPTED, OutcomeKind.DUPLICATE


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url, max_size=2)
    yield pool
    await close_pool(pool)


@pytest.mark.parametrize("rolled", [False, True], ids=["minutes", "rolled up"])
async def test_accepted_events_are_counted_by_source_type_and_time(
    pool: Pool, seeded: Seed, rolled: bool
) -> None:
    now = clock.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    async with pool.acquire() as connection:
        for hours_ago, source_id, type_id, outcome, events in [
            (5, 1, 1, ACCEPTED, 1_000),
            (5, 1, 2, ACCEPTED, 100),
            (3, 2, 1, ACCEPTED, 10),
            (3, 1, 1, DUPLICATE, 7),
        ]:
            key = CountKey(source_id, type_id, outcome, "")
            at = hour - timedelta(hours=hours_ago)
            await add_counts(connection, seeded.tenant_id, {key: (events, 0)}, at, 0)
        if rolled:
            assert await roll_up(pool) > 0
        key = CountKey(1, 1, ACCEPTED, "")
        await add_counts(connection, seeded.tenant_id, {key: (1, 0)}, now, 0)

        async def estimate(
            source_id: int | None = None, event_type_id: int | None = None, window: Window = EVER
        ) -> int:
            return await estimate_accepted(
                connection,
                seeded.tenant_id,
                *window,
                source_id=source_id,
                event_type_id=event_type_id,
            )

        assert await estimate() == 1_111
        assert await estimate(source_id=1) == 1_101
        assert await estimate(event_type_id=1) == 1_011
        assert await estimate(source_id=1, event_type_id=2) == 100
        assert await estimate(window=Window(start=hour - timedelta(hours=4))) == 11
        assert await estimate(window=Window(end=hour - timedelta(hours=4))) == 1_100
        assert await estimate(window=Window(start=now + timedelta(days=1))) == 0
