"""`cdp sources`: the systems that deliver. They register themselves; here they get settings."""

from __future__ import annotations

from typing import Annotated

import asyncpg
import typer
from rich.table import Column, Table

from app.access import queries as access
from app.cli.keys import Tenant
from app.cli.runtime import Problem, out, tenant_id, with_database
from app.identity.contact import is_phone_region
from app.settings import Settings

app = typer.Typer(
    help="Source systems: their phone region, mismatch rule and status.", no_args_is_help=True
)


@app.command("list")
def list_(tenant: Tenant) -> None:
    """List a tenant's sources."""

    async def command(settings: Settings) -> list[access.SourceInfo]:
        return await access.list_sources(await tenant_id(tenant))

    table = Table(
        Column("source", overflow="fold"),
        "status",
        "on mismatch",
        "phone region",
        "owner",
        "first seen",
    )
    for row in with_database(command):
        table.add_row(
            row.name,
            row.status,
            row.on_mismatch,
            row.default_phone_region or "–",
            row.owner or "–",
            f"{row.first_seen_at:%Y-%m-%d %H:%M}",
        )
    out.print(table)


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="The source's name, as its events say it.")],
    tenant: Tenant,
    phone_region: Annotated[
        str | None,
        typer.Option("--phone-region", help="Country of phone numbers without prefix: DE, US, …"),
    ] = None,
    on_mismatch: Annotated[
        str | None,
        typer.Option(
            "--on-mismatch",
            help="Other content under a known key: CONFLICT (409) or DUPLICATE (200).",
        ),
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="ACTIVE or DISABLED (its events get 403).")
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Who answers for it.")] = None,
) -> None:
    """Change a source's settings; a source that has not delivered yet is created."""
    if phone_region is not None and not is_phone_region(phone_region):
        raise Problem(f"{phone_region!r} is no phone region: two capital letters, like DE")
    given = {
        "default_phone_region": phone_region,
        "on_mismatch": on_mismatch,
        "status": status,
        "owner": owner,
    }
    settings_given = {column: value for column, value in given.items() if value is not None}

    async def command(settings: Settings) -> None:
        try:
            await access.set_source(await tenant_id(tenant), name, dict(settings_given))
        except asyncpg.CheckViolationError:
            raise Problem(
                "--on-mismatch is CONFLICT or DUPLICATE, --status is ACTIVE or DISABLED"
            ) from None

    with_database(command)
    out.print(f"source {name}: {', '.join(settings_given) or 'created'}")
