"""Brings a database to the newest schema. Safe to run from several processes at once."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.db.partitions import make_partitions
from app.db.pool import Connection, close_pool, open_pool
from app.db.transaction import transaction

if TYPE_CHECKING:
    from piccolo.apps.migrations.auto.migration_manager import MigrationManager

_ONE_AT_A_TIME = 0x636470
"""Advisory lock: two processes that migrate at once would both run the same migration."""
_VALUES = "segment_value_0"


class MigrationError(RuntimeError):
    """A migration failed; the database is as it was before."""


def raw_migration(
    migration_id: str, description: str, statements: Sequence[str], undo: Sequence[str]
) -> MigrationManager:
    """A migration of plain statements: a distributed Postgres takes one DDL statement at a time.

    One that names segment_value_0 is executed on the table of each marked property.
    """
    from piccolo.apps.migrations.auto.migration_manager import MigrationManager

    async def up() -> None:
        await _execute(statements)

    async def down() -> None:
        await _execute(undo)

    manager = MigrationManager(migration_id=migration_id, app_name="cdp", description=description)
    manager.add_raw(up)
    manager.add_raw_backwards(down)
    return manager


async def _execute(statements: Sequence[str]) -> None:
    from app.db.piccolo_conf import DB

    joined = DB.current_transaction.get()
    assert joined is not None, "migrate() runs all of them in one"
    for statement in statements:
        for sql in await _on_each_mark(joined.connection, statement):
            await joined.connection.execute(sql)


async def _on_each_mark(connection: Connection, statement: str) -> list[str]:
    if _VALUES not in statement:
        return [statement]
    marks = await connection.fetch("select id from segment_property order by id")
    return [statement.replace(_VALUES, f"segment_value_{mark['id']:d}") for mark in marks]


async def pending_migrations(connection: Connection) -> list[str]:
    """The ids of the migrations that this database has not seen. Changes nothing."""
    return sorted(set(_known_migrations()) - await _run_migrations(connection))


async def check_database(connection: Connection) -> None:
    """raises  MigrationError: this version of the service cannot use the database"""
    encoding = await connection.fetchval("show server_encoding")
    if encoding != "UTF8":
        raise MigrationError(f"its encoding is {encoding}: make one with encoding 'UTF8'")
    if newer := sorted(await _run_migrations(connection) - set(_known_migrations())):
        raise MigrationError(
            f"it is of a newer version of the service ({newer[-1]}): start that version"
        )


async def _run_migrations(connection: Connection) -> set[str]:
    there = await connection.fetchval("select to_regclass('migration') is not null")
    rows = await connection.fetch("select name from migration") if there else []
    return {row["name"] for row in rows}


def _known_migrations() -> list[str]:
    from piccolo.apps.migrations.commands.base import BaseMigrationManager

    from app.db.piccolo_app import APP_CONFIG

    manager = BaseMigrationManager()
    modules = manager.get_migration_modules(APP_CONFIG.resolved_migrations_folder_path)
    ids: list[str] = manager.get_migration_ids(modules)
    return ids


async def migrate(database_url: str, *, months_ahead: int = 3) -> list[str]:
    """Run what has not been run yet, all in one transaction, and make partitions ahead.

    returns  the ids of the migrations that ran now.
    """
    from piccolo.apps.migrations.commands.forwards import run_forwards
    from piccolo.apps.migrations.tables import Migration

    pool = await open_pool(database_url, max_size=2, command_seconds=600)
    try:
        async with transaction() as connection:
            await connection.execute(f"select pg_advisory_xact_lock({_ONE_AT_A_TIME})")
            await Migration.create_table(if_not_exists=True)
            before = await Migration.get_migrations_which_ran(app_name="cdp")
            await check_database(connection)
            with contextlib.redirect_stdout(io.StringIO()) as said:
                result = await run_forwards("cdp")
            if not result.success:
                raise MigrationError(result.message or said.getvalue())
            after = await Migration.get_migrations_which_ran(app_name="cdp")
        async with pool.acquire() as connection:
            await make_partitions(connection, months_ahead)
        return [migration_id for migration_id in after if migration_id not in before]
    finally:
        await close_pool(pool)
