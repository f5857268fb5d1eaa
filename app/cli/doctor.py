"""`cdp doctor`: what is wrong with the set-up, and how to mend it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import typer

from app import clock
from app.cli.runtime import EXPECTED_ERRORS, data_dir, database_url, one_line, out
from app.db.binaries import BinariesMissing, find_binaries
from app.db.migrate import MigrationError, check_database, pending_migrations
from app.db.partitions import PARTITIONED_TABLES, month_starts, partition_names
from app.db.pool import TELLING_CONNECTIONS, WATCHING_CONNECTIONS
from app.settings import Settings, SettingsError, read_settings

MIN_FREE_BYTES = 2 << 30
MIN_POSTGRES = 150000
MAX_CLOCK_DIFFERENCE = timedelta(seconds=5)


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. mend is empty when it is fine."""

    what: str
    mend: str = ""
    fatal: bool = True


def doctor() -> None:
    """Look at settings, disk, Postgres, migrations, keys; say what is wrong and how to mend it."""
    bad = 0
    for finding in _findings():
        if not finding.mend:
            out.print(f"[green]ok[/]      {finding.what}")
        elif finding.fatal:
            bad += 1
            out.print(f"[red]broken[/]  {finding.what}\n        {finding.mend}")
        else:
            out.print(f"[yellow]look[/]    {finding.what}\n        {finding.mend}")
    if bad:
        raise typer.Exit(1)


def _findings() -> Iterator[Finding]:
    yield Finding(f"Python {sys.version.split()[0]}")
    try:
        settings = read_settings()
    except SettingsError as error:
        yield Finding("settings", str(error))
        return
    yield Finding("settings: every CDP_* variable is known and in range")
    if settings.database_url is None:
        yield from _data_folder(data_dir(settings))
        yield from _programs()
    try:
        with database_url(settings) as url:
            yield from asyncio.run(_database(url, settings))
    except EXPECTED_ERRORS as error:
        yield Finding("Postgres cannot be reached or started", one_line(error))


def _data_folder(folder: Path) -> Iterator[Finding]:
    parent = folder
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        yield Finding(
            f"data folder {folder} cannot be written", "set CDP_DATA_DIR to a folder of yours"
        )
        return
    free = shutil.disk_usage(parent).free
    yield Finding(
        f"data folder {folder}: {free / (1 << 30):.1f} GiB free",
        "" if free > MIN_FREE_BYTES else "make room: events are refused when the disk is full",
    )


def _programs() -> Iterator[Finding]:
    try:
        yield Finding(f"programs of Postgres, pg_dump too: {find_binaries()}")
    except BinariesMissing as error:
        yield Finding("programs of Postgres", str(error))


async def _database(url: str, settings: Settings) -> list[Finding]:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        findings = [
            *await _server(connection, settings),
            await _clock(connection),
        ]
        try:
            await check_database(connection)
        except MigrationError as error:
            return [*findings, Finding("the database cannot be used", str(error))]
        pending = await pending_migrations(connection)
        if pending:
            findings.append(Finding(f"{len(pending)} migrations to run", "run: cdp migrate"))
            return findings
        findings.append(Finding("schema is up to date"))
        return [*findings, await _partitions(connection), *await _content(connection)]
    finally:
        await connection.close()


async def _server(
    connection: asyncpg.Connection[asyncpg.Record], settings: Settings
) -> list[Finding]:
    number = int(await connection.fetchval("show server_version_num"))
    name = await connection.fetchval("show server_version")
    findings = [
        Finding(f"Postgres {name}", "" if number >= MIN_POSTGRES else "15 or later is needed")
    ]
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        value = await connection.fetchval(f"show {setting}")
        safe = value not in ("off", "local")
        findings.append(
            Finding(
                f"{setting} is {value}",
                "" if safe else "an accepted event can be lost: switch it on",
            )
        )
    maximum = int(await connection.fetchval("show max_connections"))
    pools = (settings.pool_size, settings.flush_lanes, settings.graphql_pool_size)
    a_worker = sum(pools) + TELLING_CONNECTIONS + WATCHING_CONNECTIONS
    needed = settings.workers * a_worker + 5
    findings.append(
        Finding(
            f"max_connections {maximum}, {needed} needed",
            "" if maximum >= needed else "lower CDP_WORKERS or the pools' sizes, or raise it",
        )
    )
    return findings


async def _clock(connection: asyncpg.Connection[asyncpg.Record]) -> Finding:
    difference = abs(await connection.fetchval("select clock_timestamp()") - clock.now())
    return Finding(
        f"clocks of service and Postgres differ by {difference.total_seconds():.3f} s",
        "" if difference < MAX_CLOCK_DIFFERENCE else "synchronise them (NTP)",
    )


async def _partitions(connection: asyncpg.Connection[asyncpg.Record]) -> Finding:
    next_month = month_starts(clock.now(), 2)[1]
    missing = [
        table
        for table in PARTITIONED_TABLES
        if f"{table}_{next_month:%Y_%m}" not in await partition_names(connection, table)
    ]
    return Finding(
        "event partitions are made ahead",
        f"none for next month of: {', '.join(missing)}; run: cdp migrate" if missing else "",
    )


async def _content(connection: asyncpg.Connection[asyncpg.Record]) -> list[Finding]:
    """Things that a new installation is not broken without, but useless."""
    findings = []
    for what, question, mend in (
        ("tenants", "select count(*) from tenant", "run: cdp tenants create NAME"),
        (
            "live API keys",
            "select count(*) from api_key where revoked_at is null"
            " and (expires_at is null or expires_at > now())",
            "run: cdp keys create --tenant NAME --name …",
        ),
        (
            "event types",
            "select count(*) from event_type",
            "run: cdp registry apply --tenant NAME",
        ),
    ):
        number = await connection.fetchval(question)
        findings.append(Finding(f"{number} {what}", "" if number else mend, fatal=False))
    return findings
