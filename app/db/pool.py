"""The pools of one process: asyncpg's, with two codecs; one of them is lent to Piccolo as well."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

os.environ.setdefault("PICCOLO_CONF", "app.db.piccolo_conf")

if TYPE_CHECKING:
    Connection = (
        asyncpg.pool.PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]
    )
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = Any
    Pool = asyncpg.Pool

WRITING_NAME = "cdp"
"""Of connections that write events: whoever waits for the oldest of them finds it by this."""
_EVERYWHERE = {"application_name": WRITING_NAME, "timezone": "UTC", "jit": "off"}
_SETTINGS = _EVERYWHERE | {
    # Set-based statements join a few hundred keys with large tables by primary key. On a young
    # database, whose statistics still say "empty", the planner would read whole tables instead,
    # and keep that plan while they grow (measured).
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
READING_SETTINGS = _EVERYWHERE | {
    "application_name": f"{WRITING_NAME}-reading",
    # What the embedded Postgres has too; the default is for spinning disks, and prefers to read
    # whole tables where an index would do.
    "random_page_cost": "1.1",
}
CONNECT_SECONDS = 1.5
COMMAND_SECONDS = 15.0
LOOK_SECONDS = 5.0
"""For a statement of a look at the registry."""
TELLING_CONNECTIONS = 1
"""Of a worker, for what subscribers ask of each outcome: no request waits for them."""
WATCHING_CONNECTIONS = 2
"""Of a worker, for its look at the registry and for /readyz: they wait for no other work."""
IDLE_SECONDS = 10
"""A flush that says nothing for so long within its transaction is rolled back by Postgres: its
worker stands still, and others wait for its keys."""


def _jsonb_out(value: bytes | str) -> bytes:
    return b"\x01" + (value if isinstance(value, bytes) else value.encode())


def _jsonb_in(value: Any) -> str:
    return bytes(value[1:]).decode()


def _as_is(value: bytes) -> bytes:
    return value


async def prepare_connection(connection: Connection) -> None:
    """Ids travel as 16 raw bytes and JSON as text: no UUID objects, no str copies (measured).

    The JSON codec only adds the wire format's version byte, so Piccolo, which encodes JSON
    itself, is not encoded twice.
    """
    await connection.set_type_codec(
        "uuid", schema="pg_catalog", encoder=_as_is, decoder=bytes, format="binary"
    )
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_jsonb_out, decoder=_jsonb_in, format="binary"
    )


async def _nothing_to_reset(connection: Connection) -> None:
    """No statement of ours outlives its transaction; asyncpg's own reset costs a round trip."""


async def open_pool(
    database_url: str, *, max_size: int, min_size: int = 1, command_seconds: float = COMMAND_SECONDS
) -> Pool:
    """Open the process's pool and lend it to Piccolo.

    raises  OSError, asyncpg.PostgresError when Postgres is away.
    """
    pool = await _open_hot_pool(database_url, min_size, max_size, command_seconds)
    from app.db.piccolo_conf import DB

    DB.pool = pool
    return pool


async def open_flush_pool(database_url: str, *, lanes: int, lock_seconds: float) -> Pool:
    """A connection for each flush lane: no other work can keep events waiting. Not lent.

    lock_seconds  a flush waits this long for what others are writing
    """
    settings = _SETTINGS | {
        "lock_timeout": f"{int(lock_seconds * 1000)}",
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS * 1000}",
    }
    return await _open_hot_pool(database_url, 0, lanes, COMMAND_SECONDS, settings)


async def open_watching_pool(database_url: str) -> Pool:
    """For short looks whose time is short, however busy the other pools are. Not lent."""
    return await open_reading_pool(
        database_url, max_size=WATCHING_CONNECTIONS, statement_seconds=LOOK_SECONDS
    )


async def _open_hot_pool(
    database_url: str,
    min_size: int,
    max_size: int,
    command_seconds: float,
    settings: dict[str, str] = _SETTINGS,
) -> Pool:
    return await asyncpg.create_pool(
        database_url,
        min_size=min_size,
        max_size=max_size,
        init=prepare_connection,
        timeout=CONNECT_SECONDS,
        command_timeout=command_seconds,
        server_settings=settings,
        reset=_nothing_to_reset,
    )


async def open_reading_pool(database_url: str, *, max_size: int, statement_seconds: float) -> Pool:
    """A pool for statements that may read much: the planner's own choices, and an end to each.

    Not lent to Piccolo. A statement over its time is cancelled by Postgres itself.
    """
    limit = {"statement_timeout": f"{int(statement_seconds * 1000)}"}
    return await asyncpg.create_pool(
        database_url,
        min_size=0,
        max_size=max_size,
        init=prepare_connection,
        timeout=CONNECT_SECONDS,
        command_timeout=statement_seconds + 1,
        server_settings=READING_SETTINGS | limit,
        reset=_nothing_to_reset,
    )


class Share:
    """One tenant's part of a pool: all but one of its connections, so that others find one."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(max(1, pool.get_max_size() - 1))

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        async with self._turns, self._pool.acquire() as connection:
            yield connection


Lender = Pool | Share
"""Where readers take their connections."""


def lent_pool() -> Pool:
    """The pool that `open_pool` opened last: the one Piccolo's queries run on."""
    from app.db.piccolo_conf import DB

    if DB.pool is None:
        raise RuntimeError("no pool is open")
    return DB.pool


async def close_pool(pool: Pool) -> None:
    """Wait for connections in use, then close; a hanging server does not hold the stop up."""
    from app.db.piccolo_conf import DB

    if DB.pool is pool:
        DB.pool = None
    try:
        await asyncio.wait_for(pool.close(), 5)
    except TimeoutError:
        pool.terminate()
