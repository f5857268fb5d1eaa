"""`cdp registry`: event schemas as files, checked, compared and published."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from app import clock
from app.cli.keys import Tenant
from app.cli.runtime import Problem, duration, out, tenant_id, with_database
from app.cli.starter import registry_folder
from app.registry.files import read_registry, write_registry
from app.registry.service import NewVersion, Plan, apply_files, plan_files, pull_files
from app.settings import Settings

app = typer.Typer(help="The registry as files: lint, plan, apply, pull.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Argument(help="Folder of <event_type>/<version>.json; the product's own by default."),
]

CHANGES_AHEAD = 2
"""Exit code of a plan that would change something, as in other plan commands."""


@app.command()
def lint(folder: Folder = None) -> None:
    """Check the files alone: syntax, rules, versions, compatibility among them."""
    files = read_registry(folder or registry_folder())
    versions = sum(len(versions) for versions in files.event_types.values())
    out.print(f"{len(files.event_types)} event types, {versions} versions: fine")


@app.command()
def plan(tenant: Tenant, folder: Folder = None) -> None:
    """Show what apply would do. Exit code 0: nothing; 2: changes; 1: it would be refused."""
    files = read_registry(folder or registry_folder(), check_compatibility=False)

    async def command(settings: Settings) -> Plan:
        return await plan_files(await tenant_id(tenant), files)

    found = with_database(command)
    _show(found)
    if found.drifts or found.incompatible:
        raise Problem("apply would be refused")
    if found.new_versions:
        raise typer.Exit(CHANGES_AHEAD)


@app.command()
def apply(
    tenant: Tenant,
    folder: Folder = None,
    force_reason: Annotated[
        str | None,
        typer.Option("--force-reason", help="Publish incompatible versions; say why."),
    ] = None,
    grace: Annotated[
        str, typer.Option("--grace", help="How long the version before a forced one is accepted.")
    ] = "14d",
) -> None:
    """Publish what is new: all of it, or nothing. Enforced by every worker within a second."""
    files = read_registry(folder or registry_folder(), check_compatibility=False)
    grace_until = clock.now() + duration(grace)

    async def command(settings: Settings) -> Plan:
        return await apply_files(
            await tenant_id(tenant),
            files,
            actor="cdp registry apply",
            reason=force_reason,
            grace_until=grace_until if force_reason else None,
        )

    done = with_database(command)
    for version in done.new_versions:
        out.print(f"published {version.event_type} version {version.version}")
    out.print(f"{len(done.new_versions)} published, {done.unchanged} unchanged")


@app.command()
def pull(
    tenant: Tenant, folder: Annotated[Path, typer.Argument(help="Folder to write into.")]
) -> None:
    """Write the published registry to files."""

    async def command(settings: Settings) -> Mapping[str, Mapping[int, Any]]:
        stored = await pull_files(await tenant_id(tenant))
        return {n: {v.version: v.document for v in versions} for n, versions in stored.items()}

    event_types = with_database(command)
    write_registry(folder, event_types)
    out.print(f"{len(event_types)} event types written to {folder}")


def _show(plan: Plan) -> None:
    for version in plan.new_versions:
        out.print(f"+ {version.event_type} version {version.version}", style="bold")
        _show_diff(version)
        if version.breakages:
            out.print("  INCOMPATIBLE", style="red")
        elif version.before is not None:
            out.print("  compatible with every version before it", style="green")
        for number, breakage in version.breakages:
            out.print(f"  {breakage.path or '/'}: {breakage.rule} (version {number})", style="red")
            out.print(f"    {breakage.message}", markup=False)
            out.print(f"    to mend it: {breakage.mend}", markup=False)
    for drift in plan.drifts:
        out.print(f"! {drift.event_type} version {drift.version}: {drift.message}", style="red")
    for name in plan.elsewhere:
        out.print(f"  {name}: published, not in these files", style="dim")
    out.print(f"{len(plan.new_versions)} to publish, {plan.unchanged} unchanged")


def _show_diff(version: NewVersion) -> None:
    if version.before is None:
        for name in version.document.get("properties", {}):
            out.print(f"    + {name}", style="green", markup=False)
        return
    before, after = (
        json.dumps(document, indent=2, sort_keys=True).splitlines()
        for document in (version.before, version.document)
    )
    for line in difflib.unified_diff(before, after, lineterm="", n=2):
        if not line.startswith(("---", "+++", "@@")):
            style = {"+": "green", "-": "red"}.get(line[:1])
            out.print(f"    {line}", style=style, markup=False)
