"""Why an event is on its profile: what identifiers did, and the merges in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.identity.explanation import Role, merges_between, reasons_of
from app.identity.identifiers import Kind
from app.identity.reading import StoredIdentifier, StoredMerge
from app.identity.resolution import Keyed

T0 = datetime(2026, 5, 20, tzinfo=UTC)
EXTERNAL, EMAIL, PHONE, DEVICE = (Keyed(bytes([kind]), kind, "x") for kind in Kind)


def link(identifier: Keyed, profile: bytes, event: bytes) -> StoredIdentifier:
    return StoredIdentifier(identifier.key, identifier.kind, "x", profile, event, T0, "brand.pos")


def merge(merged: bytes, survivor: bytes, hour: int) -> StoredMerge:
    return StoredMerge(merged + survivor, survivor, merged, T0 + timedelta(hours=hour), b"e")


def roles(event: bytes, members: list[bytes], *links: StoredIdentifier) -> list[str]:
    identifiers = [EXTERNAL, EMAIL, PHONE, DEVICE]
    by_key = {one.key: one for one in links}
    return [str(one.role) for one in reasons_of(event, identifiers, by_key, members)]


def test_the_strongest_known_identifier_decided_and_the_others_agreed() -> None:
    assert roles(
        b"e9",
        [b"p", b"alias"],
        link(EXTERNAL, b"p", b"e9"),
        link(EMAIL, b"alias", b"e1"),
        link(PHONE, b"p", b"e2"),
    ) == ["introduced", "decided", "agreed", "unlinked"]


def test_an_identifier_of_another_profile_decides_nothing() -> None:
    assert roles(b"e9", [b"p"], link(EXTERNAL, b"q", b"e1"), link(EMAIL, b"p", b"e2"))[:2] == [
        "elsewhere",
        "decided",
    ]


def test_of_an_event_that_made_its_profile_every_identifier_was_introduced() -> None:
    links = [link(one, b"p", b"e9") for one in (EXTERNAL, EMAIL, PHONE, DEVICE)]
    assert set(roles(b"e9", [b"p"], *links)) == {Role.INTRODUCED}


def test_merges_in_between_lead_step_by_step_to_the_profile_of_today() -> None:
    a_b, b_c, d_c = merge(b"a", b"b", 1), merge(b"b", b"c", 2), merge(b"d", b"c", 3)
    merges = [d_c, b_c, a_b]
    assert merges_between([b"a"], b"c", merges) == [a_b, b_c]
    assert merges_between([b"b", b"a", b"c"], b"c", merges) == [a_b, b_c]
    assert merges_between([b"d", b"a"], b"c", merges) == [a_b, b_c, d_c]
    assert merges_between([b"c"], b"c", merges) == []


def test_a_merge_that_is_missing_ends_the_way() -> None:
    assert merges_between([b"a"], b"c", [merge(b"a", b"b", 1)]) == [merge(b"a", b"b", 1)]
