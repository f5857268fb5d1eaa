"""A database to fill and to measure on: of its own, fresh, and gone afterwards."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from app.access import queries as access
from app.cli.starter import registry_folder
from app.db.embedded import EmbeddedPostgres
from app.db.migrate import migrate
from app.db.pool import Connection, Pool, close_pool, open_pool, open_reading_pool
from app.registry.files import read_registry
from app.registry.service import apply_files
from app.segments import queries

Fill = Callable[[Pool, int, int], Awaitable[None]]
"""(pool, tenant, how many events)"""
Measure = Callable[[Pool, int], Awaitable[None]]
"""(pool, tenant)"""


def main(about: str | None, events: int, fill: Fill, measure: Measure) -> None:
    """Fill a tenant that has the product's event types, then measure on the pool of readers.

    events  how many, unless the command line says it
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--events", type=int, default=events)
    arguments = parser.parse_args()
    base = "/var/lib" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="cdp-scratch-", dir=base))
    folder.chmod(0o755)
    postgres = EmbeddedPostgres(folder, {})
    postgres.start()
    try:
        asyncio.run(_run(postgres.dsn("postgres"), arguments.events, fill, measure))
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def fill_mark(connection: Connection, mark_id: int, sql: str, *arguments: object) -> None:
    """Write a mark's values, indexes afterwards: they come out the same.

    sql  inserts into segment_value_0, which stands for the mark's own table
    """
    table = queries.value_table(mark_id)
    await connection.execute(f"drop index {table}_value, {table}_event")
    await connection.execute(sql.replace("segment_value_0", table), *arguments)
    await connection.execute(queries.on_values("create_values_by_value", mark_id))
    await connection.execute(queries.on_values("create_values_by_event", mark_id))
    await set_ready(connection, mark_id)


async def set_ready(connection: Connection, mark_id: int) -> None:
    await connection.execute(
        "update segment_property set state = 'READY', ready_at = now(), measured_at = now()"
        " where id = $1",
        mark_id,
    )


async def _run(url: str, events: int, fill: Fill, measure: Measure) -> None:
    await migrate(url)
    pool = await open_pool(url, max_size=3, command_seconds=3_600)
    try:
        tenant_id = await access.create_tenant("bench")
        await apply_files(tenant_id, read_registry(registry_folder()), actor="bench")
        await fill(pool, tenant_id, events)
        await pool.execute("vacuum analyze")
        await pool.execute("checkpoint")
    finally:
        await close_pool(pool)
    reading = await open_reading_pool(url, max_size=2, statement_seconds=30)
    try:
        await measure(reading, tenant_id)
    finally:
        await close_pool(reading)
