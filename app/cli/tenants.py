"""`cdp tenants`: who shares this service, each with data, keys and registry of their own."""

from __future__ import annotations

import json
from typing import Annotated

import asyncpg
import typer
from rich.table import Table

from app.access import queries as access
from app.cli.runtime import Problem, out, tenant_id, with_database
from app.settings import Settings

app = typer.Typer(
    help="Tenants: data, keys and registry apart from each other.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")],
    as_json: Json = False,
) -> None:
    """Create a tenant."""

    async def command(settings: Settings) -> int:
        try:
            return await access.create_tenant(name)
        except asyncpg.UniqueViolationError:
            raise Problem(f"there is a tenant {name!r} already") from None
        except asyncpg.CheckViolationError:
            raise Problem(
                f"{name!r} is no tenant name: a letter, then up to 62 of a-z 0-9 - _"
            ) from None

    created = with_database(command)
    if as_json:
        out.print_json(json.dumps({"id": created, "name": name}))
    else:
        out.print(f"tenant {name} created; next: cdp keys create --tenant {name} --name …")


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="The tenant's name.")],
    quarantine_days: Annotated[
        int | None,
        typer.Option("--quarantine-days", min=1, max=3650, help="How long rejected items stay."),
    ] = None,
    rate_limit: Annotated[
        int | None, typer.Option("--rate-limit", min=1, help="Events a minute, of all its keys.")
    ] = None,
    max_sources: Annotated[
        int | None, typer.Option("--max-sources", min=1, help="Sources that may register.")
    ] = None,
) -> None:
    """Change a tenant's settings. Items that are in quarantine already keep their time."""
    given = {
        "quarantine_days": quarantine_days,
        "events_per_minute": rate_limit,
        "max_sources": max_sources,
    }
    changed = {column: value for column, value in given.items() if value is not None}
    if not changed:
        raise Problem("say what to change: cdp tenants set --help")

    async def command(settings: Settings) -> None:
        await access.set_tenant(await tenant_id(name), changed)

    with_database(command)
    out.print(f"tenant {name}: {', '.join(f'{c} {v}' for c, v in changed.items())}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the tenants."""

    async def command(settings: Settings) -> list[tuple[int, str, object]]:
        return [*await access.list_tenants()]

    tenants = with_database(command)
    if as_json:
        out.print_json(
            json.dumps([{"id": i, "name": n, "created_at": str(c)} for i, n, c in tenants])
        )
        return
    table = Table("tenant", "created")
    for _, name, created_at in tenants:
        table.add_row(name, f"{created_at:%Y-%m-%d %H:%M}")
    out.print(table)
