"""What nobody foresaw costs one event its answer, never a neighbour and never the service."""

from __future__ import annotations

from typing import Any

import pytest

from app.ingest import queries as events
from tests.support import Api, purchase

POISON = "poison"
FAULT = {
    "status": "error",
    "error_code": "internal_error",
    "message": "a fault of the service",
    "errors": [],
}


async def check_that_it_fails_alone(api: Api) -> None:
    """More often than there are lanes to lose."""
    for n in range(5):
        answer = await api.post(purchase(POISON))
        assert (answer.status_code, answer.json()["error_code"]) == (500, "internal_error")
        results = await api.results([purchase(f"a{n}"), purchase(POISON), purchase(f"b{n}")])
        assert [result["status"] for result in results] == ["accepted", "error", "accepted"]
        assert results[1] == FAULT
    proof = await api.reconciliation()
    assert proof.balanced
    assert (proof.received, proof.accepted) == (10, 10)


async def test_an_event_that_the_database_refuses_fails_alone(api: Api) -> None:
    await api.fetch(
        f"alter table event add constraint no_poison check (external_event_id <> '{POISON}')"
    )
    await check_that_it_fails_alone(api)


async def test_an_event_that_meets_a_fault_of_ours_fails_alone(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_events = events.insert_events

    async def insert_events_with_fault(*arguments: Any) -> None:
        await insert_events(*arguments)
        if any(row.event.external_event_id == POISON for row in arguments[2]):
            raise TypeError(POISON)

    monkeypatch.setattr(events, "insert_events", insert_events_with_fault)
    await check_that_it_fails_alone(api)
