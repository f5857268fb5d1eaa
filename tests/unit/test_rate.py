"""Rate limits count events a clock minute, and never a part of a request."""

from __future__ import annotations

from app.access.rate import Limit, RateLimiter

KEY, TENANT = Limit("key:1", 10), Limit("tenant:1", 15)
MINUTE = 60_000.0


def test_events_are_counted_until_the_limit() -> None:
    limiter = RateLimiter()
    assert limiter.charge((KEY,), 7, MINUTE) == (True, 10, 3, 60)
    assert limiter.charge((KEY,), 3, MINUTE + 59) == (True, 10, 0, 1)
    assert limiter.charge((KEY,), 1, MINUTE + 59) == (False, 10, 0, 1)


def test_a_request_that_does_not_fit_counts_nothing() -> None:
    limiter = RateLimiter()
    assert not limiter.charge((KEY,), 11, MINUTE).allowed
    assert limiter.charge((KEY,), 10, MINUTE).allowed


def test_the_tightest_limit_decides_and_is_told() -> None:
    limiter = RateLimiter()
    other = Limit("key:2", 10)
    assert limiter.charge((KEY, TENANT), 9, MINUTE) == (True, 10, 1, 60)
    assert limiter.charge((other, TENANT), 7, MINUTE) == (False, 15, 6, 60)
    assert limiter.charge((other, TENANT), 6, MINUTE) == (True, 15, 0, 60)


def test_a_new_minute_begins_at_nothing() -> None:
    limiter = RateLimiter()
    assert limiter.charge((KEY,), 10, MINUTE).allowed
    assert limiter.charge((KEY,), 10, MINUTE + 60) == (True, 10, 0, 60)


def test_what_other_workers_let_through_counts() -> None:
    limiter = RateLimiter()
    limiter.charge((KEY,), 2, MINUTE)
    minute, own = limiter.own_counts()
    assert (minute, own) == (1_000, {"key:1": 2})
    limiter.learn(minute, {"key:1": 7})
    assert limiter.charge((KEY,), 1, MINUTE) == (True, 10, 0, 60)
    limiter.learn(minute - 1, {"key:1": 0})
    assert not limiter.charge((KEY,), 1, MINUTE).allowed, "an old minute's news is no news"
