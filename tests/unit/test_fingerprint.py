"""The same fact has the same fingerprint however it is written; another fact has another one."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.dedupe.fingerprint import Content, differing_paths, fingerprint
from app.ingest.content import decode_properties

KEY = b"k" * 32
NOON = datetime(2026, 5, 20, 12, 45, tzinfo=UTC)
IDENTITY = {"externalUserId": "L-1", "email": "customer@example.com"}


def content(
    properties: bytes = b"{}",
    event_type: str = "visit",
    occurred_at: datetime | None = None,
    identity: dict[str, str] | None = None,
) -> Content:
    return Content(event_type, occurred_at, identity or IDENTITY, decode_properties(properties))


def fingerprint_of(it: Content, key: bytes = KEY) -> bytes:
    return fingerprint(key, it.event_type, it.occurred_at, it.identity, it.properties)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (content(b'{"a":1,"b":2}'), content(b'{ "b" : 2,\n"a": 1 }')),
        (content(b'{"a":{"x":1,"y":2}}'), content(b'{"a":{"y":2,"x":1}}')),
        (content(b'{"a":120.50}'), content(b'{"a":1.205e2}')),
        (content(b'{"a":1}'), content(b'{"a":1.00}')),
        (content(b'{"a":0}'), content(b'{"a":-0.0}')),
        (content(b'{"a":0}'), content(b'{"a":-0}')),
        (content(b'{"a":1e300}'), content(b'{"a":1' + b"0" * 300 + b"}")),
        (content(b'{"a":9007199254740993}'), content(b'{"a":9007199254740993.0}')),
        (content(b'{"a":"\\u00e9\\/"}'), content('{"a":"é/"}'.encode())),
        (content(b'{"a":5,"a":1}'), content(b'{"a":1}')),
        (
            content(occurred_at=NOON),
            content(occurred_at=NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))),
        ),
        (
            content(identity={"email": "a@b.co", "phone": "+491"}),
            content(identity={"phone": "+491", "email": "a@b.co"}),
        ),
    ],
)
def test_spelling_does_not_matter(first: Content, second: Content) -> None:
    assert fingerprint_of(first) == fingerprint_of(second)
    assert differing_paths(first, second) == []


@pytest.mark.parametrize(
    ("first", "second", "paths"),
    [
        (content(event_type="visit"), content(event_type="visits"), ["/eventType"]),
        (content(occurred_at=NOON), content(occurred_at=None), ["/occurredAt"]),
        (
            content(occurred_at=NOON),
            content(occurred_at=NOON + timedelta(microseconds=1)),
            ["/occurredAt"],
        ),
        (
            content(identity={"email": "a@b.co"}),
            content(identity={"email": "a@b.com", "phone": "+491"}),
            ["/identity/email", "/identity/phone"],
        ),
        (content(identity={"email": "x"}), content(identity={"phone": "x"}),
         ["/identity/email", "/identity/phone"]),
        (content(b'{"a":1}'), content(b'{"a":true}'), ["/properties/a"]),
        (content(b'{"a":0}'), content(b'{"a":false}'), ["/properties/a"]),
        (content(b'{"a":[true]}'), content(b'{"a":[1.0]}'), ["/properties/a/0"]),
        (content(b'{"a":1}'), content(b'{"a":"1"}'), ["/properties/a"]),
        (content(b'{"a":null}'), content(b"{}"), ["/properties/a"]),
        (content(b'{"a":null}'), content(b'{"a":"null"}'), ["/properties/a"]),
        (content(b'{"a":[]}'), content(b'{"a":{}}'), ["/properties/a"]),
        (content(b'{"a":[1,2,3]}'), content(b'{"a":[1,3]}'),
         ["/properties/a/1", "/properties/a/2"]),
        (content(b'{"a":[1,2]}'), content(b'{"a":[2,1]}'),
         ["/properties/a/0", "/properties/a/1"]),
        (content(b'{"a":{"b":1,"c":2}}'), content(b'{"a":{"b":1,"c":3}}'), ["/properties/a/c"]),
        (content(b'{"a/b":{"~":1}}'), content(b'{"a/b":{"~":2}}'), ["/properties/a~1b/~0"]),
        (content(b'{"a":9007199254740992}'), content(b'{"a":9007199254740993}'),
         ["/properties/a"]),
        (content(b'{"a":0.12345678901234567}'), content(b'{"a":0.12345678901234568}'),
         ["/properties/a"]),
        (content('{"a":"é"}'.encode()), content('{"a":"e\u0301"}'.encode()), ["/properties/a"]),
        (content(b'{"z":1,"b":1}'), content(b'{"z":2,"b":2}'), ["/properties/b", "/properties/z"]),
    ],
)  # fmt: skip
def test_another_fact_has_another_fingerprint_and_names_what_differs(
    first: Content, second: Content, paths: list[str]
) -> None:
    assert fingerprint_of(first) != fingerprint_of(second)
    assert differing_paths(first, second) == paths
    assert differing_paths(second, first) == paths


def test_a_fingerprint_is_16_bytes_and_of_one_tenant_only() -> None:
    ours, theirs = fingerprint_of(content()), fingerprint_of(content(), key=b"t" * 32)
    assert len(ours) == len(theirs) == 16
    assert ours != theirs


def test_a_fingerprint_never_changes_between_releases() -> None:
    """It is compared with those that are stored: a change would turn retries into conflicts."""
    it = content(b'{"b":[1,2.5,"\\u00e9",null,true],"a":{"d":1e300,"c":0.1234567890123456789}}')
    assert (
        fingerprint(KEY, "purchase_completed", NOON, IDENTITY, it.properties).hex()
        == "8f174fe3cfa872299d73f1b01405bddd"
    )


def test_parts_do_not_run_into_one_another() -> None:
    prints = {
        fingerprint(KEY, "visit", None, {"email": "x"}, {}),
        fingerprint(KEY, "visit", None, {}, {"email": "x"}),
        fingerprint(KEY, 'visit",null,{"email":"x"},{}]', None, {}, {}),
        fingerprint(KEY, "visit", None, {"email": 'x"},{"a":"b'}, {}),
    }
    assert len(prints) == 4


def test_moments_that_have_no_form_in_utc_still_have_a_fingerprint() -> None:
    early = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    late = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14)))
    assert fingerprint_of(content(occurred_at=early)) != fingerprint_of(content(occurred_at=late))
    assert differing_paths(content(occurred_at=early), content(occurred_at=late)) == ["/occurredAt"]


def test_differing_paths_end_at_fifty_and_never_show_values() -> None:
    first = json.dumps({f"n{n:03}": "secret" for n in range(200)}).encode()
    second = json.dumps({f"n{n:03}": "other" for n in range(200)}).encode()
    assert differing_paths(content(first), content(second)) == [
        f"/properties/n{n:03}" for n in range(50)
    ]


def test_a_huge_name_is_cut_in_a_path() -> None:
    name = "x" * 100_000
    first, second = f'{{"{name}":[1]}}'.encode(), f'{{"{name}":[2]}}'.encode()
    assert differing_paths(content(first), content(second)) == ["/properties/" + "x" * 128 + "…/0"]


# Any content, any spelling

numbers = st.one_of(
    st.integers(-(10**20), 10**20).map(Decimal),
    st.builds(
        lambda digits, exponent: Decimal(digits).scaleb(exponent),
        st.integers(-(10**18), 10**18),
        st.integers(-30, 30),
    ),
)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text('aé"\\/~🧾 ', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text('ab/"\\', max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
objects = st.dictionaries(st.text("abé", max_size=2), values, max_size=4)


def spelt(value: Any, chance: random.Random) -> str:
    """JSON of a value with members in random order, random white space and number forms."""

    def space() -> str:
        return chance.choice(["", "", " ", "\n", "\t "])

    if isinstance(value, dict):
        members = [
            f"{space()}{text(name, chance)}{space()}:{spelt(inner, chance)}"
            for name, inner in value.items()
        ]
        chance.shuffle(members)
        return f"{space()}{{{','.join(members) or space()}}}{space()}"
    if isinstance(value, list):
        items = ",".join(spelt(inner, chance) for inner in value)
        return f"{space()}[{items}]{space()}"
    if isinstance(value, Decimal):
        return number(value, chance)
    if isinstance(value, str):
        return text(value, chance)
    return json.dumps(value)


def text(value: str, chance: random.Random) -> str:
    spelling = json.dumps(value, ensure_ascii=chance.random() < 0.5)
    return spelling.replace("/", chance.choice(["/", "\\/"]))


def number(value: Decimal, chance: random.Random) -> str:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    whole = ("-" if sign else "") + str(int("".join(map(str, digits))))
    plain = f"{value:f}"
    spellings = [plain, f"{whole}e{exponent}", f"{whole}.0e{exponent}"]
    if value:
        spellings.append(f"{whole}00E{exponent - 2}")
    if "." in plain:
        spellings.append(plain + "000")
    return chance.choice(spellings)


@pytest.mark.contract("4.4: spelling does not matter")
@given(objects, st.randoms(use_true_random=False))
@settings(max_examples=80)
def test_any_content_has_one_fingerprint_whatever_its_spelling(
    properties: dict[str, Any], chance: random.Random
) -> None:
    first = content(spelt(properties, chance).encode())
    second = content(spelt(properties, chance).encode())
    assert fingerprint_of(first) == fingerprint_of(second)
    assert differing_paths(first, second) == []


def canonical(value: Any) -> Any:
    """An independent notion of the same JSON: comparable, numbers by value, True is not 1."""
    if isinstance(value, dict):
        return ("object", frozenset((name, canonical(inner)) for name, inner in value.items()))
    if isinstance(value, list):
        return ("array", tuple(map(canonical, value)))
    return (type(value).__name__, value)


@given(objects, objects, st.randoms(use_true_random=False))
@settings(max_examples=80)
def test_fingerprints_differ_exactly_when_contents_do_and_then_paths_say_where(
    first: dict[str, Any], second: dict[str, Any], chance: random.Random
) -> None:
    one, other = content(spelt(first, chance).encode()), content(spelt(second, chance).encode())
    same = canonical(first) == canonical(second)
    assert (fingerprint_of(one) == fingerprint_of(other)) == same
    assert (differing_paths(one, other) == []) == same


@given(objects, values, st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_one_changed_property_is_the_only_path(
    properties: dict[str, Any], value: Any, chance: random.Random
) -> None:
    first = content(spelt({**properties, "changed": None}, chance).encode())
    second = content(spelt({**properties, "changed": [value]}, chance).encode())
    assert fingerprint_of(first) != fingerprint_of(second)
    assert differing_paths(first, second) == ["/properties/changed"]
