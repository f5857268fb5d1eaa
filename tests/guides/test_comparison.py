"""What may differ from a guide's answer, and what may not: else a guide could say anything."""

from __future__ import annotations

from typing import Any

import pytest

from tests.guides.comparison import Allowed, differences

VARY = Allowed(figures=True, data=frozenset({"source"}))


def of(said: Any, now: Any, allow: Allowed) -> list[str]:
    return list(differences(said, now, allow))


@pytest.mark.parametrize(
    ("said", "now"),
    [
        ({"id": "prf_1a"}, {"id": "prf_2b"}),
        ({"at": "2026-05-20T12:00:00Z"}, {"at": "2026-05-21T12:00:01.5Z"}),
    ],
)
def test_ids_and_times_may_always_differ(said: Any, now: Any) -> None:
    assert of(said, now, Allowed()) == []


@pytest.mark.parametrize(
    ("said", "now"),
    [
        ({"total": 1_000}, {"total": 7}),
        ({"rate": 0.25}, {"rate": 0.5}),
        ({"note": "in 1,000 of 1,000"}, {"note": "in 12 of 12"}),
        ({"nodes": [{"n": 1}, {"n": 2}]}, {"nodes": [{"n": 3}]}),
        ({"source": "a"}, {"source": None}),
    ],
)
def test_figures_and_data_may_differ_where_a_step_says_so(said: Any, now: Any) -> None:
    assert of(said, now, Allowed()) != []
    assert of(said, now, VARY) == []


@pytest.mark.parametrize(
    ("said", "now"),
    [
        ({"total": 1_000}, {"total": 0}),
        ({"total": 0}, {"total": 1}),
        ({"total": 1}, {"total": "1"}),
        ({"total": 1}, {"total": None}),
        ({"total": 1}, {"count": 1}),
        ({"total": 1}, {"total": 1, "count": 1}),
        ({"nodes": [1]}, {"nodes": []}),
        ({"nodes": [{"reason": "size"}, {"reason": "type"}]}, {"nodes": [{"reason": "type"}]}),
        ({"state": "DONE"}, {"state": "STOPPED"}),
        ({"isComplete": True}, {"isComplete": False}),
        ({"id": "prf_1a"}, {"id": "evt_1a"}),
    ],
)
def test_what_kind_of_answer_it_is_may_never_differ(said: Any, now: Any) -> None:
    assert of(said, now, VARY) != []
