"""The pinned dependencies: complete, with hashes, from nowhere in particular."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
ENTRY = re.compile(r"(?P<name>[a-z0-9-]+)==\S+(?: ; .+?)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def names_in(lock: str) -> set[str]:
    lines = (ROOT / lock).read_text().splitlines()
    return {match["name"] for line in lines if (match := ENTRY.fullmatch(line))}


def needed_by(requirements: list[str]) -> Iterator[str]:
    """Names of everything that is needed here, extras followed."""
    waiting = [(Requirement(text), "") for text in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, for_extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": for_extra}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            below = metadata.requires(name) or []
            waiting += [(Requirement(text), extra) for text in below]
    yield from {name for name, _ in seen}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_line_names_an_address(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        assert ENTRY.fullmatch(line) or HASH.fullmatch(line), line
        assert HASH.fullmatch(line) or HASH.fullmatch(following), line


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_holds_all_that_is_needed(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    if lock == "requirements-dev.lock":
        wanted += project["dependency-groups"]["dev"]
    assert set(needed_by(wanted)) <= names_in(lock)


@pytest.mark.parametrize("file", ["Dockerfile", "scripts/setup"])
def test_the_lock_is_installed_as_it_is(file: str) -> None:
    """With dependencies, pip asks for the hashes of `name[extra]`, which no lock has."""
    installs = [line for line in (ROOT / file).read_text().splitlines() if ".lock" in line]
    installs = [line for line in installs if "install" in line]
    assert installs
    assert all("--no-deps" in line and "--require-hashes" in line for line in installs)
