"""Counts what a query asks of the database."""

from __future__ import annotations

import re
from typing import Any

import asyncpg

from app.access import queries as access
from app.access.keys import parse_key
from app.api.graphql.context import Context
from app.api.graphql.loaders import Loaders
from app.api.graphql.schema import build_schema
from app.db.pool import Connection, prepare_connection
from app.settings import Settings
from tests.support import Api

_DRIVERS_OWN = re.compile("pg_advisory_unlock_all|pg_catalog|typeinfo_tree|set_config")
"""What asyncpg asks to reset a connection and to learn about types."""


async def statements_of(
    api: Api, query: str, variables: dict[str, Any] | None = None, *, key: str | None = None
) -> int:
    """How many statements a query takes on the reading pool."""
    statements: list[str] = []

    async def listen(connection: Connection) -> None:
        connection.add_query_logger(log)

    async def log(record: Any) -> None:
        if not _DRIVERS_OWN.search(record.query):
            statements.append(record.query)

    parsed = parse_key((key or api.key).encode())
    assert parsed is not None
    async with asyncpg.create_pool(
        api.database_url, min_size=0, max_size=4, init=prepare_connection, setup=listen
    ) as pool:
        async with pool.acquire() as connection:
            principal = (await access.read_principals(connection))[parsed[0]]
        statements.clear()
        context = Context(
            principal=principal, pool=pool, settings=Settings(), loaders=Loaders(pool, principal)
        )
        result = await build_schema().execute(
            query, variable_values=variables, context_value=context
        )
    assert result.errors is None, result.errors
    return len(statements)
