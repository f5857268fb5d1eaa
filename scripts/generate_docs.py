"""Writes the parts of docs/ that come from the code: `python -m scripts.generate_docs`."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from app.api.graphql.schema import build_schema
from app.api.rest.openapi import openapi_document
from app.errors import CATALOGUE, REASONS
from app.settings import PREFIX, Settings
from scripts.compatibility_page import compatibility_markdown

ROOT = Path(__file__).parent.parent
COMMAND = "python -m scripts.generate_docs"


def generated_files() -> dict[Path, str]:
    """The text of every generated file, the same on every run."""
    return {
        ROOT / "docs" / "api" / "openapi.json": openapi_json(),
        ROOT / "docs" / "api" / "schema.graphql": build_schema().as_str() + "\n",
        ROOT / "docs" / "errors.md": errors_markdown(),
        ROOT / "docs" / "contract-tests.md": contract_markdown(),
        ROOT / "docs" / "settings.md": settings_markdown(),
        ROOT / "docs" / "compatibility.md": compatibility_markdown(COMMAND, _table),
    }


def openapi_json() -> str:
    return json.dumps(openapi_document(), indent=2, ensure_ascii=False) + "\n"


def errors_markdown() -> str:
    """The catalogue: what integrators switch on, and the finer reasons."""
    codes = [(f"`{code}`", str(e.status), e.title, e.retry) for code, e in CATALOGUE.items()]
    reasons = [(f"`{code}`", meaning) for code, meaning in REASONS.items()]
    return f"""\
# Errors

Generated from `app/errors.py` by `{COMMAND}`.

## `error_code`

The set is closed: switch on it. `message` is for people and may change.

{_table(("error_code", "status", "meaning", "does a retry help?"), codes)}

## `errors[].code` and `warnings[].code`

The finer reason, at the place that `path` (a JSON Pointer into the event as sent) names.

{_table(("code", "meaning"), reasons)}
"""


def contract_markdown() -> str:
    """Each rule of the contract and the tests that show it, from the tests' own markers."""
    shown: dict[tuple[int, int, str], list[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for rule in _rules(function):
                    number = [int(part) for part in rule.partition(":")[0].split(".")]
                    where = f"`{file.relative_to(ROOT / 'tests')}` {function.name}"
                    shown.setdefault((number[0], (*number, 0)[1], rule), []).append(where)
    rows = [(rule, "<br>".join(shown[key])) for key in sorted(shown) for rule in key[2:]]
    return f"""\
# The contract's rules and their tests

Generated from the markers in `tests/` by `{COMMAND}`. 4.n is row n of the decisions: see
[what callers are promised](api/contract.md).

{_table(("rule", "shown by"), rows)}
"""


def settings_markdown() -> str:
    """Every variable that the service reads."""
    described = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    rows = [
        (f"`{PREFIX}{name.upper()}`", _default(name, entry), entry.get("description", ""))
        for name, entry in described.items()
    ]
    return f"""\
# Settings

Generated from `app/settings.py` by `{COMMAND}`. Limits that callers are promised are no settings.

{_table(("variable", "default", "meaning"), rows)}

Read elsewhere: `CDP_PG_BIN` (folder of the Postgres programs to use), `CDP_TEST_DATABASE_URL` (the
suite's server), `CDP_URL` and `CDP_KEY` (what `cdp events import` and `cdp demo` talk to).
"""


def _default(name: str, entry: dict[str, Any]) -> str:
    if name == "workers":  # another on every machine
        return "by cores"
    return "–" if entry["default"] is None else f"`{entry['default']}`"


def _rules(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for call in function.decorator_list:
        if isinstance(call, ast.Call) and ast.unparse(call.func) in (
            "rule",
            "pytest.mark.contract",
        ):
            yield ast.literal_eval(call.args[0])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def main() -> None:
    for path, text in generated_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
