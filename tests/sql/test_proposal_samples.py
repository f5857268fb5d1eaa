"""What a proposal is made from: the newest of one reason, bounded, of one tenant."""

from __future__ import annotations

from typing import Any

import asyncpg

from app.db.pool import lent_pool
from app.proposals.queries import SQL, read_rejected, read_stripped
from tests.support import EXAMPLE, Api, Seed, purchase, service_in_process

UNREGISTERED = "event_type_unregistered"


def booking(external_event_id: str, **properties: Any) -> dict[str, Any]:
    return purchase(external_event_id, eventType="table_booked", properties=properties)


async def test_items_of_one_type_and_one_reason_are_read_newest_first(api: Api) -> None:
    await api.post(booking("a", guests=1))
    await api.post(booking("b", guests=2))
    await api.post(booking("c") | {"occurred": "a field that is not there"})
    await api.post(purchase("d", properties=EXAMPLE["properties"] | {"gift": True}))
    async with lent_pool().acquire() as connection:
        found = await read_rejected(connection, api.tenant_id, "table_booked", UNREGISTERED)
        unknown = await read_rejected(
            connection, api.tenant_id, "purchase_completed", "property_unknown"
        )
        others = await read_rejected(connection, api.tenant_id + 1, "table_booked", UNREGISTERED)
    assert [b'"externalEventId":"b"' in payload for payload in found] == [True, False]
    assert len(unknown) == 1
    assert others == []


async def test_what_was_discarded_is_not_read(api: Api) -> None:
    await api.results([booking("a"), booking("b")])
    await api.fetch(
        """update quarantine set resolution = 4, resolved_at = received_at
           where external_event_id = 'a'"""
    )
    async with lent_pool().acquire() as connection:
        found = await read_rejected(connection, api.tenant_id, "table_booked", UNREGISTERED)
    assert [b'"externalEventId":"b"' in payload for payload in found] == [True]


async def test_rows_looked_at_samples_and_bytes_are_limited(api: Api) -> None:
    await api.results([booking(str(n), note="x" * 1_000) for n in range(20)])
    async with lent_pool().acquire() as connection:

        async def count(rows: int, samples: int, size: int) -> int:
            arguments = (api.tenant_id, "table_booked", UNREGISTERED, rows, samples, size)
            return len(await connection.fetch(SQL["read_rejected"], *arguments))

        assert await count(100, 100, 1 << 20) == 20
        assert await count(7, 100, 1 << 20) == 7
        assert await count(100, 5, 1 << 20) == 5
        assert await count(100, 100, 3_000) == 3
        assert await count(100, 100, 1) == 1


async def test_stripped_names_are_counted_over_the_newest_events(
    database_url: str, seeded: Seed
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        """update event_type_version
           set document = document || '{"x-unknown-properties": "strip"}'"""
    )
    await connection.close()
    properties = EXAMPLE["properties"]
    async with service_in_process(database_url, seeded) as api:
        await api.results([
            purchase("a", properties=properties | {"gift": True, "utm": "x"}),
            purchase("b", properties=properties | {"utm": "y"}),
            purchase("c"),
        ])  # fmt: skip
        rows = await api.fetch("select id from event_type where name = 'purchase_completed'")
        type_id = rows[0]["id"]
        async with lent_pool().acquire() as connection:
            found = await read_stripped(connection, api.tenant_id, type_id)
            assert list(found.items()) == [("/properties/utm", 2), ("/properties/gift", 1)]
            assert await read_stripped(connection, api.tenant_id + 1, type_id) == {}
