"""The `cdp` command: puts the nouns together and turns expected failures into one line."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer
from rich.console import Console
from typer.exceptions import TyperException

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
    """Entry point. An expected failure is one readable line on standard error, and a code not 0."""
    try:
        exit_code = app(prog_name="cdp", standalone_mode=False)
    except TyperException as error:
        _fail(_misuse(error), error.exit_code)
    except Problem as problem:
        _fail(str(problem), problem.exit_code)
    except EXPECTED_ERRORS as error:
        _fail(one_line(error), 1)
    except KeyboardInterrupt:
        exit_code = 130
    sys.exit(exit_code)


def _misuse(error: TyperException) -> str:
    """What is wrong with the command as typed; empty when its help was shown instead."""
    message = error.format_message().replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    return f"{message} (see {context.command_path} --help)" if message and context else message


def _fail(message: str, exit_code: int) -> NoReturn:
    if message:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"cdp: {message}", markup=False)
    sys.exit(exit_code)
