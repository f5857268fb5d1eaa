"""`cdp demo` against a running service: the mix that it promises, and nothing new a second time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.support import Service, reconciliation, run_cdp

EVENTS = 500


def run_demo(service: Service, *options: str) -> dict[str, Any]:
    done = run_cdp(
        *("demo", "--events", str(EVENTS), "--until", "2026-05-20", "--json", *options),
        environment={"CDP_URL": service.url, "CDP_KEY": service.key},
    )
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def test_a_second_demo_is_all_duplicates_and_every_delivery_is_counted(service: Service) -> None:
    first = run_demo(service)
    again = run_demo(service)

    totals = first["totals"]
    assert sum(totals.values()) == EVENTS
    assert totals["accepted"] > EVENTS * 0.9
    assert totals["duplicate"] > 0
    assert totals["error"] > 0
    assert sum(first["error_codes"].values()) == totals["error"]
    assert first["customers"] > 20
    assert first["shops"] == 6
    assert again["totals"] == {
        "accepted": 0,
        "duplicate": totals["accepted"] + totals["duplicate"],
        "error": totals["error"],
    }
    assert again["error_codes"] == first["error_codes"]

    counted = asyncio.run(reconciliation(service.database_url, service.tenant_id))
    assert counted.balanced
    assert counted.received == 2 * EVENTS
    assert counted.accepted == totals["accepted"]
    assert counted.conflict + counted.rejected == 2 * totals["error"]


def test_another_seed_brings_other_events(service: Service) -> None:
    run_demo(service)
    other = run_demo(service, "--seed", "2")
    assert other["totals"]["accepted"] > EVENTS * 0.9


def test_the_summary_names_event_types_and_reasons(service: Service) -> None:
    done = run_cdp(
        *("demo", "--events", str(EVENTS), "--until", "2026-05-20"),
        environment={"CDP_URL": service.url, "CDP_KEY": service.key},
    )
    assert done.returncode == 0, done.stderr
    for text in ("purchase_completed", "validation_failed/", "customer ids in 6 shops", "accepted"):
        assert text in done.stdout


def test_a_history_cannot_end_in_the_future() -> None:
    done = run_cdp("demo", "--until", "2999-01-01", environment={})
    assert done.returncode == 1
    assert done.stderr.startswith("cdp: --until is ")
