"""`cdp keys`: API keys. A key's secret is shown once and kept nowhere."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from app import clock
from app.access import queries as access
from app.access.keys import NewKey, Scope
from app.access.queries import KeyInfo
from app.cli.runtime import Problem, duration, out, tenant_id, with_database
from app.identity.identifiers import key_flaw
from app.registry.spec import is_event_type_name
from app.settings import Settings

app = typer.Typer(help="API keys: create, list, rotate, revoke.", no_args_is_help=True)

Tenant = Annotated[str, typer.Option("--tenant", "-t", help="The tenant's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


@app.command()
def create(
    tenant: Tenant,
    name: Annotated[str, typer.Option("--name", "-n", help="What the key is for.")],
    scope: Annotated[
        list[Scope], typer.Option("--scope", help="What it may do; repeat for several.")
    ] = [Scope.EVENTS_WRITE],  # noqa: B006
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Only events of this source; repeatable.")
    ] = None,
    event_type: Annotated[
        list[str] | None, typer.Option("--event-type", help="Only events of this type; repeatable.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="Works this long: 90d, 12h, …")
    ] = None,
    rate_limit: Annotated[
        int | None, typer.Option("--rate-limit", min=1, help="Events a minute.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create an API key and show it, this once.

    Example: `cdp keys create --tenant demo --name till-17 --scope events:write --source brand.pos`
    """
    expires_at = _end_of(expires)
    _check_names(name, source or [], event_type or [])

    async def command(settings: Settings) -> NewKey:
        return await access.create_key(
            await tenant_id(tenant),
            name=name,
            scopes=scope,
            environment=settings.environment,
            sources=source or (),
            event_types=event_type or (),
            events_per_minute=rate_limit,
            expires_at=expires_at,
        )

    _show(
        with_database(command),
        as_json,
        {
            "tenant": tenant,
            "name": name,
            "scopes": [str(s) for s in scope],
            "sources": source or None,
            "event_types": event_type or None,
            "events_per_minute": rate_limit,
            "expires_at": _iso(expires_at),
        },
    )


@app.command("list")
def list_(tenant: Tenant, as_json: Json = False) -> None:
    """List a tenant's keys, without their secrets."""

    async def command(settings: Settings) -> list[KeyInfo]:
        return await access.list_keys(await tenant_id(tenant))

    keys = with_database(command)
    if as_json:
        out.print_json(msgspec.json.encode(keys).decode())
        return
    table = Table("id", "name", "scopes", "only for", "expires", "state")
    for key in keys:
        table.add_row(
            key.id,
            key.name,
            " ".join(key.scopes),
            " ".join([*(key.sources or ()), *(key.event_types or ())]) or "everything",
            f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "never",
            _state(key),
        )
    out.print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `cdp keys list` shows it.")],
    tenant: Tenant,
) -> None:
    """Revoke a key: refused everywhere within a second."""

    async def command(settings: Settings) -> bool:
        return await access.revoke_key(await tenant_id(tenant), key_id)

    if not with_database(command):
        raise Problem(
            f"tenant {tenant} has no live key {key_id!r} (cdp keys list --tenant {tenant})"
        )
    out.print(f"key {key_id} revoked")


@app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `cdp keys list` shows it.")],
    tenant: Tenant,
    grace: Annotated[
        str, typer.Option("--grace", help="How long the old key works on: 24h, 7d, …")
    ] = "24h",
    as_json: Json = False,
) -> None:
    """Make a new key that may do the same; the old one works on for the grace."""
    keep = duration(grace)

    async def command(settings: Settings) -> NewKey | None:
        return await access.rotate_key(
            await tenant_id(tenant), key_id, environment=settings.environment, grace=keep
        )

    new = with_database(command)
    if new is None:
        raise Problem(
            f"tenant {tenant} has no live key {key_id!r} that was not rotated yet"
            f" (cdp keys list --tenant {tenant})"
        )
    _show(new, as_json, {"tenant": tenant, "replaces": key_id})


def _end_of(expires: str | None) -> datetime | None:
    if expires is None:
        return None
    life = duration(expires)
    if not life:
        raise Problem("a key that expires at once is of no use: --expires 90d")
    return clock.now() + life


def _check_names(name: str, sources: list[str], event_types: list[str]) -> None:
    """raises  Problem: a key for a source that no event can have would never work"""
    if not name.strip():
        raise Problem("--name is for people: say what the key is for")
    for source in sources:
        if key_flaw(source) is not None:
            raise Problem(f"{source!r} is no source: 1 to 255 characters, no space at either end")
    for event_type in event_types:
        if not is_event_type_name(event_type):
            raise Problem(f"{event_type!r} is no event type: lower-case words joined by _ or .")


def _show(new: NewKey, as_json: bool, about: dict[str, object]) -> None:
    if as_json:
        out.print_json(json.dumps({"id": new.public_id, "key": new.text, **about}))
        return
    out.print(f"key {new.public_id}, shown this once:\n{new.text}")


def _state(key: KeyInfo) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= clock.now():
        return "expired"
    return "live"


def _iso(when: datetime | None) -> str | None:
    return when.isoformat(timespec="seconds") if when else None
