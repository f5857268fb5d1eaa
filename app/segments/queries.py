"""Marks in the database, and their values. Never decides what may be marked or when to go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from app import clock
from app.db import locks
from app.db.pool import Connection
from app.db.sql import load_statements
from app.segments.conditions import Exists, OneOf, Predicate
from app.segments.marks import Mark, State, ValueType
from app.segments.values import Value

SQL = load_statements(__file__)

COVERAGE_EVENTS = 10_000
"""Of a type's latest events: what coverage is a share of."""
TOP_VALUES = 10

_COLUMN_TYPES = {
    ValueType.TEXT: 'text collate "C"',
    ValueType.NUMBER: "numeric",
    ValueType.BOOLEAN: "bool",
    ValueType.TIMESTAMP: "timestamptz",
}
_CASTS = _COLUMN_TYPES | {ValueType.TEXT: "text"}


class NewMark(msgspec.Struct, frozen=True):
    """A property that is about to be marked."""

    event_type_id: int
    path: str
    name: str
    value_type: ValueType
    is_array: bool
    pii: str


class StoredMark(msgspec.Struct, frozen=True):
    """A mark with all that is known of it."""

    mark: Mark
    event_type: str
    path: str
    pii: str
    state: State
    created_at: datetime
    created_by: str
    ready_at: datetime | None
    events_scanned: int
    events_total: int | None
    values_written: int
    coverage: float | None
    """0 to 1; None before it was measured, or when there are no events."""
    measured_at: datetime | None

    @property
    def progress(self) -> float:
        """How much of the storage is built, 0 to 1."""
        if self.state is not State.BUILDING:
            return 1.0
        return min(self.events_scanned / self.events_total, 0.99) if self.events_total else 0.0


class Statistics(msgspec.Struct, frozen=True):
    """What the last ANALYZE found of a mark's values."""

    distinct_values: int
    """Approximate."""
    top_values: Sequence[tuple[str, float]]
    """(value as text, its share of all values), the most frequent first."""


ValueRow = tuple[int, datetime, bytes, bytes, datetime, Value]
"""One value of one event: bucket, received_at, event_key, profile_id, occurred_at, value. A bare
tuple costs a twelfth of a named one, and each accepted event may have several."""

_VALUE_COLUMNS = ("bucket", "received_at", "event_key", "profile_id", "occurred_at", "value")


def value_table(mark_id: int) -> str:
    return f"segment_value_{mark_id:d}"


def on_values(name: str, mark_id: int) -> str:
    """A statement on one mark's own table."""
    return SQL[name].replace("segment_value_0", value_table(mark_id))


def add_parameter(parameters: list[Any], value: Any, cast: str) -> str:
    """Add to a statement's parameters; returns what stands for it there."""
    parameters.append(value)
    return f"${len(parameters)}::{cast}"


def compare(alias: str, predicate: Predicate, parameters: list[Any]) -> list[str]:
    """What a row of the mark's own table must be like; of an absence, nothing."""
    test, cast = predicate.test, _CASTS[predicate.mark.value_type]
    if isinstance(test, Exists):
        return []
    if isinstance(test, OneOf):
        if len(test.values) == 1:
            return [f"{alias}.value = {add_parameter(parameters, test.values[0], cast)}"]
        values = add_parameter(parameters, list(test.values), f"{cast}[]")
        return [f"{alias}.value = any ({values})"]
    return [
        f"{alias}.value {operator} {add_parameter(parameters, value, cast)}"
        for operator, value in test.bounds
    ]


def values_of_event(event: str, predicate: Predicate, parameters: list[Any]) -> str:
    """A select of the values that an event has for a predicate, for `exists`.

    event  alias of a row with received_at and event_key
    """
    tests = [f"o.received_at = {event}.received_at", f"o.event_key = {event}.event_key"]
    tests += compare("o", predicate, parameters)
    table = value_table(predicate.mark.mark_id)
    return f"select 1 from {table} o where {' and '.join(tests)}"  # noqa: S608 - only ids of ours


async def read_marks(connection: Connection, tenant_id: int) -> list[Mark]:
    """What flushes feed: for the worker's snapshot."""
    return [mark_of(row) for row in await connection.fetch(SQL["read_marks"], tenant_id)]


async def read_stored_marks(
    connection: Connection, tenant_id: int, event_type_ids: Sequence[int]
) -> list[StoredMark]:
    rows = await connection.fetch(SQL["read_stored_marks"], tenant_id, event_type_ids)
    return [_stored(row) for row in rows]


async def count_marks(connection: Connection, tenant_id: int, event_type_id: int) -> int:
    """Of one event type, those included whose storage is still to go."""
    return int(await connection.fetchval(SQL["count_marks"], tenant_id, event_type_id))


async def list_marks(
    connection: Connection, tenant_id: int, *, event_type: str | None, after_id: int, limit: int
) -> list[StoredMark]:
    rows = await connection.fetch(SQL["list_marks"], tenant_id, after_id, event_type, limit)
    return [_stored(row) for row in rows]


async def find_event_types(
    connection: Connection, tenant_id: int, names: Sequence[str]
) -> dict[str, int]:
    rows = await connection.fetch(SQL["find_event_types"], tenant_id, names)
    return {row["name"]: row["id"] for row in rows}


async def open_mark(connection: Connection, tenant_id: int, new: NewMark, created_by: str) -> int:
    """Mark a property and make the storage of its values, in one transaction; the mark's id.

    The caller raises the registry's revision, so that flushes feed it.
    """
    mark_id: int = await connection.fetchval(
        SQL["insert_mark"],
        tenant_id,
        new.event_type_id,
        new.path,
        new.name,
        new.value_type,
        new.is_array,
        new.pii,
        clock.now(),
        created_by,
    )
    create = on_values("create_values", mark_id)
    await connection.execute(create.replace("value_type", _COLUMN_TYPES[new.value_type]))
    await connection.execute(on_values("create_values_by_value", mark_id))
    await connection.execute(on_values("create_values_by_event", mark_id))
    return mark_id


async def unmark(connection: Connection, tenant_id: int, mark_id: int) -> None:
    """The caller raises the registry's revision; the storage goes later, by itself."""
    await connection.execute(SQL["unmark"], tenant_id, mark_id)


async def set_pii(connection: Connection, tenant_id: int, mark_id: int, pii: str) -> None:
    await connection.execute(SQL["set_pii"], tenant_id, mark_id, pii)


async def insert_values(connection: Connection, mark_id: int, rows: Sequence[ValueRow]) -> None:
    """Copy values in; the caller knows that they are not there yet."""
    await connection.copy_records_to_table(
        value_table(mark_id), columns=_VALUE_COLUMNS, records=rows
    )


async def share_graph(connection: Connection, tenant_id: int) -> None:
    """Keep merges of the tenant from being undone until the transaction ends."""
    await connection.execute(SQL["share_graph"], *locks.identity_graph(tenant_id))


async def read_coverage(connection: Connection, tenant_id: int, mark: Mark) -> float | None:
    """cost  up to 10,000 events read, some 50 ms"""
    share: float | None = await connection.fetchval(
        SQL["read_coverage"], tenant_id, mark.event_type_id, mark.name, COVERAGE_EVENTS
    )
    return share


async def read_statistics(connection: Connection, mark_ids: Sequence[int]) -> dict[int, Statistics]:
    """By mark; those that were never analysed are absent. mark_ids: of one tenant's own marks."""
    mark_by_table = {value_table(mark_id): mark_id for mark_id in mark_ids}
    rows = await connection.fetch(SQL["read_statistics"], list(mark_by_table))
    return {mark_by_table[row["tablename"]]: _statistics(row) for row in rows}


def _statistics(row: Any) -> Statistics:
    distinct = row["n_distinct"]  # negative: a share of the rows
    if distinct < 0:
        distinct *= -max(row["value_rows"], 0)
    common = zip(row["common_values"] or (), row["common_shares"] or (), strict=True)
    return Statistics(round(distinct), list(common)[:TOP_VALUES])


def mark_of(row: Any) -> Mark:
    return Mark(
        mark_id=row["id"],
        event_type_id=row["event_type_id"],
        name=row["name"],
        value_type=ValueType(row["value_type"]),
        is_array=row["is_array"],
    )


def _stored(row: Any) -> StoredMark:
    return StoredMark(
        mark=mark_of(row),
        event_type=row["event_type"],
        path=row["path"],
        pii=row["pii"],
        state=State(row["state"]),
        created_at=row["created_at"],
        created_by=row["created_by"],
        ready_at=row["ready_at"],
        events_scanned=row["events_scanned"],
        events_total=row["events_total"],
        values_written=row["values_written"],
        coverage=row["coverage"],
        measured_at=row["measured_at"],
    )
