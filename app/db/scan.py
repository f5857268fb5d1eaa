"""Pages that cost one bounded scan of an index, however few of its rows match.

A filter without an index of its own reads on in an index that has the order of the list. It looks
at so many rows and no more; where the page is not full by then, the next one begins behind the
last row looked at. Pure: the statements are their domains'.

Such a statement numbers the rows of a scan that ends after `scanned` of them, and returns those
that match, and the last one whether it matches or not: columns `at`, `key`, `matches`, `place`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

SCANNED_ROWS = 10_000
"""Index entries, and their rows, that one page may look at: 10 to 50 ms when warm (measured)."""

PAGE_BYTES = 8 << 20
"""What the rows of one page may hold; the last one may go beyond."""


class Window(NamedTuple):
    """From `start` to just before `end`."""

    start: datetime = datetime(1, 1, 1, tzinfo=UTC)
    end: datetime = datetime(9999, 12, 31, tzinfo=UTC)


EVER = Window()


class Position(NamedTuple):
    """Where a row stands in a list that is newest first; ids decide between equal times."""

    at: datetime
    key: bytes


class Found(NamedTuple):
    """The matching rows of one page."""

    rows: list[Any]
    resume: Position | None
    """Behind it the next page begins; None: this is the end of the list."""


def newest(window: Window, after: Position | None) -> Position:
    """Where a scan begins: every row it returns stands behind this position."""
    end = Position(window.end, bytes(16))
    return min(end, after) if after is not None else end


def cut(rows: Sequence[Any], first: int, scanned: int) -> Found:
    """One page of what such a statement returned, asked for first + 1 rows."""
    matching = [row for row in rows if row["matches"]]
    if len(matching) > first:
        return Found(matching[:first], _position(matching[first - 1]))
    if rows and rows[-1]["place"] == scanned:
        return Found(matching, _position(rows[-1]))
    return Found(matching, None)


def fit(found: Found, page_bytes: int) -> Found:
    """As much of a page as may be held; one row at least. The statement returns `row_bytes`."""
    held = 0
    for number, row in enumerate(found.rows, 1):
        held += row["row_bytes"]
        if held > page_bytes and number < len(found.rows):
            return Found(found.rows[:number], _position(row))
    return found


def _position(row: Any) -> Position:
    return Position(row["at"], row["key"])
