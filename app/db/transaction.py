"""One transaction for raw statements and Piccolo's together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from piccolo.engine.postgres import PostgresTransaction

from app.db.pool import Connection, lent_pool


@asynccontextmanager
async def transaction() -> AsyncIterator[Connection]:
    """asyncpg acquires, begins, commits and releases; Piccolo's queries inside join in.

    Piccolo's own transaction never gives its connection back when COMMIT fails (measured: a pool
    of two is dead after two such failures).
    """
    from app.db.piccolo_conf import DB

    async with lent_pool().acquire() as connection, connection.transaction():
        joined = PostgresTransaction(DB)
        joined.connection = connection
        token = DB.current_transaction.set(joined)
        try:
            yield connection
        finally:
            DB.current_transaction.reset(token)
