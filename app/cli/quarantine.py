"""`cdp quarantine`: what was refused, and why."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
import typer
from rich.table import Column, Table

from app import ids
from app.cli.keys import Json, Tenant
from app.cli.runtime import out, tenant_id, with_database
from app.db.pool import lent_pool
from app.quarantine.filter import Filter, ItemState
from app.quarantine.reading import Entry, find_page
from app.settings import Settings

app = typer.Typer(help="Rejected events, and why they were.", no_args_is_help=True)


class State(StrEnum):
    """What became of an item since."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    DISCARDED = "discarded"
    ALL = "all"


@app.command("list")
def list_(
    tenant: Tenant,
    source: Annotated[str | None, typer.Option("--source", help="Of this source only.")] = None,
    event_type: Annotated[
        str | None, typer.Option("--event-type", help="Of this event type only.")
    ] = None,
    state: Annotated[
        State, typer.Option("--state", help="What became of them since: replayed ones say of what.")
    ] = State.OPEN,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """List rejected items, newest first, with their reasons; --json shows what was sent, too."""

    async def command(settings: Settings) -> list[Entry]:
        which = Filter(source=source, event_type=event_type)
        wanted = None if state is State.ALL else ItemState[state.name]
        return await _newest(await tenant_id(tenant), which, wanted, limit)

    items = with_database(command)
    if as_json:
        out.print_json(msgspec.json.encode([_as_json(item) for item in items]).decode())
        return
    table = Table(
        "received",
        "state",
        Column("source", overflow="fold"),
        Column("external event id", overflow="fold"),
        Column("event type", overflow="fold"),
        Column("reasons", overflow="fold"),
    )
    for item in items:
        table.add_row(
            f"{item.received_at:%Y-%m-%d %H:%M:%S}",
            item.state.name.lower(),
            item.source or "–",
            item.external_event_id or "–",
            item.event_type or "–",
            "\n".join(f"{reason.code} {reason.path}" for reason in item.reasons),
        )
    out.print(table)


async def _newest(
    tenant_number: int, which: Filter, state: ItemState | None, limit: int
) -> list[Entry]:
    """Page by page: each looks at so many items, whether they are meant or not."""
    found: list[Entry] = []
    after = None
    async with lent_pool().acquire() as connection:
        while len(found) < limit:
            page, after = await find_page(
                connection,
                tenant_number,
                which,
                state=state,
                first=limit - len(found),
                after=after,
            )
            found += page
            if after is None:
                break
    return found


def _as_json(item: Entry) -> dict[str, object]:
    return {
        "id": ids.encode(ids.QUARANTINE_PREFIX, item.quarantine_id),
        "received_at": item.received_at,
        "state": item.state.name.lower(),
        "source": item.source,
        "externalEventId": item.external_event_id,
        "eventType": item.event_type,
        "error_code": item.error_code,
        "reasons": item.reasons,
        "size_bytes": item.size_bytes,
        "payload": None if item.payload is None else item.payload.decode(errors="replace"),
    }
