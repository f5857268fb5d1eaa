"""The SQL limit: the service's own statements with the service's own rows, and nothing else.

One flush is run for real with a connection that notes each statement and its arguments, and is
rolled back; then the notes are replayed by bare asyncpg, committed, and timed. No HTTP, no JSON,
no judging, no Python between the statements.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any, cast

import asyncpg

from app.access.keys import TenantSettings
from app.access.queries import SourceSettings
from app.db.pool import Connection, prepare_connection
from app.identity.identifiers import Identifier, Kind
from app.ids import event_key, new_id
from app.ingest.event import Event
from app.ingest.flush import flush
from app.ingest.standing import Delivery
from app.segments.marks import Marks

Statement = tuple[str, tuple[Any, ...], dict[str, Any]]
"""Method of the connection, and how it was called."""

CONNECTIONS = 2
NO_MARKS = Marks()
NO_MARKS.confirm(float("inf"))
EVENTS = 20_000


class _RollBack(Exception):
    """Ends the noting transaction."""


class _Recorder:
    """A connection that notes what runs over it."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection
        self.statements: list[Statement] = []

    def transaction(self) -> Any:
        return self._connection.transaction()

    def __getattr__(self, method: str) -> Any:
        async def run(*arguments: Any, **options: Any) -> Any:
            self.statements.append((method, arguments, options))
            return await getattr(self._connection, method)(*arguments, **options)

        return run


async def measure_sql_limit(database_url: str, size: int) -> float:
    """Events a second in flushes of this size, over two connections."""
    connections = [await asyncpg.connect(database_url) for _ in range(CONNECTIONS)]
    for connection in connections:
        await prepare_connection(connection)
    tenant, deliver = await _setting(connections[0])
    count = max(EVENTS // size, CONNECTIONS)
    flushes = [
        await _note(connections[0], tenant, [deliver() for _ in range(size)]) for _ in range(count)
    ]
    started = time.perf_counter()
    await asyncio.gather(
        *(
            _replay(connection, flushes[lane::CONNECTIONS])
            for lane, connection in enumerate(connections)
        )
    )
    seconds = time.perf_counter() - started
    for connection in connections:
        await connection.close()
    return count * size / seconds


async def _setting(connection: asyncpg.Connection[asyncpg.Record]) -> tuple[TenantSettings, Any]:
    """The bench tenant and a maker of new events like those that wrk sends."""
    row = await connection.fetchrow("select * from tenant where name = 'bench'")
    version = await connection.fetchrow(
        "select v.id, v.event_type_id from event_type_version v join event_type t"
        " on t.id = v.event_type_id where t.name = 'purchase_completed' order by version desc"
    )
    key_id = await connection.fetchval("select id from api_key order by id")
    source_id = await connection.fetchval("select id from source where name = 'brand.pos'")
    assert row and version
    tenant = TenantSettings(row["id"], row["name"], row["hash_key"], 30, None, 1000)
    source = SourceSettings(source_id, "brand.pos", False, False, None)
    numbers = itertools.count(time.time_ns())

    def deliver() -> Delivery:
        number = next(numbers)
        name, person = f"limit_{number}", f"limit_{number // 5}"
        identity = f'{{"externalUserId":"L-{person}","email":"{person}@example.com"}}'
        properties = (
            f'{{"order_id":"order_{number}","amount":120.50,"currency":"USD",'
            '"store_id":"store_42"}'
        )
        event = Event(
            event_id=event_key(tenant.hash_key, "brand.pos", name),
            source="brand.pos",
            external_event_id=name,
            event_type="purchase_completed",
            event_type_id=version["event_type_id"],
            version_id=version["id"],
            occurred_at=None,
            identity=identity.encode(),
            identifiers=(
                Identifier(Kind.EXTERNAL, f"L-{person}"),
                Identifier(Kind.EMAIL, f"{person}@example.com"),
            ),
            properties=properties.encode(),
            fingerprint=new_id(),
            size_bytes=300,
        )
        return Delivery(event, key_id, 300, source)

    return tenant, deliver


async def _note(
    connection: asyncpg.Connection[asyncpg.Record],
    tenant: TenantSettings,
    deliveries: list[Delivery],
) -> list[Statement]:
    recorder = _Recorder(connection)
    try:
        async with connection.transaction():
            await flush(cast(Connection, recorder), tenant, deliveries, 0, NO_MARKS)
            raise _RollBack
    except _RollBack:
        return recorder.statements


async def _replay(
    connection: asyncpg.Connection[asyncpg.Record], flushes: list[list[Statement]]
) -> None:
    for statements in flushes:
        async with connection.transaction():
            for method, arguments, options in statements:
                await getattr(connection, method)(*arguments, **options)
