"""Cuts a stretch of time into steps of a time zone, and says which roll-ups cover it.

Pure. Never looks at counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from zoneinfo import ZoneInfo

import msgspec

MAX_STEPS = 2_000
"""A day and a third by the minute, twelve weeks by the hour, five years by the day."""

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)
"""Offsets of all time zones are multiples of it since 1972 (IANA tz database)."""
MINUTE = timedelta(minutes=1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Range = tuple[datetime, datetime]


class Step(Enum):
    MINUTE = auto()
    HOUR = auto()
    DAY = auto()
    WHOLE = auto()
    """One step from beginning to end, to the minute."""


_SHORTEST = {Step.MINUTE: MINUTE, Step.HOUR: HOUR, Step.DAY: DAY - HOUR}


class TooManySteps(ValueError):
    """The stretch has more than MAX_STEPS steps."""


class Cover(msgspec.Struct, frozen=True):
    """Ranges of the three tables that cover a stretch, each instant once."""

    days: Sequence[Range]
    hours: Sequence[Range]
    minutes: Sequence[Range]
    cuts: Sequence[int]
    """Quarters at which an hour's row is cut, its ends included: 0, 4, or 0, 1, 4 in Kathmandu."""


def step_starts(start: datetime, end: datetime, step: Step, zone: ZoneInfo) -> list[datetime]:
    """The beginnings of all steps that touch [start, end), and the end of the last one; UTC.

    An hour that clocks go through twice is two steps. One that they leave out is none. A change of
    half an hour makes a step of half an hour or of one and a half.
    raises  TooManySteps
    """
    start, end = start.astimezone(UTC), max(end, start + MINUTE).astimezone(UTC)
    if step is not Step.WHOLE and (end - start) // _SHORTEST[step] > MAX_STEPS:
        raise TooManySteps
    if step is Step.WHOLE:
        return [floor(start, MINUTE), _ceiling(end, MINUTE)]
    if step is Step.MINUTE:
        return _every(floor(start, MINUTE), _ceiling(end, MINUTE), MINUTE)
    if step is Step.DAY:
        return _days(start, end, zone)
    return _hours(start, end, zone)


def _every(start: datetime, end: datetime, length: timedelta) -> list[datetime]:
    return [start + n * length for n in range((end - start) // length + 1)]


def _days(start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """Local midnights; where clocks leave midnight out, the moment at which they do."""
    first = start.astimezone(zone)
    midnight = datetime(first.year, first.month, first.day, tzinfo=zone)
    found: list[datetime] = []
    while not found or found[-1] < end:
        moment = midnight.astimezone(UTC)
        if not found or moment > found[-1]:  # a day that a zone skips as a whole is no step
            found.append(moment)
        midnight += DAY  # wall clock: the offset is looked up anew
    return found


def _hours(start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """Moments at which the local hour, or its offset, is another than a quarter before."""
    moment = floor(start, QUARTER)
    here = _local_hour(moment, zone)
    while _local_hour(moment - QUARTER, zone) == here:
        moment -= QUARTER
    found = [moment]
    while found[-1] < end:
        moment += QUARTER
        if (there := _local_hour(moment, zone)) != here:
            found.append(moment)
            here = there
    return found


def _local_hour(moment: datetime, zone: ZoneInfo) -> tuple[int, timedelta | None]:
    local = moment.astimezone(zone)
    return local.hour, local.utcoffset()


def cover(starts: Sequence[datetime], days_until: datetime) -> Cover:
    """Read days where they fit between the steps' beginnings, else hours, else minutes.

    The two ends need not fit: what is left of a day or an hour there is read more finely.
    days_until  days before are rolled up
    """
    inner = starts[1:-1]
    minutes = [(starts[0], starts[-1])]
    hours: Sequence[Range] = ()
    days: Sequence[Range] = ()
    if all(floor(moment, QUARTER) == moment for moment in inner):
        minutes, hours = _split(minutes, HOUR, starts[-1])
        if all(floor(moment, DAY) == moment for moment in inner):
            hours, days = _split(hours, DAY, days_until)
    begun = {(moment - floor(moment, HOUR)) // QUARTER for moment in inner} if hours else set()
    return Cover(days, hours, minutes, sorted({0, 4} | begun))


def _split(
    ranges: Sequence[Range], length: timedelta, until: datetime
) -> tuple[list[Range], list[Range]]:
    """(what stays, what whole units of this length before `until` take over)"""
    stays: list[Range] = []
    taken: list[Range] = []
    for start, end in ranges:
        first, last = _ceiling(start, length), floor(min(end, until), length)
        if first >= last:
            stays.append((start, end))
            continue
        taken.append((first, last))
        stays += [(a, b) for a, b in ((start, first), (last, end)) if a < b]
    return stays, taken


def floor(moment: datetime, length: timedelta) -> datetime:
    """The beginning of its minute, quarter, hour or day of UTC."""
    return moment - (moment - _EPOCH) % length


def _ceiling(moment: datetime, length: timedelta) -> datetime:
    return moment + (_EPOCH - moment) % length
