"""Whom an audience consists of: those who did or did not do something, combined. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from app.segments.conditions import MAX_CONDITIONS, Condition, Problem, is_bounded, is_storable

MAX_DEPTH = 6
"""Of and, or and not around one another."""
MAX_LEAVES = 10
"""Each is a statement of its own."""
MAX_TIMES = 1_000_000


class Total(msgspec.Struct, frozen=True):
    """What the values of one property add up to, over a person's events."""

    path: str
    at_least: Decimal | None = None
    at_most: Decimal | None = None


class Did(msgspec.Struct, frozen=True):
    """Who did something so and so often."""

    event_type: str
    where: Sequence[Condition] = ()
    """All of them, of the same event."""
    after: datetime | None = None
    """occurred_at is this or later."""
    before: datetime | None = None
    """occurred_at is earlier."""
    at_least: int = 1
    at_most: int | None = None
    total: Total | None = None


class Every(msgspec.Struct, frozen=True):
    """Who is in each of them."""

    of: Sequence[Definition]


class Either(msgspec.Struct, frozen=True):
    """Who is in one of them at least."""

    of: Sequence[Definition]


class Without(msgspec.Struct, frozen=True):
    """Who is not in it."""

    of: Definition


Definition = Did | Every | Either | Without


def leaves(definition: Definition) -> Iterator[tuple[str, Did]]:
    """Each thing that was or was not done, and where it is (JSON Pointer)."""
    for at, _, node in _walk(definition):
        if isinstance(node, Did):
            yield f"{at}/did", node


def check_definition(definition: Definition) -> list[Problem]:
    """What is wrong with a definition, but for what only the registry knows."""
    found: list[Problem] = []
    count = 0
    for at, depth, node in _walk(definition):
        if depth > MAX_DEPTH:
            return [Problem(at, "too_deep", f"all, any and not: {MAX_DEPTH} levels at most")]
        if isinstance(node, Did):
            count += 1
            found += _check_did(f"{at}/did", node)
        elif not isinstance(node, Without) and not node.of:
            found.append(Problem(at, "empty_list", "give at least one"))
    if count > MAX_LEAVES:
        found.append(Problem("", "too_many_leaves", f"{count} × did; {MAX_LEAVES} at most"))
    return found


def _walk(root: Definition) -> Iterator[tuple[str, int, Definition]]:
    """(where, how deep, what), each before what is in it; stops one level below what may be."""
    left = [("", 1, root)]
    while left:
        at, depth, node = left.pop()
        yield at, depth, node
        if depth > MAX_DEPTH:
            continue
        if isinstance(node, Without):
            left.append((f"{at}/not", depth + 1, node.of))
        elif not isinstance(node, Did):
            name = "all" if isinstance(node, Every) else "any"
            inner = [(f"{at}/{name}/{i}", depth + 1, child) for i, child in enumerate(node.of)]
            left += reversed(inner)


def _check_did(at: str, did: Did) -> Iterator[Problem]:
    if not is_storable(did.event_type):
        yield Problem(
            f"{at}/eventType", "text_not_storable", "holds NUL or half of a surrogate pair"
        )
    if len(did.where) > MAX_CONDITIONS:
        yield Problem(f"{at}/where", "too_many_conditions", f"{MAX_CONDITIONS} at most")
    if any(t is not None and t.tzinfo is None for t in (did.after, did.before)):
        yield Problem(f"{at}/occurred", "offset_missing", "a time needs its UTC offset")
    elif did.after is not None and did.before is not None and did.after >= did.before:
        yield Problem(f"{at}/occurred", "window_empty", "after must be earlier than before")
    times = [did.at_least] if did.at_most is None else [did.at_least, did.at_most]
    if any(not 0 <= n <= MAX_TIMES for n in times):
        yield Problem(f"{at}/times", "times_range", f"0 to {MAX_TIMES}")
    elif did.at_most is not None and did.at_most < did.at_least:
        yield Problem(f"{at}/times", "times_crossed", "atMost is below atLeast")
    elif did.at_most is None and did.at_least == 0:
        yield Problem(f"{at}/times", "times_always", "everybody did it 0 times or more")
    if did.total is not None:
        yield from _check_total(f"{at}/sum", did.total, did.at_least)


def _check_total(at: str, total: Total, at_least: int) -> Iterator[Problem]:
    ends = [end for end in (total.at_least, total.at_most) if end is not None]
    if not ends:
        yield Problem(at, "sum_empty", "give atLeast, atMost or both")
    if any(not is_bounded(end) for end in ends):
        yield Problem(at, "number_out_of_range", "no sum can be so large")
    if len(ends) == 2 and ends[0] > ends[1]:
        yield Problem(at, "sum_crossed", "atMost is below atLeast")
    if at_least == 0:
        yield Problem(at, "sum_of_nothing", "who did it 0 times has no sum: leave out one of both")
