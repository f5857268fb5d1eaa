"""Audiences as SQL. Identifiers come from ids alone, everything that was sent is a parameter.

Never decides whether a definition is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from app.db.pool import Connection
from app.segments.conditions import Exists, OneOf, Test
from app.segments.marks import Mark, ValueType
from app.segments.queries import value_table

UNIVERSE = "select profile_id from profile where tenant_id = $1 and root_id = profile_id"

_CASTS = {
    ValueType.TEXT: "text",
    ValueType.NUMBER: "numeric",
    ValueType.BOOLEAN: "bool",
    ValueType.TIMESTAMP: "timestamptz",
}


class Predicate(msgspec.Struct, frozen=True):
    """A test of one marked property."""

    mark: Mark
    test: Test


class Sum(msgspec.Struct, frozen=True):
    mark: Mark
    at_least: Decimal | None
    at_most: Decimal | None


class Leaf(msgspec.Struct, frozen=True):
    """Something done, with the marks that serve its conditions."""

    event_type_id: int
    predicates: Sequence[Predicate]
    after: datetime | None
    before: datetime | None
    at_least: int
    """1 or more."""
    at_most: int | None
    total: Sum | None


class All(msgspec.Struct, frozen=True):
    of: Sequence[Node]


class Any_(msgspec.Struct, frozen=True):
    of: Sequence[Node]


class Not(msgspec.Struct, frozen=True):
    of: Node


Node = Leaf | All | Any_ | Not


class Audience(msgspec.Struct, frozen=True):
    profiles: int
    """Merged ones count once."""
    sample: Sequence[bytes]
    """Ids of the first of them."""


async def count_audience(
    connection: Connection, tenant_id: int, node: Node, sample: int
) -> Audience:
    """raises  a driver's error: cancelled, when it takes longer than a statement may"""
    sql, arguments = audience_statement(tenant_id, node, sample)
    async with connection.transaction(readonly=True):
        # A plan for these very values: which index is the selective one depends on them.
        await connection.execute("set local plan_cache_mode = force_custom_plan")
        row = await connection.fetchrow(sql, *arguments)
    assert row is not None
    return Audience(row["profiles"], row["sample"])


def audience_statement(tenant_id: int, node: Node, sample: int) -> tuple[str, list[Any]]:
    """The whole statement and its parameters."""
    parameters: list[Any] = [tenant_id]
    members = _members(node, parameters)
    parameters.append(sample)
    sql = f"""
        with audience as materialized ({members})
        select (select count(*) from audience) as profiles,
               array(select profile_id from audience order by profile_id limit ${len(parameters)})
                   as sample
    """  # noqa: S608 - only ids of ours and numbers of parameters
    return sql, parameters


def _members(node: Node, parameters: list[Any]) -> str:
    """A select of root profiles, each once."""
    match node:
        case Leaf():
            return _leaf(node, parameters)
        case Not():
            return f"({UNIVERSE}) except ({_members(node.of, parameters)})"
        case Any_():
            return " union ".join(f"({_members(child, parameters)})" for child in node.of)
        case All():
            asked = [child for child in node.of if not isinstance(child, Not)]
            positive = [f"({_members(child, parameters)})" for child in asked]
            negative = [
                f" except ({_members(child.of, parameters)})"
                for child in node.of
                if isinstance(child, Not)
            ]
            return f"({' intersect '.join(positive) or UNIVERSE})" + "".join(negative)


def _leaf(leaf: Leaf, parameters: list[Any]) -> str:
    base = leaf.total.mark if leaf.total else _driver(leaf.predicates)
    wheres = [
        f"v.occurred_at {operator} {_parameter(parameters, at, 'timestamptz')}"
        for operator, at in ((">=", leaf.after), ("<", leaf.before))
        if at is not None
    ]
    if base is None:
        kind = _parameter(parameters, leaf.event_type_id, "bigint")
        wheres += ["v.tenant_id = $1", f"v.event_type_id = {kind}", "v.profile_id is not null"]
    inlined = 0
    for predicate in leaf.predicates:
        is_own = predicate.mark == base and not _is_absence(predicate)
        if is_own and not (
            predicate.mark.is_array and inlined
        ):  # another item may be the other value
            inlined += 1
            wheres += _compare("v", predicate, parameters)
        else:
            wheres.append(_elsewhere(predicate, parameters))
    table = value_table(base.mark_id) if base else "event"
    return f"""
        select coalesce(m.root_id, v.profile_id) as profile_id
        from {table} v
        left join profile m
          on m.tenant_id = $1 and m.profile_id = v.profile_id and m.root_id <> m.profile_id
        where {" and ".join(wheres) or "true"}
        group by 1
        {_having(leaf, base, parameters)}
    """  # noqa: S608 - only ids of ours and numbers of parameters


def _driver(predicates: Sequence[Predicate]) -> Mark | None:
    """The property whose values are read first; None when only absences are asked for."""
    order = {OneOf: 0, Exists: 2}
    present = [predicate for predicate in predicates if not _is_absence(predicate)]
    present.sort(key=lambda predicate: order.get(type(predicate.test), 1))
    return present[0].mark if present else None


def _is_absence(predicate: Predicate) -> bool:
    return isinstance(predicate.test, Exists) and not predicate.test.present


def _elsewhere(predicate: Predicate, parameters: list[Any]) -> str:
    """A test of another property of the same event."""
    no = "not " if _is_absence(predicate) else ""
    tests = ["o.received_at = v.received_at", "o.event_key = v.event_key"]
    tests += _compare("o", predicate, parameters)
    table = value_table(predicate.mark.mark_id)
    return f"{no}exists (select 1 from {table} o where {' and '.join(tests)})"  # noqa: S608


def _compare(alias: str, predicate: Predicate, parameters: list[Any]) -> list[str]:
    test, cast = predicate.test, _CASTS[predicate.mark.value_type]
    if isinstance(test, Exists):
        return []
    if isinstance(test, OneOf):
        if len(test.values) == 1:
            return [f"{alias}.value = {_parameter(parameters, test.values[0], cast)}"]
        values = _parameter(parameters, list(test.values), f"{cast}[]")
        return [f"{alias}.value = any ({values})"]
    return [
        f"{alias}.value {operator} {_parameter(parameters, value, cast)}"
        for operator, value in test.bounds
    ]


def _having(leaf: Leaf, base: Mark | None, parameters: list[Any]) -> str:
    several = base is not None and base.is_array  # rows of one event
    times = "count(distinct v.event_key)" if several else "count(*)"
    asked: list[tuple[str, str, Any, str]] = []
    if leaf.at_least > 1:
        asked.append((times, ">=", leaf.at_least, "bigint"))
    if leaf.at_most is not None:
        asked.append((times, "<=", leaf.at_most, "bigint"))
    if leaf.total and leaf.total.at_least is not None:
        asked.append(("sum(v.value)", ">=", leaf.total.at_least, "numeric"))
    if leaf.total and leaf.total.at_most is not None:
        asked.append(("sum(v.value)", "<=", leaf.total.at_most, "numeric"))
    tests = [f"{what} {op} {_parameter(parameters, n, cast)}" for what, op, n, cast in asked]
    return f"having {' and '.join(tests)}" if tests else ""


def _parameter(parameters: list[Any], value: Any, cast: str) -> str:
    parameters.append(value)
    return f"${len(parameters)}::{cast}"
