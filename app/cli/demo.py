"""`cdp demo`: fills a tenant with a believable history, through the public batch endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import asyncpg
import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app import clock
from app.access import queries as access
from app.cli.remote import Target, target
from app.cli.retail.cast import PHONE_REGION, make_cast
from app.cli.retail.history import history
from app.cli.retail.journeys import PLACEHOLDERS
from app.cli.retail.telling import Event
from app.cli.runtime import Problem, out, with_database
from app.cli.sender import Result, Sender, Totals
from app.cli.starter import TENANT, registry_folder
from app.registry.files import read_registry
from app.registry.service import apply_files
from app.settings import read_settings

Batch = list[Event]


class Summary(msgspec.Struct, kw_only=True):
    """What was delivered, and what was answered."""

    totals: Totals = msgspec.field(default_factory=Totals)
    event_types: dict[str, Totals] = {}
    error_codes: dict[str, int] = {}
    """With the first reason: validation_failed/property_missing."""
    customers: set[str] = set()
    """External user ids, some 100 bytes each."""
    shops: set[str] = set()
    requests_repeated: int = 0
    """After transport failures, 429 and 5xx."""

    def add(self, batch: Batch, results: list[Result]) -> None:
        self.totals.add(results)
        for event, result in zip(batch, results, strict=True):
            self.event_types.setdefault(event["eventType"], Totals()).add([result])
            if result.status == "error":
                code = "/".join([str(result.error_code), *(e["code"] for e in result.errors[:1])])
                self.error_codes[code] = self.error_codes.get(code, 0) + 1
            customer = event["identity"].get("externalUserId")
            if customer is not None and customer not in PLACEHOLDERS:
                self.customers.add(customer)
            if "store_id" in event["properties"]:
                self.shops.add(event["properties"]["store_id"])


def demo(
    tenant: Annotated[
        str, typer.Option("--tenant", "-t", help="Made, with event types, if there is none.")
    ] = TENANT,
    events: Annotated[int, typer.Option("--events", "-n", min=1, help="How many.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another one, other people.")] = 1,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How far back.")] = 30,
    until: Annotated[
        datetime | None,
        typer.Option(
            "--until",
            formats=["%Y-%m-%d"],
            help="The history ends when this day begins, in UTC; by default today.",
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", envvar="CDP_KEY", help="Deliver with this API key.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", envvar="CDP_URL", help="A service elsewhere.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=2000, help="Events a request.")
    ] = 500,
    connections: Annotated[
        int, typer.Option("--connections", min=1, max=16, help="Requests under way at once.")
    ] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
) -> None:
    """Deliver a month of a retail chain's events, with everything that goes wrong in one.

    The same options give the same events, byte for byte: delivered again, each is a duplicate or
    refused as before. About 4 of 100 are duplicates the first time, 3 are refused on purpose.
    """
    settings = read_settings()
    end = _end_of_history(until)
    if url is None and key is None:
        sources = make_cast(seed, events).sources()
        with_database(lambda _: _prepare(tenant, sources))

    async def run() -> Summary:
        async with target(settings, tenant=tenant, key=key, url=url, purpose="demo") as there:
            told = history(seed, events, end, days)
            return await _deliver(told, events, there, batch_size, connections, quiet=as_json)

    _show(asyncio.run(run()), as_json)


def _end_of_history(until: datetime | None) -> datetime:
    """Midnight, UTC. The default changes once a day: a second run meets the events of the first."""
    today = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    if until is None:
        return today
    end = until.replace(tzinfo=UTC)
    if end > today:
        raise Problem(f"--until is {today:%Y-%m-%d} at the latest: facts lie in the past")
    return end


async def _prepare(tenant: str, sources: Sequence[str]) -> None:
    """A tenant that understands the history: its event types and its way to write phones.

    What the tenant has is left as it is.
    """
    tenant_id = await access.find_tenant(tenant)
    if tenant_id is None:
        try:
            tenant_id = await access.create_tenant(tenant)
        except asyncpg.CheckViolationError:
            raise Problem(
                f"{tenant!r} is no tenant name: a letter, then up to 62 of a-z 0-9 - _"
            ) from None
        await apply_files(tenant_id, read_registry(registry_folder()), actor="cli")
    known = {row.name: row.default_phone_region for row in await access.list_sources(tenant_id)}
    for source in sources:
        if known.get(source) is None:
            await access.set_source(tenant_id, source, {"default_phone_region": PHONE_REGION})


async def _deliver(
    told: Iterator[Event],
    events: int,
    there: Target,
    batch_size: int,
    connections: int,
    quiet: bool,
) -> Summary:
    """Deliver in order, with so many requests under way."""
    summary = Summary()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[totals]}"),
        console=out,
        disable=quiet,
    )
    batches = iter(lambda: [*islice(told, batch_size)], [])
    async with Sender(there.url, there.key, connections) as sender:
        with progress:
            bar = progress.add_task("delivering", total=events, totals="")
            async for batch, results in sender.deliver_each(batches, _encoded, connections):
                summary.add(batch, results)
                progress.update(bar, advance=len(batch), totals=str(summary.totals))
        summary.requests_repeated = sender.requests_repeated
    return summary


def _encoded(batch: Batch) -> list[bytes]:
    return [msgspec.json.encode(event) for event in batch]


def _show(summary: Summary, as_json: bool) -> None:
    if as_json:
        counted = {"customers": len(summary.customers), "shops": len(summary.shops)}
        out.print_json(msgspec.json.encode(msgspec.to_builtins(summary) | counted).decode())
        return
    table = Table("event type", "accepted", "duplicate", "refused")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, of_type in sorted(summary.event_types.items()):
        table.add_row(name, f"{of_type.accepted:,}", f"{of_type.duplicate:,}", f"{of_type.error:,}")
    out.print(table)
    for code, number in sorted(summary.error_codes.items(), key=lambda entry: -entry[1]):
        out.print(f"{number:>9,}  {code}", markup=False)
    out.print(f"{len(summary.customers):,} customer ids in {len(summary.shops)} shops")
    if summary.requests_repeated:
        out.print(f"{summary.requests_repeated:,} requests repeated")
    out.print(str(summary.totals))
    if summary.totals.error > summary.totals.accepted + summary.totals.duplicate:
        out.print(
            "most were refused: has the tenant the event types? cdp registry apply --tenant …"
        )
