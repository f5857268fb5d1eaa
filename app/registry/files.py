"""Event types as files: `<event_type>/<version>.json`, read with all their faults, written by pull.

Never looks at what is published: `service` compares the two.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from app.registry import linter, spec
from app.registry.evolution import compatibility_findings

MAX_FILE_BYTES = 1 << 20
"""Looked at before a file is parsed. The document itself, as compact JSON, is limited to 64 KiB."""

_VERSION_FILE = re.compile(r"([1-9][0-9]{0,8})\.json")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\],:]|[^\s{}\[\],:"]++')


class Problem(msgspec.Struct, frozen=True):
    """One thing to mend, where an editor can jump to it."""

    file: str
    line: int
    pointer: str
    """JSON Pointer into the document; "" is the whole file."""
    message: str

    def __str__(self) -> str:
        where = f"{self.pointer}: " if self.pointer else ""
        text = f"{self.file}:{self.line}: {where}{self.message}"
        return text.encode("utf-8", "replace").decode()  # a name may hold half a surrogate pair


class RegistryFilesError(Exception):
    """The files cannot be used; holds every problem in all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class FileVersion(msgspec.Struct, frozen=True):
    version: int
    document: dict[str, Any]
    checksum: str
    path: Path


class RegistryFiles(msgspec.Struct, frozen=True):
    event_types: Mapping[str, Sequence[FileVersion]]
    """Versions 1 to n of each, in order."""
    warnings: Sequence[Problem] = ()


class _Container(msgspec.Struct):
    """An object or array that is open where the position finder is."""

    pointer: str
    names: set[str] | None
    """Those met so far; None in an array."""
    index: int = 0


class _Parsed(msgspec.Struct, frozen=True):
    version: FileVersion
    line_by_pointer: Mapping[str, int]


def read_registry(directory: Path, *, check_compatibility: bool = True) -> RegistryFiles:
    """Read every event type of a folder.

    check_compatibility  False lets versions pass that break with an earlier one: for a registry
                         in which such a version was, or is to be, forced
    raises               RegistryFilesError with all problems; warnings alone do not raise
    """
    if not directory.is_dir():
        raise RegistryFilesError([Problem(str(directory), 1, "", "there is no such folder")])
    problems: list[Problem] = []
    warnings: list[Problem] = []
    event_types: dict[str, Sequence[FileVersion]] = {}
    for folder in sorted(directory.iterdir()):
        if folder.name.startswith(".") or folder.suffix == ".md":
            continue
        if not folder.is_dir():
            message = "only folders of event types belong here: <event_type>/<version>.json"
            problems.append(Problem(str(folder), 1, "", message))
            continue
        for finding in linter.lint_event_type(folder.name, event_types):
            found = problems if finding.severity == "error" else warnings
            found.append(Problem(str(folder), 1, "", finding.message))
        parsed = [
            _read_version(file, problems, warnings) for file in _version_files(folder, problems)
        ]
        sound = [entry for entry in parsed if entry is not None]
        if check_compatibility and len(sound) == len(parsed):
            problems += _incompatibilities(sound)
        event_types[folder.name] = [entry.version for entry in sound]
    if problems:
        raise RegistryFilesError(problems)
    return RegistryFiles(event_types, warnings)


def write_registry(
    directory: Path, event_types: Mapping[str, Mapping[int, Mapping[str, Any]]]
) -> None:
    """Write documents by event type and version; a file that says the same already is left alone.

    Keywords come in the order of `spec.KEYWORDS`, properties by name: jsonb has lost the order.
    """
    for name, documents in event_types.items():
        if not spec.is_event_type_name(name):
            raise ValueError("not an event type's name")
        folder = directory / name
        folder.mkdir(parents=True, exist_ok=True)
        for version, document in documents.items():
            file = folder / f"{version}.json"
            if not _says(file, document):
                text = json.dumps(_ordered(document), indent=2, ensure_ascii=False)
                file.write_text(text + "\n", encoding="utf-8", newline="\n")


def checksum(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document's meaning: key order and spelling (1e2, 100.0, 100) do not matter.

    So a document read back from jsonb has the checksum of its file.
    """
    canonical = json.dumps(_plain(document), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))  # as it is written: int(1e23) is another number
    return value


def _ordered(schema: Mapping[str, Any]) -> dict[str, Any]:
    ordered = {name: schema[name] for name in spec.KEYWORDS if name in schema}
    if "properties" in ordered:
        members = ordered["properties"]
        ordered["properties"] = {name: _ordered(members[name]) for name in sorted(members)}
    if "items" in ordered:
        ordered["items"] = _ordered(ordered["items"])
    return ordered


def _says(file: Path, document: Mapping[str, Any]) -> bool:
    try:
        return checksum(json.loads(file.read_bytes())) == checksum(document)
    except (OSError, ValueError, RecursionError):
        return False


def _version_files(folder: Path, problems: list[Problem]) -> list[Path]:
    """The version files in order; notes what else is there, and gaps."""
    files: dict[int, Path] = {}
    for file in folder.iterdir():
        match = _VERSION_FILE.fullmatch(file.name)
        if match and file.is_file():
            files[int(match[1])] = file
        elif not file.name.startswith(".") and file.suffix != ".md":
            problems.append(Problem(str(file), 1, "", "a version's file is 1.json, 2.json, …"))
    if not files:
        problems.append(Problem(str(folder), 1, "", "no version: 1.json is missing"))
    for expected, number in enumerate(sorted(files), 1):
        if number != expected:
            message = f"version {expected} is missing: versions are numbered from 1 without gaps"
            problems.append(Problem(str(files[number]), 1, "", message))
            break
    return [files[number] for number in sorted(files)]


def _read_version(file: Path, problems: list[Problem], warnings: list[Problem]) -> _Parsed | None:
    """One file; None, with its problems noted, when it cannot be used."""
    try:
        text = _text(file)
        document = json.loads(text)
    except json.JSONDecodeError as error:
        problems.append(Problem(str(file), error.lineno, "", f"{error.msg} (column {error.colno})"))
        return None
    except RecursionError:
        problems.append(Problem(str(file), 1, "", "objects and arrays are nested hundreds deep"))
        return None
    except (OSError, ValueError) as error:
        problems.append(Problem(str(file), 1, "", str(error)))
        return None
    line_by_pointer, repeated = positions(text)
    found = [
        Problem(str(file), line, pointer, "the member is there twice") for pointer, line in repeated
    ]
    for finding in linter.lint(document):
        line = _line(line_by_pointer, finding.path)
        problem = Problem(str(file), line, finding.path, f"{finding.message} ({finding.rule})")
        (found if finding.severity == "error" else warnings).append(problem)
    if found:
        problems += sorted(found, key=lambda problem: problem.line)
        return None
    version = FileVersion(int(file.stem), document, checksum(document), file)
    return _Parsed(version, line_by_pointer)


def _text(file: Path) -> str:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"over {MAX_FILE_BYTES} bytes")
    raw = file.read_bytes()
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError("not UTF-8", raw.decode("latin-1"), error.start) from None


def _incompatibilities(versions: Sequence[_Parsed]) -> Iterator[Problem]:
    """Versions that break with those before them, each under the mode that it declares."""
    for index, entry in enumerate(versions):
        history = [earlier.version.document for earlier in versions[:index]]
        mode = spec.settings(entry.version.document).compatibility
        for place, breakage in compatibility_findings(mode, history, entry.version.document):
            parts = breakage.path.split("/")[1:]
            pointer = "".join("/items" if part == "*" else f"/properties/{part}" for part in parts)
            message = (
                f"{breakage.path or '/'} breaks {breakage.rule} against version {place + 1}:"
                f" {breakage.message}. {breakage.mend}"
            )
            line = _line(entry.line_by_pointer, pointer)
            yield Problem(str(entry.version.path), line, pointer, message)


def _line(line_by_pointer: Mapping[str, int], pointer: str) -> int:
    """Of the place, or of the nearest one around it that the text has."""
    while pointer not in line_by_pointer and pointer:
        pointer = pointer.rpartition("/")[0]
    return line_by_pointer.get(pointer, 1)


def positions(text: str) -> tuple[dict[str, int], list[tuple[str, int]]]:
    """The line of each member and item by JSON Pointer, and the members that are there twice.

    text  well-formed JSON
    """
    line_by_pointer: dict[str, int] = {}
    repeated: list[tuple[str, int]] = []
    around: list[_Container] = []
    line, end, at, naming = 1, 0, "", False
    for token in _TOKEN.finditer(text):
        line += text.count("\n", end, token.start())
        end = token.start()
        sign = token[0]
        if sign in "}]":
            around.pop()
            naming = False
        elif sign == ",":
            naming = around[-1].names is not None
            around[-1].index += 1
            at = f"{around[-1].pointer}/{around[-1].index}"
        elif naming and sign != ":":
            name = json.loads(sign)
            at = f"{around[-1].pointer}/{spec.pointer_part(name)}"
            names = around[-1].names
            assert names is not None
            if name in names:
                repeated.append((at, line))
            names.add(name)
            line_by_pointer[at] = line
            naming = False
        elif sign != ":":
            line_by_pointer.setdefault(at, line)
            if sign in "{[":
                around.append(_Container(at, set() if sign == "{" else None))
                naming = sign == "{"
                at += "/0"
    return line_by_pointer, repeated
