"""Which events an export is of: names, times and conditions as typed become a `Selection`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from app import ids
from app.cli.runtime import Problem
from app.db.pool import Connection
from app.db.scan import EVER, Window
from app.identity import reading as identities
from app.identity.identifiers import key_flaw
from app.ingest import reading as events
from app.ingest.reading import Order, Selection
from app.segments.asking import (
    PERSONAL,
    Asked,
    NeedsPersonalData,
    NotReady,
    Refused,
    resolve_conditions,
)
from app.segments.conditions import (
    MAX_CONDITIONS,
    Condition,
    Limits,
    Predicate,
    is_storable,
)
from app.segments.marks import ValueType
from app.segments.queries import read_stored_marks
from app.segments.values import decode_value

_CONDITION = re.compile(r"(!?)(/[^=<>]*)(?:(>=|<=|=|>|<)(.*))?", re.DOTALL)
_LIMIT = {">=": "at_least", ">": "above", "<=": "at_most", "<": "below"}


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """As typed; None does not matter."""

    event_type: str | None
    version: int | None
    source: str | None
    profile: str | None
    received: Window
    occurred: Window
    has_warnings: bool | None
    conditions: Sequence[str]


class Wanted(msgspec.Struct, frozen=True):
    tenant_id: int
    selection: Selection
    members: Sequence[bytes] = ()
    """Profile ids of one person, the root first; empty: everybody's events."""


async def find_wanted(
    connection: Connection, tenant_id: int, asked: Filter, *, personal: bool
) -> Wanted:
    """What the filter stands for among a tenant's own names and ids.

    The order is that of the index that finds the events: one type's and one person's are found
    by occurrence, unless it is the receipt that is limited.
    personal  whether personal data may be asked about; answers would tell it
    raises    Problem
    """
    _check(asked)
    names = await _find_names(connection, tenant_id, asked)
    members: Sequence[bytes] = ()
    if asked.profile is not None:
        members = await _find_person(connection, tenant_id, asked.profile)
    predicates: tuple[Predicate, ...] = ()
    if asked.event_type is not None and names.event_type_id is not None and asked.conditions:
        predicates = await _find_predicates(
            connection, tenant_id, asked, names.event_type_id, personal=personal
        )
    by_occurrence = bool(members) or (asked.event_type is not None and asked.received == EVER)
    selection = Selection(
        order=Order.OCCURRED if by_occurrence else Order.RECEIVED,
        received=asked.received,
        occurred=asked.occurred,
        source_id=names.source_id,
        event_type_id=names.event_type_id,
        version_id=names.version_id,
        has_warnings=asked.has_warnings,
        properties=predicates,
    )
    return Wanted(tenant_id, selection, members)


def instant(text: str | None, option: str) -> datetime | None:
    """`2026-05-20T12:45:00Z` with its offset, or a date: its midnight UTC.

    raises  Problem
    """
    if text is None:
        return None
    try:
        if len(text) == len("2026-05-20"):
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return min(max(moment.astimezone(UTC), EVER.start), EVER.end)
    except (ValueError, OverflowError):
        pass
    raise Problem(f"{option} {text!r} is no date and no time with its offset: 2026-05-20T12:45:00Z")


def _check(asked: Filter) -> None:
    if asked.version is not None and asked.event_type is None:
        raise Problem("--schema-version needs --type: versions are an event type's")
    if asked.conditions and asked.event_type is None:
        raise Problem("--where needs --type: properties are an event type's")
    if len(asked.conditions) > MAX_CONDITIONS:
        raise Problem(f"--where: {MAX_CONDITIONS} conditions at most")
    if asked.profile is not None and asked.received != EVER:
        raise Problem("a profile's events are found by --occurred-since and --occurred-until")


async def _find_names(connection: Connection, tenant_id: int, asked: Filter) -> events.Names:
    for name in (asked.event_type, asked.source):
        if name is not None and (key_flaw(name) or not is_storable(name)):
            raise Problem(f"{name!r} is no name")
    found = await events.find_ids(
        connection,
        tenant_id,
        source=asked.source,
        event_type=asked.event_type,
        version=asked.version,
    )
    if asked.event_type is not None and found.event_type_id is None:
        raise Problem(f"there is no event type {asked.event_type!r}")
    if asked.version is not None and found.version_id is None:
        raise Problem(f"{asked.event_type} has no version {asked.version}")
    if asked.source is not None and found.source_id is None:
        raise Problem(f"there is no source {asked.source!r}")
    return found


async def _find_person(connection: Connection, tenant_id: int, profile: str) -> Sequence[bytes]:
    profile_id = ids.decode(ids.PROFILE_PREFIX, profile)
    found = (
        await identities.find_profiles(connection, tenant_id, [profile_id]) if profile_id else {}
    )
    if profile_id is None or profile_id not in found:
        raise Problem(f"there is no profile {profile!r}")
    root_id = found[profile_id].profile_id
    return (await identities.read_members(connection, tenant_id, [root_id]))[root_id]


async def _find_predicates(
    connection: Connection, tenant_id: int, asked: Filter, event_type_id: int, *, personal: bool
) -> tuple[Predicate, ...]:
    marks = await read_stored_marks(connection, tenant_id, [event_type_id])
    there = Asked(
        str(asked.event_type),
        event_type_id,
        {held.path: held for held in marks},
        closed=() if personal else PERSONAL,
    )
    return tuple(_predicate(text, there) for text in asked.conditions)


def _predicate(text: str, there: Asked) -> Predicate:
    try:
        [predicate] = resolve_conditions("", there, [_condition(text, there)])
    except Refused as refused:
        raise Problem(f"--where {text!r}: {_reason(refused)}") from None
    return predicate


def _condition(text: str, there: Asked) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None or (match[1] and match[3]):
        raise Problem(
            f"--where {text!r} is no condition: /amount>=100, /currency=USD, /coupon (has one),"
            " !/coupon (has none)"
        )
    absent, path, operator, value = match.groups()
    if operator is None:
        return Condition(path, exists=not absent)
    held = there.mark_by_path.get(path)
    sent = _value(value, held.mark.value_type if held else ValueType.TEXT)
    if operator == "=":
        return Condition(path, equals=sent)
    return Condition(path, limits=Limits(**{_LIMIT[operator]: sent}))


def _value(text: str, value_type: ValueType) -> Any:
    """A number or a flag where the property has such; what is none is refused as a text."""
    if value_type in (ValueType.TEXT, ValueType.TIMESTAMP):
        return text
    try:
        return decode_value(text)
    except (msgspec.DecodeError, ArithmeticError, UnicodeEncodeError, RecursionError):
        return text


def _reason(refused: Refused) -> str:
    match refused.reason:
        case NotReady(path=path, state=None):
            return f"{path} is not segmentable"
        case NotReady(path=path, progress=done):
            return f"{path} is being built, {done:.0%} so far"
        case NeedsPersonalData(path=path):
            return f"{path} is personal data: it needs --pii"
        case problems:
            return problems[0].message
