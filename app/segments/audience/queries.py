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
from app.segments.conditions import Exists, OneOf, Predicate
from app.segments.marks import Mark
from app.segments.queries import add_parameter, compare, value_table, values_of_event

UNIVERSE = "select profile_id from profile where tenant_id = $1 and root_id = profile_id"


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
        f"v.occurred_at {operator} {add_parameter(parameters, at, 'timestamptz')}"
        for operator, at in ((">=", leaf.after), ("<", leaf.before))
        if at is not None
    ]
    if base is None:
        kind = add_parameter(parameters, leaf.event_type_id, "bigint")
        wheres += ["v.tenant_id = $1", f"v.event_type_id = {kind}", "v.profile_id is not null"]
    inlined = 0
    for predicate in leaf.predicates:
        is_own = predicate.mark == base and not predicate.is_absence
        if is_own and not (
            predicate.mark.is_array and inlined
        ):  # another item may be the other value
            inlined += 1
            wheres += compare("v", predicate, parameters)
        else:
            no = "not " if predicate.is_absence else ""
            wheres.append(f"{no}exists ({values_of_event('v', predicate, parameters)})")
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
    present = [predicate for predicate in predicates if not predicate.is_absence]
    present.sort(key=lambda predicate: order.get(type(predicate.test), 1))
    return present[0].mark if present else None


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
    tests = [f"{what} {op} {add_parameter(parameters, n, cast)}" for what, op, n, cast in asked]
    return f"having {' and '.join(tests)}" if tests else ""
