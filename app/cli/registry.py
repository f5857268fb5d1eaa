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
from app.registry.plan import NewVersion, Plan
from app.registry.service import apply_files, plan_files, pull_files
from app.registry.type_settings import SettingDifference
from app.settings import Settings

app = typer.Typer(help="The registry as files: lint, plan, apply, pull.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Argument(help="Folder of `<event_type>/<version>.json`; the product's own by default."),
]

FilesWin = Annotated[
    bool,
    typer.Option(
        "--files-win",
        help="Take owner, names and compatibility from the files even where they were changed"
        " over the API.",
    ),
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
def plan(tenant: Tenant, folder: Folder = None, files_win: FilesWin = False) -> None:
    """Show what apply would do. Exit code 0: nothing; 2: changes; 1: it would be refused."""
    files = read_registry(folder or registry_folder(), check_compatibility=False)

    async def command(settings: Settings) -> Plan:
        return await plan_files(await tenant_id(tenant), files, files_win=files_win)

    found = with_database(command)
    _show(found)
    if found.drifts or found.conflicts or found.incompatible or found.lowered:
        raise Problem("apply would be refused")
    if found.new_versions or found.setting_changes:
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
    files_win: FilesWin = False,
) -> None:
    """Publish what is new: all of it, or nothing. Enforced by every worker within a second."""
    files = read_registry(folder or registry_folder(), check_compatibility=False)
    grace_until = clock.now() + duration(grace)

    async def command(settings: Settings) -> Plan:
        return await apply_files(
            await tenant_id(tenant),
            files,
            actor="cli",
            reason=force_reason,
            grace_until=grace_until if force_reason else None,
            files_win=files_win,
        )

    done = with_database(command)
    for version in done.new_versions:
        out.print(f"published {version.event_type} version {version.version}")
    for change in done.setting_changes:
        out.print(f"{change.event_type}: {_said(change)}", markup=False)
    out.print(f"{len(done.new_versions)} published, {done.unchanged} unchanged")


@app.command()
def pull(
    tenant: Tenant, folder: Annotated[Path, typer.Argument(help="Folder to write into.")]
) -> None:
    """Write the published registry to files."""

    async def command(settings: Settings) -> Mapping[str, Mapping[int, Mapping[str, Any]]]:
        return await pull_files(await tenant_id(tenant))

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
    for difference in plan.settings:
        _show_difference(difference)
    for name, status in plan.not_active.items():
        out.print(f"  {name}: {status.lower()} over the API; files leave that alone", style="dim")
    for name in plan.elsewhere:
        out.print(f"  {name}: in the registry, not in these files", style="dim")
    out.print(f"{len(plan.new_versions)} to publish, {plan.unchanged} unchanged")


def _show_difference(found: SettingDifference) -> None:
    name, said = found.event_type, _said(found)
    if found.change == "apply":
        out.print(f"~ {name}: {said}", style="bold", markup=False)
    elif found.change == "keep":
        kept = f"{found.setting} stays {found.registry!r}, changed over the API"
        out.print(f"  {name}: {kept}; the files say {found.files!r}", style="dim", markup=False)
    else:
        out.print(f"! {name}: {said}, but both changed it", style="red", markup=False)


def _said(found: SettingDifference) -> str:
    return f"{found.setting} {found.registry!r} → {found.files!r}"


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
