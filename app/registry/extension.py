"""Proposes the next version of a document from properties that it did not know.

Pure. Only ever adds optional properties; what is there already stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import msgspec

from app.registry.inference import (
    MAX_PROPOSED_BYTES,
    Candidate,
    Path,
    Seen,
    admitted,
    candidates,
    is_usable,
    own_candidate,
    property_of,
    usable_names,
)
from app.registry.personal import pii_class
from app.registry.spec import MAX_DEPTH, MAX_PROPERTIES, properties, settings


class Place(msgspec.Struct, frozen=True):
    """An object of the document, and what was seen there."""

    schema: dict[str, Any]
    path: Path
    seen: Seen


def extend(
    document: Mapping[str, Any],
    samples: Iterable[Mapping[str, Any]],
    stripped: Mapping[str, int],
) -> dict[str, Any]:
    """The document with the unknown properties that its events had.

    samples   decoded `properties` of events that were refused for unknown names
    stripped  JSON Pointer into an event ("/properties/a/0/b") → how often that was left out; the
              value is gone, so what is proposed has no type
    """
    extended = deepcopy(dict(document))
    seen = Seen()
    for sample in samples:
        seen.add(sample)
    left = MAX_PROPERTIES - len(properties(document))
    size = len(msgspec.json.encode(document))
    places = list(_closed_objects(extended, (), seen, settings(document).unknown == "reject"))
    found = [entry for place in places for entry in _unknown(place)]
    proposed = admitted(found, left, MAX_PROPOSED_BYTES - size)
    for place in places:
        for name in sorted(place.seen.members):
            below = (*place.path, name)
            if below in proposed:
                place.schema.setdefault("properties", {})[name] = property_of(
                    place.seen.members[name], below, place.seen.objects, proposed
                )
    _add_stripped(extended, stripped)
    return extended


def _closed_objects(
    schema: dict[str, Any], path: Path, seen: Seen, rejects: bool
) -> Iterator[Place]:
    """Where unknown names were refused. In an open object a new property with a type would refuse
    what was accepted."""
    while "items" in schema and seen.items is not None:
        schema, path, seen = schema["items"], (*path, ""), seen.items
    members = schema.get("properties", {})
    closed = rejects and (not path or "properties" in schema)
    if path and "additionalProperties" in schema:
        closed = schema["additionalProperties"] is False
    if closed:
        yield Place(schema, path, seen)
    for name in members.keys() & seen.members.keys():
        yield from _closed_objects(members[name], (*path, name), seen.members[name], rejects)


def _unknown(place: Place) -> Iterator[Candidate]:
    known = place.schema.get("properties", {})
    for name in usable_names(place.seen):
        if name not in known:
            entry = own_candidate((*place.path, name), place.seen.members[name], ())
            yield entry
            yield from candidates(entry.seen, entry.path)


def _add_stripped(document: dict[str, Any], stripped: Mapping[str, int]) -> None:
    """The commonest first, while there is room."""
    times: Counter[Path] = Counter()
    objects: dict[Path, dict[str, Any]] = {}
    for pointer, count in stripped.items():
        place = _place_of(document, pointer)
        if place is not None:
            path, objects[path] = place
            times[path] += count
    left = MAX_PROPERTIES - len(properties(document))
    room = MAX_PROPOSED_BYTES - len(msgspec.json.encode(document))
    for path in sorted(times, key=lambda p: (-times[p], p)):
        untyped = {"$comment": f"left out {times[path]} times: its type is not known"}
        personal = pii_class(path[-1])
        untyped |= {} if personal == "none" else {"x-pii": personal}
        room -= len(msgspec.json.encode({path[-1]: untyped})) + 1
        left -= 1
        if left >= 0 and room >= 0:
            objects[path].setdefault("properties", {})[path[-1]] = untyped


def _place_of(document: dict[str, Any], pointer: str) -> tuple[Path, dict[str, Any]] | None:
    """Path of a usable name that the document lacks, and the object schema it belongs to."""
    schema = document
    path: Path = ()
    *around, name = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[2:])
    for part in around:
        if part.isdecimal() and "items" in schema:
            schema, path = schema["items"], (*path, "")
        elif part in schema.get("properties", {}):
            schema, path = schema["properties"][part], (*path, part)
        else:
            return None
    known = name in schema.get("properties", {})
    fits = len(path) + 2 <= MAX_DEPTH
    return ((*path, name), schema) if is_usable(name) and not known and fits else None
