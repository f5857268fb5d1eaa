"""How many people an audience has, as of now: checks a definition, finds its marks, counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from app.db.failures import DRIVER_ERRORS, is_too_slow
from app.db.pool import Connection, Lender
from app.segments import queries as marks
from app.segments.asking import Asked, NeedsPersonalData, NotReady, Refused, resolve_conditions
from app.segments.audience import queries
from app.segments.audience.definition import (
    Definition,
    Did,
    Either,
    Every,
    Without,
    check_definition,
    leaves,
)
from app.segments.audience.queries import All, Any_, Audience, Leaf, Node, Not, Sum
from app.segments.conditions import Problem
from app.segments.marks import ValueType


class TooSlow(msgspec.Struct, frozen=True):
    """It reads more than a statement has time for."""


async def preview_audience(
    pool: Lender,
    tenant_id: int,
    definition: Definition,
    sample: int,
    *,
    may_read_personal_data: bool,
) -> Audience | Sequence[Problem] | NotReady | NeedsPersonalData | TooSlow:
    """cost  3 statements"""
    if problems := check_definition(definition):
        return problems
    try:
        async with pool.acquire() as connection:
            node = await resolve_definition(
                connection, tenant_id, definition, may_read_personal_data=may_read_personal_data
            )
            return await queries.count_audience(connection, tenant_id, node, sample)
    except Refused as refused:
        return refused.reason
    except DRIVER_ERRORS as error:
        if is_too_slow(error):
            return TooSlow()
        raise


async def resolve_definition(
    connection: Connection, tenant_id: int, definition: Definition, *, may_read_personal_data: bool
) -> Node:
    """The definition with the marks that serve it.

    raises  Refused
    """
    names = sorted({did.event_type for _, did in leaves(definition)})
    ids = await marks.find_event_types(connection, tenant_id, names)
    stored = await marks.read_stored_marks(connection, tenant_id, list(ids.values()))
    closed = () if may_read_personal_data else ("direct",)
    known = {
        name: Asked(
            name,
            event_type_id,
            {held.path: held for held in stored if held.event_type == name},
            closed,
        )
        for name, event_type_id in ids.items()
    }
    return _resolve("", definition, known)


def _resolve(at: str, definition: Definition, known: Mapping[str, Asked]) -> Node:
    match definition:
        case Did():
            return _resolve_did(f"{at}/did", definition, known)
        case Without():
            return Not(_resolve(f"{at}/not", definition.of, known))
        case Every():
            return All([_resolve(f"{at}/all/{i}", d, known) for i, d in enumerate(definition.of)])
        case Either():
            return Any_([_resolve(f"{at}/any/{i}", d, known) for i, d in enumerate(definition.of)])


def _resolve_did(at: str, did: Did, known: Mapping[str, Asked]) -> Node:
    entry = known.get(did.event_type)
    if entry is None:
        message = "there is no such event type"
        raise Refused([Problem(f"{at}/eventType", "event_type_unregistered", message)])
    leaf = Leaf(
        event_type_id=entry.event_type_id,
        predicates=resolve_conditions(f"{at}/where", entry, did.where),
        after=did.after,
        before=did.before,
        at_least=did.at_least,
        at_most=did.at_most,
        total=_resolve_total(at, did, entry),
    )
    if did.at_least > 0:
        return leaf
    assert did.at_most is not None, "refused by check_definition"
    too_often = msgspec.structs.replace(leaf, at_least=did.at_most + 1, at_most=None)
    return Not(too_often)


def _resolve_total(at: str, did: Did, entry: Asked) -> Sum | None:
    if did.total is None:
        return None
    mark = entry.ready_mark(did.total.path)
    if mark.value_type is not ValueType.NUMBER or mark.is_array:
        message = "only a property that is one number can be added up"
        raise Refused([Problem(f"{at}/sum/property", "sum_of_no_number", message)])
    return Sum(mark, did.total.at_least, did.total.at_most)
