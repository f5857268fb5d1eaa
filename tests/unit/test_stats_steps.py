"""Steps follow the clock on the wall, and roll-ups cover each instant once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.stats.steps import (
    DAY,
    HOUR,
    MAX_STEPS,
    MINUTE,
    Cover,
    Step,
    TooManySteps,
    cover,
    step_starts,
)

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu",
    "Australia/Lord_Howe", "Pacific/Chatham", "America/Havana", "Africa/Cairo", "Pacific/Apia",
]  # fmt: skip

moments = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))
zones = st.sampled_from(ZONES).map(ZoneInfo)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def hours(*starts: datetime) -> list[float]:
    return [(b - a) / HOUR for a, b in pairwise(starts)]


def test_a_day_is_23_or_25_hours_long_when_clocks_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring = step_starts(at("2026-03-28T12:00+01:00"), at("2026-03-30T12:00Z"), Step.DAY, berlin)
    assert hours(*spring) == [24, 23, 24]
    assert spring[0] == at("2026-03-28T00:00+01:00")
    autumn = step_starts(at("2026-10-24T12:00Z"), at("2026-10-26T12:00Z"), Step.DAY, berlin)
    assert hours(*autumn) == [24, 25, 24]


def test_a_day_that_begins_without_its_midnight_begins_when_clocks_change() -> None:
    cairo = ZoneInfo("Africa/Cairo")  # 2026-04-24 goes from 00:00 to 01:00
    starts = step_starts(at("2026-04-23T12:00Z"), at("2026-04-24T12:00Z"), Step.DAY, cairo)
    assert starts == [
        at("2026-04-23T00:00+02:00"), at("2026-04-24T00:00+02:00"), at("2026-04-25T00:00+03:00"),
    ]  # fmt: skip


def test_the_hour_that_clocks_go_through_twice_is_two_steps() -> None:
    new_york = ZoneInfo("America/New_York")
    starts = step_starts(at("2026-11-01T00:00-04:00"), at("2026-11-01T03:00-05:00"),
                         Step.HOUR, new_york)  # fmt: skip
    assert [f"{start.astimezone(new_york):%H:%M%z}" for start in starts] == [
        "00:00-0400", "01:00-0400", "01:00-0500", "02:00-0500", "03:00-0500",
    ]  # fmt: skip


@pytest.mark.parametrize(("zone", "minute"), [("Asia/Kolkata", 30), ("Asia/Kathmandu", 15)])
def test_hours_of_shifted_zones_begin_within_those_of_utc(zone: str, minute: int) -> None:
    start = at("2026-05-20T12:00Z")
    starts = step_starts(start, start + 3 * HOUR, Step.HOUR, ZoneInfo(zone))
    assert {moment.minute for moment in starts} == {minute}
    assert starts[0] <= start < starts[1]


def test_half_an_hour_of_daylight_saving_makes_a_step_of_half_an_hour() -> None:
    lord_howe = ZoneInfo("Australia/Lord_Howe")  # 2026-04-05 goes back from 02:00 to 01:30
    starts = step_starts(at("2026-04-05T00:00+11:00"), at("2026-04-05T03:00+10:30"),
                         Step.HOUR, lord_howe)  # fmt: skip
    assert hours(*starts) == [1, 1, 0.5, 1]


@given(moments, st.timedeltas(timedelta(0), timedelta(days=20)), zones,
       st.sampled_from([Step.HOUR, Step.DAY, Step.WHOLE]))  # fmt: skip
def test_steps_follow_one_another_and_hold_what_was_asked_for(
    start: datetime, length: timedelta, zone: ZoneInfo, step: Step
) -> None:
    starts = step_starts(start, start + length, step, zone)
    assert starts == sorted(set(starts))
    assert starts[0] <= start < starts[-1]
    assert start + length <= starts[-1]
    if len(starts) > 2:
        assert start < starts[1]
        assert starts[-2] < start + max(length, MINUTE)


def test_more_steps_than_a_chart_has_are_refused() -> None:
    start = at("2026-01-01T00:00Z")
    zone = ZoneInfo("UTC")
    assert len(step_starts(start, start + MAX_STEPS * MINUTE, Step.MINUTE, zone)) == MAX_STEPS + 1
    for step, length in ((Step.MINUTE, MINUTE), (Step.HOUR, HOUR), (Step.DAY, DAY)):
        with pytest.raises(TooManySteps):
            step_starts(start, start + (MAX_STEPS + 1) * length, step, zone)


def test_a_long_stretch_is_read_from_days_and_its_ends_from_hours_and_minutes() -> None:
    starts = step_starts(at("2026-05-01T22:58Z"), at("2026-05-04T01:02Z"), Step.WHOLE,
                         ZoneInfo("UTC"))  # fmt: skip
    assert cover(starts, at("2026-05-04T00:00Z")) == Cover(
        days=[(at("2026-05-02T00:00Z"), at("2026-05-04T00:00Z"))],
        hours=[
            (at("2026-05-01T23:00Z"), at("2026-05-02T00:00Z")),
            (at("2026-05-04T00:00Z"), at("2026-05-04T01:00Z")),
        ],
        minutes=[
            (at("2026-05-01T22:58Z"), at("2026-05-01T23:00Z")),
            (at("2026-05-04T01:00Z"), at("2026-05-04T01:02Z")),
        ],
        cuts=[0, 4],
    )


@given(moments, st.timedeltas(MINUTE, timedelta(days=20)), zones,
       st.sampled_from([Step.HOUR, Step.DAY, Step.WHOLE]),
       st.timedeltas(timedelta(days=-2), timedelta(days=22)))  # fmt: skip
def test_every_instant_is_covered_once_and_by_what_is_rolled_up_only(
    start: datetime, length: timedelta, zone: ZoneInfo, step: Step, rolled_for: timedelta
) -> None:
    starts = step_starts(start, start + length, step, zone)
    days_until = (start + rolled_for).replace(hour=0, minute=0, second=0, microsecond=0)
    parts = cover(starts, days_until)
    ranges = sorted([*parts.days, *parts.hours, *parts.minutes])
    assert ranges[0][0] == starts[0]
    assert ranges[-1][1] == starts[-1]
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    assert all(end <= days_until for _, end in parts.days)
    inner = starts[1:-1]
    for begin, end in parts.days:
        assert all(moment.hour == 0 == moment.minute for moment in inner if begin < moment < end)
    assert (parts.cuts[0], parts.cuts[-1]) == (0, 4)
    if parts.hours:
        assert {moment.minute // 15 for moment in inner} | {0, 4} == set(parts.cuts)


@pytest.mark.parametrize(
    ("zone", "cuts"),
    [("Europe/Berlin", [0, 4]), ("Asia/Kolkata", [0, 2, 4]), ("Asia/Kathmandu", [0, 1, 4]),
     ("Australia/Lord_Howe", [0, 2, 4])],
)  # fmt: skip
def test_hours_are_cut_where_a_zone_s_hours_begin(zone: str, cuts: list[int]) -> None:
    starts = step_starts(
        at("2026-03-01T00:00Z"), at("2026-05-01T00:00Z"), Step.HOUR, ZoneInfo(zone)
    )
    assert cover(starts, at("2026-05-01T00:00Z")).cuts == cuts
