"""`cdp events export`: any events as NDJSON or CSV, from the database. Never writes to it.

A role that may only read, or a replica, will do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app import clock
from app.cli.export_file import COMPRESSIONS, Write, open_output
from app.cli.export_filter import Filter, Wanted, find_wanted, instant
from app.cli.export_rows import Csv, Format, Ndjson
from app.cli.export_stream import Source
from app.cli.keys import Tenant
from app.cli.runtime import Problem, database_url, tenant_id
from app.db.migrate import pending_migrations
from app.db.pool import Connection, Pool, close_pool, open_pool, open_reading_pool
from app.db.scan import EVER, Window
from app.registry.governance.queries import read_history
from app.settings import Settings, read_settings
from app.stats.reading import estimate_accepted

STATEMENT_SECONDS = 60.0
MAX_VERSION = 2**31 - 1
"""An integer of Postgres."""

err = Console(stderr=True, highlight=False, soft_wrap=True)
"""Standard output may be the export."""


class Kind(StrEnum):
    NDJSON = "ndjson"
    CSV = "csv"


File = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        dir_okay=False,
        help="FILE.ndjson or FILE.csv, with .gz or .zst behind it to compress;"
        " standard output when left out.",
    ),
]
Since = Annotated[str | None, typer.Option(help="2026-05-20, or a time with its offset.")]
Until = Annotated[str | None, typer.Option(help="The first instant behind.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        help="A condition on a segmentable property, in quotes: '/amount>=100',"
        " '/currency=USD', '/coupon', '!/coupon'; repeatable, all of them hold."
    ),
]


class Request(msgspec.Struct, frozen=True):
    """Options as typed."""

    tenant: str
    file: Path | None
    kind: Kind
    spreadsheet: bool
    personal: bool
    limit: int | None
    filter: Filter


def export(
    tenant: Tenant,
    output: File = None,
    format: Annotated[Kind | None, typer.Option(help="When the file's name does not say.")] = None,
    event_type: Annotated[
        str | None,
        typer.Option("--type", help="Of this event type; CSV gets a column a property."),
    ] = None,
    schema_version: Annotated[
        int | None, typer.Option(min=1, max=MAX_VERSION, help="Judged by this version.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Of this source.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Of this person: prf_…, merged ones included.")
    ] = None,
    received_since: Since = None,
    received_until: Until = None,
    occurred_since: Since = None,
    occurred_until: Until = None,
    has_warnings: Annotated[
        bool | None,
        typer.Option("--has-warnings/--no-warnings", help="Accepted with, or without, warnings."),
    ] = None,
    where: Where = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The newest so many.")] = None,
    pii: Annotated[
        bool, typer.Option("--pii", help='Personal values as sent; they are "***" without.')
    ] = False,
    spreadsheet: Annotated[
        bool, typer.Option("--spreadsheet", help="CSV for Excel and the like: no formulas.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Export events, newest first, while the service runs or without it.

    Personal data is hidden unless `--pii` is given. Exports with `--pii` can be imported again.

    Example: `cdp events export --tenant demo --type purchase_completed -o purchases.csv.gz`
    """
    request = Request(
        tenant=tenant,
        file=None if output == Path("-") else output,
        kind=_kind(output, format),
        spreadsheet=spreadsheet,
        personal=pii,
        limit=limit,
        filter=Filter(
            event_type=event_type,
            version=schema_version,
            source=source,
            profile=profile,
            received=_window(received_since, received_until, "--received"),
            occurred=_window(occurred_since, occurred_until, "--occurred"),
            has_warnings=has_warnings,
            conditions=where or (),
        ),
    )
    _run(request, replace=force)


def _run(request: Request, *, replace: bool) -> None:
    if request.spreadsheet and request.kind is not Kind.CSV:
        raise Problem("--spreadsheet is for CSV")
    settings = read_settings()
    with open_output(request.file, replace=replace) as write, database_url(settings) as url:
        events = asyncio.run(_export(request, settings, url, write))
    if request.file is not None:
        err.print(f"{events:,} events in {request.file}", markup=False)


async def _export(request: Request, settings: Settings, url: str, write: Write) -> int:
    """returns  the number of events written"""
    number = await _find_tenant(url, request.tenant)
    pool = await open_reading_pool(url, max_size=1, statement_seconds=STATEMENT_SECONDS)
    try:
        return await _copy(request, settings, number, pool, write)
    finally:
        await close_pool(pool)


async def _copy(request: Request, settings: Settings, tenant: int, pool: Pool, write: Write) -> int:
    async with pool.acquire() as connection:
        wanted = await find_wanted(connection, tenant, request.filter, personal=request.personal)
        columns = await _columns(connection, wanted, request)
        total = await _estimate(connection, wanted, request, settings)
    form: Format = Ndjson()
    if request.kind is Kind.CSV:
        form = Csv(columns, spreadsheet=request.spreadsheet)
    source = Source(pool, wanted, personal=request.personal, told=err.print)
    events = 0
    with _progress(request.file) as progress:
        bar = progress.add_task("exporting", total=total)
        write(form.head())
        async for rows in source.read(request.limit):
            write(form.write(rows))
            events += len(rows)
            progress.update(bar, completed=events)
        progress.update(bar, total=events)
    return events


async def _find_tenant(url: str, name: str) -> int:
    pool = await open_pool(url, max_size=1)
    try:
        async with pool.acquire() as connection:
            if await pending_migrations(connection):
                raise Problem("the database is not of this version: `cdp migrate` first")
        return await tenant_id(name)
    finally:
        await close_pool(pool)


async def _columns(connection: Connection, wanted: Wanted, request: Request) -> Sequence[str]:
    """Names that get a column of their own in CSV: what the versions of one event type know."""
    type_id = wanted.selection.event_type_id
    if type_id is None or request.kind is not Kind.CSV:
        return ()
    history = await read_history(connection, wanted.tenant_id, [type_id])
    asked = request.filter.version
    documents = [one.document for one in history.get(type_id, []) if asked in (None, one.version)]
    return sorted({name for document in documents for name in document.get("properties", {})})


async def _estimate(
    connection: Connection, wanted: Wanted, request: Request, settings: Settings
) -> int | None:
    """How many events there will be, if the counters can tell."""
    chosen = wanted.selection
    told_apart = wanted.members or chosen.properties or chosen.version_id is not None
    if told_apart or chosen.has_warnings is not None or chosen.occurred != EVER:
        return None
    start = chosen.received.start
    if settings.event_retention_days:
        start = max(start, clock.now() - timedelta(days=settings.event_retention_days))
    counted = await estimate_accepted(
        connection,
        wanted.tenant_id,
        start,
        chosen.received.end,
        source_id=chosen.source_id,
        event_type_id=chosen.event_type_id,
    )
    return counted if request.limit is None else min(counted, request.limit)


def _progress(file: Path | None) -> Progress:
    """On standard error, unless events scroll through the same terminal."""
    to_terminal = file is None and Console().is_terminal
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} events"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=to_terminal or not err.is_terminal,
    )


def _kind(file: Path | None, told: Kind | None) -> Kind:
    if told is not None:
        return told
    if file is None or file == Path("-"):
        return Kind.NDJSON
    name = file.with_suffix("") if file.suffix in COMPRESSIONS else file
    try:
        return Kind(name.suffix.removeprefix("."))
    except ValueError:
        raise Problem(f"{file} is neither .ndjson nor .csv: say --format") from None


def _window(since: str | None, until: str | None, option: str) -> Window:
    start = instant(since, f"{option}-since") or EVER.start
    return Window(start, instant(until, f"{option}-until") or EVER.end)
