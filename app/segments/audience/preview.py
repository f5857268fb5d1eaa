"""How many people an audience has, as of now: checks a definition, finds its marks, counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from app.db.failures import DRIVER_ERRORS, is_too_slow
from app.db.pool import Connection, Pool
from app.segments import queries as marks
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
from app.segments.audience.queries import All, Any_, Audience, Leaf, Node, Not, Predicate, Sum
from app.segments.conditions import Problem, check_condition
from app.segments.marks import Mark, State, ValueType
from app.segments.queries import StoredMark


class NotReady(msgspec.Struct, frozen=True):
    """A property that is asked about has no complete storage."""

    event_type: str
    path: str
    state: State | None
    """None: it is not marked."""


class NeedsPersonalData(msgspec.Struct, frozen=True):
    """A condition on direct personal data: counting would answer who it is."""

    path: str


class TooSlow(msgspec.Struct, frozen=True):
    """It reads more than a statement has time for."""


class Known(msgspec.Struct, frozen=True):
    """One event type, as far as a definition needs it."""

    event_type_id: int
    mark_by_path: Mapping[str, StoredMark]
    may_read_personal_data: bool


class Refused(Exception):
    """The definition cannot be counted; the reason is one of the refusals."""

    def __init__(self, reason: Sequence[Problem] | NotReady | NeedsPersonalData) -> None:
        super().__init__()
        self.reason = reason


async def preview_audience(
    pool: Pool,
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
    known = {
        name: Known(
            event_type_id,
            {held.path: held for held in stored if held.event_type == name},
            may_read_personal_data,
        )
        for name, event_type_id in ids.items()
    }
    return _resolve("", definition, known)


def _resolve(at: str, definition: Definition, known: Mapping[str, Known]) -> Node:
    match definition:
        case Did():
            return _resolve_did(f"{at}/did", definition, known)
        case Without():
            return Not(_resolve(f"{at}/not", definition.of, known))
        case Every():
            return All([_resolve(f"{at}/all/{i}", d, known) for i, d in enumerate(definition.of)])
        case Either():
            return Any_([_resolve(f"{at}/any/{i}", d, known) for i, d in enumerate(definition.of)])


def _resolve_did(at: str, did: Did, known: Mapping[str, Known]) -> Node:
    entry = known.get(did.event_type)
    if entry is None:
        message = "there is no such event type"
        raise Refused([Problem(f"{at}/eventType", "event_type_unregistered", message)])
    predicates = []
    for index, condition in enumerate(did.where):
        mark = _ready(did.event_type, entry, condition.path)
        test = check_condition(f"{at}/where/{index}", condition, mark.value_type)
        if isinstance(test, Problem):
            raise Refused([test])
        predicates.append(Predicate(mark, test))
    leaf = Leaf(
        event_type_id=entry.event_type_id,
        predicates=predicates,
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


def _resolve_total(at: str, did: Did, entry: Known) -> Sum | None:
    if did.total is None:
        return None
    mark = _ready(did.event_type, entry, did.total.path)
    if mark.value_type is not ValueType.NUMBER or mark.is_array:
        message = "only a property that is one number can be added up"
        raise Refused([Problem(f"{at}/sum/property", "sum_of_no_number", message)])
    return Sum(mark, did.total.at_least, did.total.at_most)


def _ready(event_type: str, entry: Known, path: str) -> Mark:
    held = entry.mark_by_path.get(path)
    if held is None or held.state is not State.READY:
        raise Refused(NotReady(event_type, path, held.state if held else None))
    if held.pii == "direct" and not entry.may_read_personal_data:
        raise Refused(NeedsPersonalData(path))
    return held.mark
