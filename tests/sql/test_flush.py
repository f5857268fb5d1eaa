"""A flush writes everything that it answers for, or nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from app import clock, ids
from app.access.keys import TenantSettings
from app.access.queries import register_sources
from app.db.pool import Connection, close_pool, open_pool
from app.identity.identifiers import Identifier, Kind
from app.ingest.event import Accepted, Event
from app.ingest.flush import flush
from app.ingest.standing import Delivery
from app.segments.marks import Marks
from tests.support import Seed


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    pool = await open_pool(database_url, max_size=1)
    async with pool.acquire() as connection:
        yield connection
    await close_pool(pool)


def event_of(name: str, person: str) -> Event:
    return Event(
        event_id=ids.new_id(),
        source="brand.pos",
        external_event_id=name,
        event_type="purchase_completed",
        event_type_id=1,
        version_id=1,
        occurred_at=clock.now(),
        identity=b"{}",
        identifiers=(Identifier(Kind.EXTERNAL, person),),
        properties=b"{}",
        fingerprint=bytes(16),
        size_bytes=100,
    )


async def test_an_accepted_event_without_a_source_is_a_fault_and_claims_no_key(
    connection: Connection, seeded: Seed
) -> None:
    tenant = TenantSettings(seeded.tenant_id, "demo", b"k" * 32, 30, None, 1_000)
    marks = Marks()
    marks.confirm(time.monotonic())
    sources = await register_sources(connection, tenant.tenant_id, ["brand.pos"], 10)
    first = Delivery(event_of("e1", "known"), 1, 100, sources["brand.pos"])
    (outcome,) = await flush(connection, tenant, [first], 0, marks)
    assert isinstance(outcome, Accepted)
    for event in (event_of("e2", "known"), event_of("e3", "unknown")):
        with pytest.raises(AssertionError):
            await flush(connection, tenant, [Delivery(event, 1, 100, None)], 0, marks)
    assert await connection.fetchval("select count(*) from event_key") == 1
    assert await connection.fetchval("select count(*) from event") == 1
