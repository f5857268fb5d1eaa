"""Finds events by the values of marked properties, newest first. Never decides what may be asked.

One test leads: its values are read from their own index, and the other tests are made of the events
found there. Where every test has many values and none is of single ones, no index has them in the
order of time: then the events of the type lead, and all tests are made of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from app.db.failures import DRIVER_ERRORS, is_missing_table
from app.db.pool import Connection
from app.db.scan import SCANNED_ROWS
from app.db.sql import load_statements
from app.segments.conditions import OneOf, Predicate
from app.segments.queries import compare, value_table, values_of_event

SQL = load_statements(__file__)


class _Leading(NamedTuple):
    """The test whose values are read."""

    test: Predicate
    sorted_by: str | None
    """They are few, and sorted by this column; None: their index has them in order."""


class StorageGone(Exception):
    """The values of a property were dropped while they were asked about: it was unmarked."""


async def scan_for_values(
    connection: Connection,
    by_time: str,
    parameters: Sequence[Any],
    predicates: Sequence[Predicate],
    *,
    by_receipt: bool,
) -> list[Any]:
    """The rows of a scan as reading.sql has them, of events that pass all tests.

    by_time     the scan of events to use when no test can lead
    parameters  of that scan, SCANNED_ROWS to look at
    raises      StorageGone
    """
    async with kept_to_indexes(connection):
        leading = await _find_leading(connection, predicates, by_receipt=by_receipt)
        arguments = list(parameters)
        if leading is None:
            sql = with_tests(by_time, "e", predicates, arguments)
        else:
            scan = SQL["scan_values"].replace("(entries)", f"({_entries(leading, arguments)})")
            others = [test for test in predicates if test is not leading.test]
            sql = with_tests(scan, "v", others, arguments)
        return list(await connection.fetch(sql, *arguments))


def with_tests(
    scan: str, event: str, predicates: Sequence[Predicate], parameters: list[Any]
) -> str:
    """A scan whose rows match only if they pass these tests, too.

    event  alias of what has the event's received_at and event_key
    """
    tests = [
        f"{'not ' if predicate.is_absence else ''}"
        f"exists ({values_of_event(event, predicate, parameters)} offset 0)"
        for predicate in predicates
    ]
    return scan.replace(" as matches", "".join(f" and {test}" for test in tests) + " as matches")


@asynccontextmanager
async def kept_to_indexes(connection: Connection) -> AsyncIterator[None]:
    """A transaction of one snapshot, whose statements keep to the order of indexes.

    raises  StorageGone: a table that a statement names is not there any more
    """
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(SQL["keep_to_indexes"])
            yield
    except DRIVER_ERRORS as error:
        if is_missing_table(error):
            raise StorageGone from error
        raise


async def _find_leading(
    connection: Connection, predicates: Sequence[Predicate], *, by_receipt: bool
) -> _Leading | None:
    """The test with the fewest values, if a page may look at all of them; or one of single ones."""
    present = [test for test in predicates if not test.is_absence]
    singles = [] if by_receipt else [test for test in present if isinstance(test.test, OneOf)]
    if present and present != singles[:1]:
        counts = await _count_values(connection, present)
        fewest, place = min((count, place) for place, count in enumerate(counts))
        if fewest < SCANNED_ROWS:
            return _Leading(present[place], "received_at" if by_receipt else "occurred_at")
    return _Leading(singles[0], None) if singles else None


async def _count_values(connection: Connection, present: Sequence[Predicate]) -> Sequence[int]:
    """How many values each test has; SCANNED_ROWS stands for any number from there on."""
    arguments: list[Any] = [SCANNED_ROWS]
    counts = [_on_values("count_values", test, arguments) for test in present]
    row = await connection.fetchrow(f"select {', '.join(counts)}", *arguments)
    assert row is not None
    return tuple(row)


def _entries(leading: _Leading, parameters: list[Any]) -> str:
    """A select of a leading test's values. The parameters are those of the scan so far."""
    test, sorted_by = leading
    if sorted_by:
        return _on_values("read_few", test, parameters).replace("ordered_at", sorted_by)
    assert isinstance(test.test, OneOf)
    singles = [Predicate(test.mark, OneOf((value,))) for value in dict.fromkeys(test.test.values)]
    return " union all ".join(_on_values("read_in_order", one, parameters) for one in singles)


def _on_values(name: str, test: Predicate, parameters: list[Any]) -> str:
    """A statement on the own table of a test's mark, where the test holds."""
    sql = SQL[name].replace("segment_value_0", value_table(test.mark.mark_id))
    return sql.replace("(test)", " and ".join(compare("o", test, parameters)) or "true")
