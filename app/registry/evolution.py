"""Which changes of a version document break what was valid before.

Pure. Sound, not complete: a change that it lets pass breaks nothing, but where the answer would
need reasoning about patterns or formats it says breakage. Never decides whether a breakage may be
forced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec

from app.registry.spec import TYPES, enumerated, pointer_part, types_of
from app.registry.validator import compile_schema, effective_schema

MENDS: Mapping[str, str] = {
    "property_removed_while_unknown_rejected": "Keep the property, deprecated, or let the version"
    ' accept unknown ones (x-unknown-properties "strip" or "allow").',
    "property_became_required": "Leave it optional; if every event must have it, that is a new"
    " event type.",
    "required_property_added": "Add it as an optional property.",
    "property_added_to_open_object": "Add it without a type, or under a name that nobody can have"
    " sent; where unknown properties are rejected, optional ones can be added freely.",
    "additional_properties_closed": "Leave the object open, or close it in a new event type.",
    "type_changed": "Keep the type and add a property of another name.",
    "type_narrowed": "Keep the wider type.",
    "nullable_removed": 'Keep "null" in the type.',
    "compatibility_lowered": "Keep the mode that is in force, or take one that promises more.",
    "segmentable_type_changed": "Keep the type: segments were built on it. Add a property of"
    " another name.",
    "enum_value_removed": "Keep the value in the list; say in the description that it is not to be"
    " used.",
    "enum_added": "Leave it without a list of values.",
    "const_changed": "Use an enum that has the old value and the new one.",
    "const_added": "Leave it without a fixed value.",
    "minimum_raised": "Keep the lower limit where it was.",
    "maximum_lowered": "Keep the upper limit where it was.",
    "multiple_of_changed": "Keep the step, or take one that divides the old one.",
    "min_length_raised": "Keep the minimal length.",
    "max_length_lowered": "Keep the maximal length.",
    "pattern_added": "Leave it without a pattern.",
    "pattern_changed": "Keep the pattern, letter for letter, or drop it.",
    "format_added": "Leave it without a format.",
    "format_changed": "Keep the format or drop it.",
    "items_added": "Leave the items without a schema.",
    "min_items_raised": "Keep the minimal number of items.",
    "max_items_lowered": "Keep the maximal number of items.",
    "unique_items_added": "Leave out uniqueItems.",
}
"""Every rule that a change can break, and what would mend it."""


_LIMITS = {1: ("minimum", "exclusiveMinimum"), -1: ("maximum", "exclusiveMaximum")}


class Breakage(msgspec.Struct, frozen=True):
    """One reason why an event that was valid could now be refused."""

    path: str
    """As `spec.Property.path`: "/line_items/*/sku"; "" is the whole of the properties."""
    rule: str
    """A key of MENDS."""
    old: Any
    new: Any
    """What the documents say there; None is nothing."""
    message: str
    mend: str


def breakages(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Breakage]:
    """Why properties that are valid under `old` could fail under `new`; empty: none can.

    old, new  documents that passed `lint`
    A changed type of a property that was segmentable is a breakage even if no event would fail.
    """
    return [*_refusals(old, new), *_segment_breakages(old, new)]


def compatibility_findings(
    mode: str, history: Sequence[Mapping[str, Any]], new: Mapping[str, Any]
) -> list[tuple[int, Breakage]]:
    """What keeps `new` from following `history` (oldest first), as (index in it, breakage).

    BACKWARD: new must accept what the last one accepted. FORWARD: the last one must accept what
    new accepts. FULL: both. _TRANSITIVE: not only the last one, but all.
    """
    direction, _, transitive = mode.partition("_")
    if direction == "NONE":
        return []
    first = 0 if transitive else max(len(history) - 1, 0)
    found = []
    for index in range(first, len(history)):
        old = history[index]
        if direction in ("BACKWARD", "FULL"):
            found += [(index, breakage) for breakage in breakages(old, new)]
        if direction in ("FORWARD", "FULL"):
            found += [(index, _turned(breakage)) for breakage in _refusals(new, old)]
        if direction == "FORWARD":
            found += [(index, breakage) for breakage in _segment_breakages(old, new)]
    return found


def _refusals(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Breakage]:
    return _compare("", effective_schema(old), effective_schema(new))


def _turned(breakage: Breakage) -> Breakage:
    """For a reader who changed the version that comes second here."""
    return msgspec.structs.replace(
        breakage,
        message=f"the older version would refuse events of this one: {breakage.message}",
        mend="Accept nothing here that the older version refuses.",
    )


def _breakage(path: str, rule: str, old: Any, new: Any, message: str) -> Breakage:
    return Breakage(path, rule, old, new, message, MENDS[rule])


def _compare(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Breakage]:
    """Two effective schemas of one place."""
    values = _values(old)
    if values is not None:
        accepts = compile_schema(dict(new)).is_valid
        lost = [value for value in values if not accepts(value)]
        if not lost:
            return
        if enumerated(new) is not None:
            rule = "const_changed" if "const" in new else "enum_value_removed"
            message = "values that were accepted are not any more"
            yield _breakage(path, rule, enumerated(old), enumerated(new), message)
            return
    elif enumerated(new) is not None:
        rule = "const_added" if "const" in new else "enum_added"
        yield _breakage(path, rule, None, enumerated(new), "other values were accepted")
    before, after = _types(old), _types(new)
    if before - after:
        yield _type_breakage(path, before, after, old, new)
    common = before & after
    if "string" in common:
        yield from _strings(path, old, new)
        yield from _sizes(path, old, new, "Length")
    if common & {"number", "integer"}:
        yield from _numbers(path, old, new, integral="number" not in before)
    if "array" in common:
        yield from _arrays(path, old, new)
        yield from _sizes(path, old, new, "Items")
    if "object" in common:
        yield from _objects(path, old, new)


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    """All values that a schema accepts, when they are few."""
    values = enumerated(schema)
    types = set(types_of(schema))
    if values is None and types and types <= {"boolean", "null"}:
        values = [True, False, None]
    if values is None:
        return None
    accepts = compile_schema(dict(schema)).is_valid
    return [value for value in values if accepts(value)]


def _types(schema: Mapping[str, Any]) -> set[str]:
    """Integers are told from other numbers, so that widening to number loses nothing."""
    types = set(types_of(schema)) or set(TYPES)
    return types | {"integer"} if "number" in types else types


def _type_breakage(
    path: str, before: set[str], after: set[str], old: Mapping[str, Any], new: Mapping[str, Any]
) -> Breakage:
    if before - after == {"null"}:
        rule, message = "nullable_removed", "null was accepted"
    elif (before & after) - {"null"}:
        rule, message = "type_narrowed", "values of a wider type were accepted"
    else:
        rule, message = "type_changed", "values of another type were accepted"
    return _breakage(path, rule, old.get("type"), new.get("type"), message)


def _strings(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Breakage]:
    for keyword in ("pattern", "format"):
        before, after = old.get(keyword), new.get(keyword)
        if after is not None and after != before:
            rule = f"{keyword}_{'added' if before is None else 'changed'}"
            message = f"texts of another {keyword} were accepted"
            yield _breakage(path, rule, before, after, message)


def _sizes(
    path: str, old: Mapping[str, Any], new: Mapping[str, Any], noun: str
) -> Iterator[Breakage]:
    """Of texts (noun "Length") or of arrays ("Items")."""
    for keyword, side, word in ((f"min{noun}", 1, "least"), (f"max{noun}", -1, "most")):
        unlimited = 0 if side == 1 else math.inf
        before, after = old.get(keyword, unlimited), new.get(keyword, unlimited)
        if side * after > side * before:
            rule = f"{keyword[:3]}_{noun.lower()}_{'raised' if side == 1 else 'lowered'}"
            message = f"sizes beyond were accepted, now {after} is the {word}"
            yield _breakage(path, rule, old.get(keyword), after, message)


def _numbers(
    path: str, old: Mapping[str, Any], new: Mapping[str, Any], *, integral: bool
) -> Iterator[Breakage]:
    """integral  only integers were accepted, so "more than 4" is "at least 5"."""
    for side, rule in ((1, "minimum_raised"), (-1, "maximum_lowered")):
        before = _limit(old, side, integral=integral)
        after = _limit(new, side, integral=False)
        if after is not None and (before is None or after > before):
            was, limit = None if before is None else side * before[0], side * after[0]
            message = f"numbers on the other side of {limit} were accepted"
            yield _breakage(path, rule, was, limit, message)
    if "multipleOf" in new:
        step = _fraction(old["multipleOf"]) if "multipleOf" in old else None
        if integral:
            step = Fraction(step.numerator if step else 1)
        if step is None or (step / _fraction(new["multipleOf"])).denominator != 1:
            message = f"numbers that are no multiple of {new['multipleOf']} were accepted"
            yield _breakage(
                path, "multiple_of_changed", old.get("multipleOf"), new["multipleOf"], message
            )


def _limit(
    schema: Mapping[str, Any], side: int, *, integral: bool
) -> tuple[int | float, bool] | None:
    """The strongest lower limit, and whether it is itself excluded; greater is stronger.

    side  -1 turns upper limits into lower ones
    """
    keywords = _LIMITS[side]
    limits = [(side * schema[k], k.startswith("exclusive")) for k in keywords if k in schema]
    if integral:
        limits = [
            (math.floor(n) + 1 if excluded else math.ceil(n), False) for n, excluded in limits
        ]
    return max(limits, default=None)


def _fraction(number: int | float) -> Fraction:
    """As it is written: 0.01 is a hundredth. So it is for the engine."""
    return Fraction(Decimal(repr(number)))


def _arrays(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Breakage]:
    if new.get("uniqueItems") and not old.get("uniqueItems"):
        message = "repeated items were accepted"
        yield _breakage(path, "unique_items_added", old.get("uniqueItems"), True, message)
    if new.get("items") and old.get("maxItems") != 0:
        if old.get("items"):
            yield from _compare(f"{path}/*", old["items"], new["items"])
        else:
            message = "items of any kind were accepted"
            yield _breakage(path, "items_added", None, new["items"], message)


def _objects(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Breakage]:
    members, kept = old.get("properties", {}), new.get("properties", {})
    was_closed = old.get("additionalProperties") is False
    is_closed = new.get("additionalProperties") is False
    if is_closed and not was_closed:
        message = "unknown properties were accepted"
        yield _breakage(path, "additional_properties_closed", True, False, message)
    for name in sorted(members.keys() | kept.keys()):
        below = f"{path}/{pointer_part(name)}"
        if name not in kept:
            if is_closed:
                message = "the property was accepted, now it would be unknown and refused"
                rule = "property_removed_while_unknown_rejected"
                yield _breakage(below, rule, members[name], None, message)
        elif name in members:
            yield from _compare(below, members[name], kept[name])
        elif kept[name] and not was_closed:
            message = (
                "the object accepted unknown properties, so senders may have sent this one with"
                " any value"
            )
            yield _breakage(below, "property_added_to_open_object", None, kept[name], message)
    for name in new.get("required", ()):
        if name not in old.get("required", ()):
            rule = "property_became_required" if name in members else "required_property_added"
            message = "events without it were accepted"
            below = f"{path}/{pointer_part(name)}"
            yield _breakage(below, rule, False, True, message)


def _segment_breakages(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Breakage]:
    """Root-level properties only: no others can be segmentable."""
    kept = new.get("properties", {})
    for name, before in old.get("properties", {}).items():
        after = kept.get(name)
        if after is not None and before.get("x-segmentable") and _kind(before) != _kind(after):
            path, message = f"/{pointer_part(name)}", "segments were built on its type"
            rule = "segmentable_type_changed"
            yield _breakage(path, rule, before.get("type"), after.get("type"), message)


def _kind(schema: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """The types of a property and of its items. Whether null is accepted too does not matter."""
    own, items = types_of(schema), types_of(schema.get("items", {}))
    return set(own) - {"null"}, set(items) - {"null"}
