"""The `cdp` command: puts the nouns together and turns expected failures into one line."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from app.cli import demo, doctor, events, keys, quarantine, registry, serve, sources, tenants
from app.cli.runtime import EXPECTED_ERRORS, Problem, one_line

app = typer.Typer(
    name="cdp",
    help="Customer event ingestion: run the service and manage what it accepts.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("migrate")(serve.migrate_command)
app.add_typer(tenants.app, name="tenants")
app.add_typer(keys.app, name="keys")
app.add_typer(sources.app, name="sources")
app.add_typer(registry.app, name="registry")
app.add_typer(events.app, name="events")
app.add_typer(quarantine.app, name="quarantine")
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Entry point. An expected failure is one readable line on standard error and exit code 1."""
    try:
        app()
    except Problem as problem:
        _fail(str(problem), problem.exit_code)
    except EXPECTED_ERRORS as error:
        _fail(one_line(error), 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str, exit_code: int) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"cdp: {message}", markup=False)
    sys.exit(exit_code)
