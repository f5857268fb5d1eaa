"""A believable retail history, as the events of a chain's systems arrive: with their mishaps.

Pure: the same arguments give the same events. Memory does not grow with their number.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random

from app.cli.retail.cast import make_cast, scramble
from app.cli.retail.journeys import PLACEHOLDERS, Journeys
from app.cli.retail.story import Story
from app.cli.retail.telling import Event, Teller, Told, moment

MAX_WAITING = 20_000
"""Deliveries that are yet to come; beyond it the next one comes early."""
BAD_LINE = "brand.pos.store_03_till_1"
"""A till that loses many answers, and delivers once more what it got none for."""

_HOUR, _DAY = 3_600, 86_400
_QUIET_AT_THE_END = _HOUR
"""No journey starts in the last hour, so that none is told beyond the end."""
_WEIGHT_BY_HOUR = (
    6, 3, 2, 1, 1, 1, 2, 3, 5, 7, 9, 10, 12, 16, 20, 22, 24, 26, 26, 25, 25, 22, 16, 10,
)  # fmt: skip
"""Of the day in UTC, for a chain five and six hours west of it."""
_WEIGHT_BY_WEEKDAY = (0.85, 0.85, 0.9, 0.95, 1.15, 1.45, 0.95)
_TEXT_AMOUNTS = (0.31, 0.038)
"""Where in the history, and for what part of it, the tills write amounts as texts."""
_NO_CURRENCY = (0.67, 0.035)
"""The same of the web shop that leaves out currencies."""
_WRONG_DATE = 0.97
"""From here on one till is a day ahead."""


def history(seed: int, events: int, until: datetime, days: int = 30) -> Iterator[Event]:
    """So many events of the days before that moment, in the order of their delivery.

    until  aware; nothing starts later, and nothing occurred over 24 hours later
    cost   20 µs an event
    """
    end = int(until.timestamp())
    start_of = _timeline(end - days * _DAY, days)
    number = scramble(scramble(seed, events), scramble(days, end))
    random = Random(number)  # noqa: S311
    mishaps = Mishaps(random)
    cast = make_cast(seed, events)
    tell = Teller(cast, random, f"{number:016x}"[:8])
    journeys, story = Journeys(cast, random, tell), Story(cast, tell)
    waiting: list[tuple[float, int, Event]] = []
    told = 0
    while told < events:
        progress = told / events
        now = start_of(progress)
        deliveries = story.next(now, progress)
        for original in journeys.next(now, progress):
            deliveries += mishaps.deliveries(original, progress)
        for at, event in deliveries[: events - told]:
            heapq.heappush(waiting, (at, told, event))
            told += 1
        while waiting and (waiting[0][0] <= now or len(waiting) > MAX_WAITING):
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]


def _timeline(start: int, days: int) -> Callable[[float], float]:
    """When, in seconds since the epoch, a given part of all journeys has started."""
    weights = [
        _WEIGHT_BY_HOUR[at // _HOUR % 24] * _WEIGHT_BY_WEEKDAY[(at // _DAY + 3) % 7]
        for at in range(start, start + days * _DAY - _QUIET_AT_THE_END, _HOUR)
    ]
    reached = [0.0, *accumulate(weights)]

    def start_of(part: float) -> float:
        weight = part * reached[-1]
        hour = bisect_right(reached, weight) - 1
        return start + (hour + (weight - reached[hour]) / weights[hour]) * _HOUR

    return start_of


class Mishaps:
    """What goes wrong between a business fact and its delivery."""

    def __init__(self, random: Random) -> None:
        self._random = random.random

    def deliveries(self, original: Told, progress: float) -> list[Told]:
        """The event as it is delivered: late, spoilt, twice, or as it should be."""
        event = original.event
        at = original.at
        if event["eventType"] == "purchase_completed":
            spoilt = _spoilt_by_release(event, progress)
            if spoilt is not None:
                # After the release was mended, the till sends half of them once more.
                mended = [Told(at + 20 * _HOUR, event)] if self._random() < 0.5 else []
                return [Told(at, spoilt), *mended]
            if progress > _WRONG_DATE and event["properties"].get("store_id") == "store_01":
                event = event | {"occurredAt": _day_ahead(event["occurredAt"])}
        chance = self._random()
        if chance < 0.012:
            return [Told(at, self._spoilt(event))]
        if event["source"].startswith("brand.pos"):
            if chance > 0.97:  # a shop without a line: it keeps events until it has one again
                at += (1 + 70 * self._random()) * _HOUR
            return self._retried(at, event, 0.5 if event["source"] == BAD_LINE else 0.07)
        return self._retried(at, event, 0.036)

    def _retried(self, at: float, event: Event, share: float) -> list[Told]:
        """Delivered again when the answer was lost; sometimes hours later, by another relay."""
        told = [Told(at, event)]
        chance = self._random()
        if chance < share:
            later = at + 5 + 90 * self._random()
            if chance < share / 4:
                later += (1 + 11 * self._random()) * _HOUR
                event = _respelt(event)
            told.append(Told(later, event))
        return told

    def _spoilt(self, event: Event) -> Event:
        """The same with one of the faults that every chain has."""
        chance = self._random()
        if chance < 0.30:
            return event | {"identity": {"email": "no.address(at)example.com"}}
        if chance < 0.52:
            placeholder = PLACEHOLDERS[int(self._random() * len(PLACEHOLDERS))]
            return event | {"identity": {"externalUserId": placeholder}}
        if chance < 0.66:
            return event | {"identity": {}}
        if chance < 0.80:
            renamed = dict(event)
            renamed["occured_at"] = renamed.pop("occurredAt")
            return renamed
        if chance < 0.90:
            return event | {"occurredAt": event["occurredAt"][:19]}
        return event | {"occurredAt": "1970-01-01T00:00:00Z"}


def _spoilt_by_release(event: Event, progress: float) -> Event | None:
    """What a faulty release made of a purchase; None when none was at work."""
    is_till = event["source"].startswith("brand.pos")
    start, length = _TEXT_AMOUNTS if is_till else _NO_CURRENCY
    if not start <= progress < start + length:
        return None
    properties = dict(event["properties"])
    if is_till:
        properties["amount"] = f"{properties['amount']:.2f}"
    else:
        del properties["currency"]
    return event | {"properties": properties}


def _respelt(event: Event) -> Event:
    """The same fact in other words: contact data in capitals, time in UTC, members turned round."""
    when = datetime.fromisoformat(event["occurredAt"])
    identity = {
        name: value.upper() if name == "email" else value
        for name, value in event["identity"].items()
    }
    return {
        "eventType": event["eventType"],
        "properties": dict(reversed(event["properties"].items())),
        "occurredAt": moment(when.timestamp()),
        "identity": identity,
        "externalEventId": event["externalEventId"],
        "source": event["source"],
    }


def _day_ahead(occurred_at: str) -> str:
    return (datetime.fromisoformat(occurred_at) + timedelta(hours=23)).isoformat()
