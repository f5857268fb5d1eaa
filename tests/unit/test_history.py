"""The demo's history: the same for a seed, of the size asked for, sound but for what it spoils."""

from __future__ import annotations

import tracemalloc
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from itertools import islice
from typing import Any

import msgspec
import pytest

from app.cli.retail.cast import PHONE_REGION, Shop, make_cast
from app.cli.retail.history import BAD_LINE, history
from app.cli.retail.story import EMAIL, LOYALTY_ID, PHONES
from app.cli.retail.telling import UNREGISTERED_TYPE
from app.cli.starter import registry_folder
from app.dedupe.fingerprint import fingerprint
from app.identity.identifiers import Kind, fingerprint_identity, identifiers_of
from app.ingest.decode import decode_event
from app.ingest.event import Decoded
from app.registry.files import read_registry
from app.registry.validator import compile_validator

UNTIL = datetime(2026, 5, 20, tzinfo=UTC)
SIZE = 4_000
HASH_KEY = bytes(32)

VALIDATORS = {
    name: [compile_validator(version.document) for version in versions]
    for name, versions in read_registry(registry_folder()).event_types.items()
}


@cache
def told(seed: int = 1, events: int = SIZE) -> tuple[dict[str, Any], ...]:
    return tuple(history(seed, events, UNTIL))


def flaws(item: Decoded) -> list[str]:
    """What the registry and the rules of identity and time have against a decoded event."""
    envelope = item.envelope
    found = []
    if envelope.event_type not in VALIDATORS:
        found.append("event_type_unregistered")
    elif violations := VALIDATORS[envelope.event_type][-1].violations(item.properties):
        found += [f"{violation.code} {violation.path}" for violation in violations]
    if not identifiers_of(envelope.identity, None).identifiers:
        found.append("identifier_invalid")
    if envelope.occurred_at is not None and envelope.occurred_at.year < 2000:
        found.append("timestamp_too_old")
    return found


@cache
def fates(seed: int) -> Counter[str]:
    """accepted, duplicate, conflict, or why it is rejected; as the contract has it."""
    counted: Counter[str] = Counter()
    claimed: dict[tuple[str, str], bytes] = {}
    for event in told(seed):
        item = decode_event(msgspec.json.encode(event))
        if not isinstance(item, Decoded):
            counted[item.violations[0].code] += 1
            continue
        if found := flaws(item):
            counted[found[0]] += 1
            continue
        envelope = item.envelope
        content = fingerprint(
            HASH_KEY,
            envelope.event_type,
            envelope.occurred_at,
            fingerprint_identity(
                envelope.identity, identifiers_of(envelope.identity, PHONE_REGION)
            ),
            item.properties,
        )
        key = envelope.source, envelope.external_event_id
        if key not in claimed:
            claimed[key] = content
            counted["accepted"] += 1
        else:
            counted["duplicate" if claimed[key] == content else "conflict"] += 1
    return counted


def test_the_same_arguments_give_the_same_bytes() -> None:
    again = history(1, 500, UNTIL)
    assert msgspec.json.encode(list(again)) == msgspec.json.encode(told(events=500))


def test_another_seed_size_end_or_span_shares_no_key() -> None:
    histories = [
        history(1, 200, UNTIL),
        history(2, 200, UNTIL),
        history(1, 201, UNTIL),
        history(1, 200, UNTIL + timedelta(days=1)),
        history(1, 200, UNTIL, days=31),
    ]
    keys = [{(e["source"], e["externalEventId"]) for e in events} for events in histories]
    assert len(set().union(*keys)) == sum(map(len, keys))


@pytest.mark.parametrize("events", [1, 2, 7, 500, 1_001])
@pytest.mark.parametrize("days", [1, 30])
def test_a_history_has_the_size_that_was_asked_for(events: int, days: int) -> None:
    assert sum(1 for _ in history(3, events, UNTIL, days)) == events


@pytest.mark.parametrize("seed", [1, 2])
def test_shares_of_the_fates_are_those_of_a_live_service(seed: int) -> None:
    counted = fates(seed)
    rejected = SIZE - counted["accepted"] - counted["duplicate"] - counted["conflict"]
    assert 0.92 < counted["accepted"] / SIZE < 0.945
    assert 0.03 < counted["duplicate"] / SIZE < 0.05
    assert 0.002 < counted["conflict"] / SIZE < 0.009
    assert 0.015 < rejected / SIZE < 0.035


def test_events_are_rejected_for_the_reasons_that_are_meant_and_for_no_other() -> None:
    assert set(fates(1)) == {
        "accepted",
        "duplicate",
        "conflict",
        "property_type /properties/amount",
        "property_missing /properties/currency",
        "event_type_unregistered",
        "identifier_invalid",
        "identity_required",
        "field_unknown",
        "timestamp_offset_missing",
        "timestamp_too_old",
    }


def test_every_event_type_but_the_forgotten_one_is_registered() -> None:
    used = {event["eventType"] for event in told()}
    assert UNREGISTERED_TYPE not in VALIDATORS
    assert used == set(VALIDATORS) | {UNREGISTERED_TYPE}


def test_every_source_is_one_that_the_cast_names() -> None:
    used = {event["source"] for event in told()}
    named = make_cast(1, SIZE).sources()
    assert used <= set(named)
    assert {"brand.shop", "brand.crm", "brand.app", BAD_LINE} < used


def test_everything_occurs_within_the_days_and_no_later_than_the_contract_allows() -> None:
    moments = [
        datetime.fromisoformat(event["occurredAt"])
        for event in told()
        if event.get("occurredAt", "").endswith("Z") and event["occurredAt"] > "2000"
    ]
    assert min(moments) >= UNTIL - timedelta(days=30)
    assert max(moments) < UNTIL + timedelta(hours=24)


def test_some_clocks_run_ahead_and_some_deliveries_come_days_late() -> None:
    online = datetime(2000, 1, 1, tzinfo=UTC)
    ahead = days_late = 0
    for event in told():
        if event.get("occurredAt", "")[19:] == "" or event["occurredAt"] < "2000":
            continue
        occurred_at = datetime.fromisoformat(event["occurredAt"])
        if event["eventType"] == "product_viewed":
            online = max(online, occurred_at)
        ahead += occurred_at > UNTIL
        days_late += occurred_at < online - timedelta(days=1)
    assert ahead > 0
    assert days_late > 10


def test_identities_are_shared_linked_and_badly_spelt() -> None:
    people_by_device = defaultdict(set)
    customers_by_email = defaultdict(set)
    codes = set()
    kinds_together = set()
    for event in told():
        item = decode_event(msgspec.json.encode(event))
        if not isinstance(item, Decoded):
            continue
        normalised = identifiers_of(item.envelope.identity, None)
        codes |= {(violation.code, violation.path) for violation in normalised.violations}
        value = {identifier.kind: identifier.value for identifier in normalised.identifiers}
        kinds_together.add(frozenset(value))
        if Kind.DEVICE in value and Kind.EMAIL in value:
            people_by_device[value[Kind.DEVICE]].add(value[Kind.EMAIL])
        if Kind.EMAIL in value and Kind.EXTERNAL in value:
            customers_by_email[value[Kind.EMAIL]].add(value[Kind.EXTERNAL])
    tablets = [len(p) for device, p in people_by_device.items() if device.startswith("tablet")]
    assert max(tablets) > 3
    assert max(map(len, customers_by_email.values())) > 1
    assert {
        ("identifier_dropped", "/identity/email"),
        ("identifier_dropped", "/identity/phone"),
        ("identifier_placeholder", "/identity/externalUserId"),
    } <= codes
    assert {
        frozenset({Kind.DEVICE}),
        frozenset({Kind.DEVICE, Kind.EMAIL}),
        frozenset({Kind.EXTERNAL, Kind.EMAIL}),
        frozenset({Kind.EXTERNAL, Kind.EMAIL, Kind.PHONE}),
    } <= kinds_together


def test_nobody_in_it_can_be_real() -> None:
    cast = make_cast(1, SIZE)
    people = [cast.person(number) for number in range(cast.population)]
    hosts = {person.email.rpartition("@")[2] for person in people if person.email}
    assert all(host.rpartition("example.")[2] in ("com", "org", "net") for host in hosts)
    assert all(person.phone[3:8] == "55501" for person in people if person.phone)
    known = [person.loyalty_id for person in people if person.loyalty_id]
    assert len(set(known)) == len(known)


def test_shops_sell_while_they_are_open() -> None:
    shops = {shop.store_id: shop for shop in make_cast(1, SIZE).shops}
    sales = [
        (shops[event["properties"]["store_id"]], datetime.fromisoformat(event["occurredAt"]))
        for event in told()
        if event["eventType"] == "purchase_completed"
        and event["properties"].get("store_id")
        and event.get("occurredAt", "")[19:] not in ("", "Z")
    ]
    assert len({shop.store_id for shop, _ in sales}) == len(shops)
    for shop, occurred_at in sales:
        entered = occurred_at - timedelta(minutes=40)
        if occurred_at < UNTIL - timedelta(hours=24):
            assert shop.is_open(occurred_at.timestamp()) or shop.is_open(entered.timestamp())


def test_opening_hours_are_local_and_sunday_has_its_own() -> None:
    zone = timezone(timedelta(hours=-5))
    shop = Shop("store_01", zone, 9, 20, (12, 18), 1, False, 40.0, -90.0)
    at = [
        (datetime(2026, 5, 19, 8, 59, tzinfo=zone), False),
        (datetime(2026, 5, 19, 9, 0, tzinfo=zone), True),
        (datetime(2026, 5, 19, 20, 0, tzinfo=zone), False),
        (datetime(2026, 5, 17, 11, 59, tzinfo=zone), False),
        (datetime(2026, 5, 17, 12, 0, tzinfo=zone), True),
    ]
    assert [shop.is_open(moment.timestamp()) for moment, _ in at] == [open_ for _, open_ in at]
    assert not shop._replace(sunday=None).is_open(at[-1][0].timestamp())


def test_a_million_events_take_no_more_memory_than_a_few() -> None:
    tracemalloc.start()
    try:
        events = history(1, 1_000_000, UNTIL)
        sum(1 for _ in islice(events, 1_000))
        _, early = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        sum(1 for _ in islice(events, 2_000))
        _, later = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert later < early + (1 << 20)
    assert later < 4 << 20


def test_one_till_delivers_again_more_than_any_other() -> None:
    keys = Counter((e["source"], e["externalEventId"]) for e in told(events=20_000))
    again: Counter[str] = Counter()
    for (source, _), deliveries in keys.items():
        if source.startswith("brand.pos."):
            again[source] += deliveries - 1
    (first, most), (_, second) = again.most_common(2)
    assert first == BAD_LINE
    assert most > 1.5 * second


@pytest.mark.parametrize(("seed", "events"), [(1, 500), (2, SIZE)])
def test_one_customer_is_in_every_history(seed: int, events: int) -> None:
    """Two numbers, which only the last event joins."""
    hers = [
        event["identity"]
        for event in told(seed, events)
        if {LOYALTY_ID, EMAIL, *PHONES} & set(event["identity"].values())
    ]
    assert hers == [
        {"externalUserId": LOYALTY_ID, "phone": PHONES[0]},
        {"externalUserId": LOYALTY_ID, "email": EMAIL},
        {"phone": PHONES[1]},
        {"externalUserId": LOYALTY_ID, "phone": PHONES[1]},
    ]
