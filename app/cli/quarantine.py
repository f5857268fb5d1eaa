"""`cdp quarantine`: what was refused, and why."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import msgspec
import typer
from rich.table import Column, Table

from app import clock, ids
from app.cli.keys import Json, Tenant
from app.cli.runtime import out, tenant_id, with_database
from app.db.pool import lent_pool
from app.quarantine.queries import BEFORE_ALL, Item, list_items
from app.settings import Settings

app = typer.Typer(help="Rejected events, and why they were.", no_args_is_help=True)


@app.command("list")
def list_(
    tenant: Tenant,
    source: Annotated[str | None, typer.Option("--source", help="Of this source only.")] = None,
    event_type: Annotated[
        str | None, typer.Option("--event-type", help="Of this event type only.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """List rejected items, newest first, with their reasons; --json shows what was sent, too."""

    async def command(settings: Settings) -> list[Item]:
        tenant_number = await tenant_id(tenant)
        async with lent_pool().acquire() as connection:
            return await list_items(
                connection,
                tenant_number,
                before=(clock.now() + timedelta(days=1), BEFORE_ALL),
                source=source,
                event_type=event_type,
                limit=limit,
            )

    items = with_database(command)
    if as_json:
        out.print_json(msgspec.json.encode([_as_json(item) for item in items]).decode())
        return
    table = Table(
        "received",
        "source",
        Column("external event id", overflow="fold"),
        Column("event type", overflow="fold"),
        Column("reasons", overflow="fold"),
    )
    for item in items:
        table.add_row(
            f"{item.received_at:%Y-%m-%d %H:%M:%S}",
            item.source or "–",
            item.external_event_id or "–",
            item.event_type or "–",
            "\n".join(f"{reason.code} {reason.path}" for reason in item.reasons),
        )
    out.print(table)


def _as_json(item: Item) -> dict[str, object]:
    return {
        "id": ids.encode(ids.QUARANTINE_PREFIX, item.quarantine_id),
        "received_at": item.received_at,
        "source": item.source,
        "externalEventId": item.external_event_id,
        "eventType": item.event_type,
        "error_code": item.error_code,
        "reasons": item.reasons,
        "size_bytes": item.size_bytes,
        "payload": None if item.payload is None else item.payload.decode(errors="replace"),
    }
