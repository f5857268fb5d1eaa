"""The figures of an impact run: every item once under each name, bounded whatever is sent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.errors import Violation
from app.impact.tally import (
    MAX_FINDINGS,
    MAX_NAMES,
    MAX_SAMPLES,
    OTHERS,
    Item,
    Kind,
    Tally,
    place_of,
)

DOCUMENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "line_items": {
            "type": "array",
            "items": {"type": "object", "properties": {"sku": {"type": "string"}}},
        },
        "grid": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "by_year": {"type": "object", "properties": {"2024": {"type": "number"}}},
        "a/b": {"type": "array", "items": {"type": "string"}},
    },
}


def fault(path: str, code: str = "property_type") -> Violation:
    return Violation(path, code, "wrong")


def event(number: int = 1, *, today: Any = (), draft: Any = (), **more: Any) -> Item:
    return Item(Kind.EVENT, f"evt_{number}", more.pop("source", "pos"), today, draft, **more)


def refusal(number: int = 1, *, today: Any = (), draft: Any = ()) -> Item:
    return Item(Kind.QUARANTINED, f"qrn_{number}", "pos", today, draft)


def tally_of(*items: Item) -> Tally:
    tally = Tally()
    for item in items:
        tally.add(item, DOCUMENT)
    return tally


def test_only_a_verdict_that_changes_counts() -> None:
    wrong = [fault("/properties/amount")]
    tally = tally_of(event(), event(today=wrong, draft=wrong), refusal(today=wrong, draft=wrong))
    assert tally == Tally(events=tally.events, quarantined=tally.quarantined)
    assert (tally.events.scanned, tally.quarantined.scanned, tally.scanned) == (2, 1, 3)
    assert (tally.events.newly_failing, tally.events.newly_passing) == (0, 0)


def test_an_item_with_several_faults_counts_once_for_each_rule_and_once_for_each_path() -> None:
    faults = [
        fault("/properties/line_items/0/sku"),
        fault("/properties/line_items/7/sku"),
        fault("/properties/amount"),
        fault("/properties/amount", "property_minimum"),
    ]
    tally = tally_of(event(draft=faults))
    assert msgspec.to_builtins(tally.by_rule) == {
        "property_type": {"newly_failing": 1, "newly_passing": 0},
        "property_minimum": {"newly_failing": 1, "newly_passing": 0},
    }
    assert msgspec.to_builtins(tally.by_path) == {
        "/properties/line_items/*/sku": {"newly_failing": 1, "newly_passing": 0},
        "/properties/amount": {"newly_failing": 1, "newly_passing": 0},
    }
    assert {(f.rule, f.path): f.items for f in tally.findings.values()} == {
        ("property_type", "/properties/line_items/*/sku"): 1,
        ("property_type", "/properties/amount"): 1,
        ("property_minimum", "/properties/amount"): 1,
    }


def test_what_would_pass_is_counted_under_the_reasons_it_is_refused_for_today() -> None:
    tally = tally_of(refusal(today=[fault("/properties/tip", "property_unknown")]))
    assert msgspec.to_builtins(tally.findings) == {
        "NEWLY_PASSING property_unknown /properties/tip": {
            "change": "NEWLY_PASSING",
            "rule": "property_unknown",
            "path": "/properties/tip",
            "items": 1,
            "event_ids": [],
            "quarantine_ids": ["qrn_1"],
        }
    }
    assert (tally.quarantined.newly_passing, tally.by_source["pos"].newly_passing) == (1, 1)


def test_a_finding_keeps_its_first_ids_and_no_more() -> None:
    faults = [fault("/properties/amount")]
    items = [event(n, draft=faults) for n in range(8)] + [
        refusal(n, draft=faults) for n in range(8)
    ]
    (finding,) = tally_of(*items).findings.values()
    assert finding.items == 16
    assert finding.event_ids == [f"evt_{n}" for n in range(8)]
    assert finding.quarantine_ids == [f"qrn_{n}" for n in range(MAX_SAMPLES - 8)]


def test_names_that_senders_make_up_do_not_make_it_grow() -> None:
    tally = tally_of(
        *(
            event(n, source=f"s{n}", draft=[fault(f"/properties/u{n}"), fault(f"/properties/v{n}")])
            for n in range(2 * MAX_NAMES)
        )
    )
    assert len(tally.findings) == MAX_FINDINGS + 1
    assert len(tally.by_source) == len(tally.by_path) == MAX_NAMES + 1
    assert sum(count.newly_failing for count in tally.by_source.values()) == 2 * MAX_NAMES
    assert tally.by_path[OTHERS].newly_failing == 2 * MAX_NAMES - MAX_NAMES // 2
    others = tally.findings[f"NEWLY_FAILING property_type {OTHERS}"]
    assert others.items == 2 * MAX_NAMES - MAX_FINDINGS // 2
    assert len(msgspec.json.encode(tally)) < 300_000


def test_events_that_lost_properties_are_counted_apart() -> None:
    assert tally_of(event(was_stripped=True), event()).stripped_events == 1


def test_a_tally_comes_back_from_json_as_it_was() -> None:
    faults = [fault("/properties/amount")]
    tally = tally_of(event(draft=faults), refusal(today=faults), event(was_stripped=True))
    again = msgspec.json.decode(msgspec.json.encode(tally), type=Tally)
    assert again == tally
    again.add(event(draft=faults), DOCUMENT)
    assert again.by_rule["property_type"].newly_failing == 2


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", ""),
        ("/eventType", "/eventType"),
        ("/properties", "/properties"),
        ("/properties/line_items/12/sku", "/properties/line_items/*/sku"),
        ("/properties/grid/0/1", "/properties/grid/*/*"),
        ("/properties/by_year/2024", "/properties/by_year/2024"),
        ("/properties/by_year/2025", "/properties/by_year/2025"),
        ("/properties/2025", "/properties/2025"),
        ("/properties/a~1b/3", "/properties/a~1b/*"),
        ("/properties/gone/3/x", "/properties/gone/*/x"),
    ],
)
def test_items_of_arrays_are_one_place(path: str, place: str) -> None:
    assert place_of(path, DOCUMENT) == place
