"""Proposes a document from events that were rejected: names, types, what is always there.

Pure, and the same whatever the order of the samples. Never repeats a value: values can be personal
data, so there is no enum, default, example or limit in what it proposes.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from app.registry.personal import pii_class
from app.registry.spec import MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_PROPERTIES, is_property_name
from app.registry.validator import compile_schema

MIN_REQUIRED_SAMPLES = 10
"""Seen in fewer, an object's properties are all optional: making one optional later is a
compatible change, so a guess may only err on that side."""
MAX_PROPOSED_BYTES = MAX_DOCUMENT_BYTES * 3 // 4
"""Room is left for descriptions and limits that people add."""
FORMATS = ("date-time", "date", "uuid", "email")
MAX_FORMAT_CHARS = 320
"""Of an email address (RFC 3696, erratum 1690); the other formats are shorter."""

_VALUE_IN_NAME = re.compile("@|[0-9]{6}|[0-9a-f]{8}-[0-9a-f]{4}", re.IGNORECASE)
"""A map's key, not a name: an address or a number, which may be somebody's."""
_PROPERTY_BYTES = 200
_ITEMS_BYTES = 60
_HAS_FORMAT = {
    name: compile_schema({"type": "string", "format": name}).is_valid for name in FORMATS
}


_NO_KINDS: frozenset[str] = frozenset()
_ALL_FORMATS = frozenset(FORMATS)


class Seen:
    """What all values at one place had in common so far."""

    __slots__ = ("count", "formats", "items", "kinds", "members", "objects")

    def __init__(self) -> None:
        self.count = 0
        self.kinds: frozenset[str] = _NO_KINDS
        self.formats = _ALL_FORMATS
        """Those that every text so far has."""
        self.objects = 0
        self.members: dict[str, Seen] = {}
        self.items: Seen | None = None

    def add(self, value: Any, depth: int = 1) -> None:
        self.count += 1
        kind = _kind(value)
        if kind not in self.kinds:
            self.kinds |= {kind}
        if kind == "string" and self.formats:
            self.formats = frozenset(name for name in self.formats if _has_format(name, value))
        elif kind == "object" and depth < MAX_DEPTH:
            self._add_members(value, depth + 1)
        elif kind == "array" and depth < MAX_DEPTH:
            self.items = self.items or Seen()
            for part in value:
                self.items.add(part, depth + 1)

    def _add_members(self, value: Mapping[str, Any], depth: int) -> None:
        self.objects += 1
        for name, part in value.items():
            seen = self.members.get(name)
            if seen is None:
                seen = self.members[name] = Seen()
            seen.add(part, depth)

    def type(self) -> str | None:
        """The one type beside null; None when there are several, or null alone."""
        kinds = self.kinds - {"null"}
        if kinds == {"integer", "number"}:
            return "number"
        return next(iter(kinds)) if len(kinds) == 1 else None


Path = tuple[str, ...]
"""Names from the root; the items of an array are "", which is nobody's name."""


class Candidate(msgspec.Struct, frozen=True):
    """A property that could be proposed."""

    path: Path
    seen: Seen
    parent: Path
    """Of the property that it is inside of; () at the root."""
    cost: int


def infer(samples: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A document under which every sample is valid; it passes `lint`.

    samples  decoded `properties`; of a great many names the commonest are proposed, and the
             unknown policy is "strip" where any were left out
    cost     2 to 10 µs for each value: in a thread
    """
    seen = Seen()
    for sample in samples:
        seen.add(sample)
    proposed = admitted(candidates(seen, ()), MAX_PROPERTIES, MAX_PROPOSED_BYTES)
    document: dict[str, Any] = {"type": "object"}
    if any((name,) not in proposed for name in seen.members):
        document["x-unknown-properties"] = "strip"
    return document | _members(seen, (), proposed)


def candidates(seen: Seen, path: Path) -> Iterator[Candidate]:
    """Every property below a place that could be proposed."""
    here = path
    while seen.type() == "array" and seen.items is not None:
        seen, here = seen.items, (*here, "")
    if seen.type() == "object":
        for name in usable_names(seen):
            below = (*here, name)
            yield own_candidate(below, seen.members[name], path)
            yield from candidates(seen.members[name], below)


def usable_names(seen: Seen) -> list[str]:
    """The commonest of an object: as many as a document may have properties."""
    names = filter(is_usable, seen.members)
    return heapq.nsmallest(MAX_PROPERTIES, names, key=lambda n: (-seen.members[n].count, n))


def own_candidate(path: Path, seen: Seen, parent: Path) -> Candidate:
    return Candidate(path, seen, parent, _cost(path[-1], seen))


def is_usable(name: str) -> bool:
    """Whether it can be proposed: a name, and not a value that is used as one."""
    return is_property_name(name) and not _VALUE_IN_NAME.search(name)


def admitted(found: Iterable[Candidate], max_properties: int, max_bytes: int) -> set[Path]:
    """The paths that fit: outer ones first, then the commonest, then by name."""
    taken: set[Path] = set()
    left = max_bytes
    for entry in sorted(found, key=lambda c: (len(c.path), -c.seen.count, c.path)):
        fits = len(taken) < max_properties and entry.cost <= left
        if fits and (not entry.parent or entry.parent in taken):
            taken.add(entry.path)
            left -= entry.cost
    return taken


def schema_of(seen: Seen, path: Path, proposed: set[Path]) -> dict[str, Any]:
    """What one value may be, by what was seen of it."""
    schema: dict[str, Any] = {}
    kind = seen.type()
    if kind is None:
        kinds = sorted(seen.kinds - {"null"})
        if kinds:
            schema["$comment"] = f"seen as {', '.join(kinds)}: settle on one"
        return schema
    schema["type"] = [kind, "null"] if "null" in seen.kinds else kind
    if kind == "string":
        formats = [name for name in FORMATS if name in seen.formats]
        schema |= {"format": formats[0]} if formats else {}
        schema |= {"x-pii": "direct"} if "email" in formats[:1] else {}
    elif kind == "array" and seen.items is not None and seen.items.count:
        schema["items"] = schema_of(seen.items, (*path, ""), proposed)
    elif kind == "object":
        members = _members(seen, path, proposed)
        if members and len(members["properties"]) < len(seen.members):
            members["additionalProperties"] = True
        schema |= members
    return schema


def property_of(seen: Seen, path: Path, objects: int, proposed: set[Path]) -> dict[str, Any]:
    """The same under its name. objects: how many could have had it."""
    schema = schema_of(seen, path, proposed)
    notes = [f"in {seen.count} of {objects}", schema.get("$comment")]
    schema["$comment"] = "; ".join(filter(None, notes))
    personal = pii_class(path[-1])
    return schema if personal == "none" else schema | {"x-pii": personal}


def _members(seen: Seen, path: Path, proposed: set[Path]) -> dict[str, Any]:
    """`properties` and `required` of an object; nothing when none of its names is proposed."""
    kept = {n: seen.members[n] for n in sorted(seen.members) if (*path, n) in proposed}
    if not kept:
        return {}
    required = [name for name, member in kept.items() if member.count == seen.objects]
    members: dict[str, Any] = {}
    if required and seen.objects >= MIN_REQUIRED_SAMPLES:
        members["required"] = required
    members["properties"] = {
        name: property_of(member, (*path, name), seen.objects, proposed)
        for name, member in kept.items()
    }
    return members


def _cost(name: str, seen: Seen) -> int:
    """Bytes of a property in a document, at most."""
    chain = 0
    inner: Seen | None = seen
    while inner is not None and inner.items is not None:
        inner, chain = inner.items, chain + 1
    spelt = len(json.dumps(name, ensure_ascii=False).encode())
    return 2 * spelt + _PROPERTY_BYTES + _ITEMS_BYTES * chain


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float() | Decimal():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case None:
            return "null"
        case _:
            return "object"


def _has_format(name: str, text: str) -> bool:
    return len(text) <= MAX_FORMAT_CHARS and _HAS_FORMAT[name](text)
