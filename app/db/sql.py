"""Named statements: `queries.sql` beside each `queries.py`, one `-- name:` line a statement."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_statements(python_file: str) -> dict[str, str]:
    """The statements of the .sql file beside this .py file, by name.

    raises  ValueError when a name is given twice or text stands before the first name.
    """
    text = Path(python_file).with_suffix(".sql").read_text("utf-8")
    head, *parts = _NAME.split(text)
    if any(line and not line.startswith("--") for line in head.splitlines()):
        raise ValueError(f"{python_file}: SQL before the first name")
    statements = dict(zip(parts[::2], (body.strip() for body in parts[1::2]), strict=True))
    if len(statements) != len(parts) // 2:
        raise ValueError(f"{python_file}: a name is given twice")
    return statements
