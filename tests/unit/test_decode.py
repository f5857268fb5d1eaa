"""Every item gets an answer of its own: a decoded event or all the reasons why it is none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import REASONS, ErrorCode, Violation
from app.identity.identifiers import Identity
from app.ingest.content import MAX_NESTING
from app.ingest.decode import MAX_EVENT_BYTES, decode_event
from app.ingest.event import Decoded, Malformed

EXAMPLE = (
    b'{"source":"brand.pos","externalEventId":"txn_987654321","eventType":"purchase_completed",'
    b'"occurredAt":"2026-05-20T12:45:00Z",'
    b'"identity":{"externalUserId":"L-123456789","email":"customer@example.com"},'
    b'"properties":{"order_id":"order_42","amount":120.50,"currency":"USD","store_id":"store_42"}}'
)
IDENTITY_MESSAGE = (
    "identity.externalUserId, identity.email, identity.phone, or identity.deviceKey is required"
)


def event(**members: str | None) -> bytes:
    """A small valid event; members are JSON text, None leaves one out."""
    parts: dict[str, str | None] = {
        "source": '"pos"',
        "externalEventId": '"e1"',
        "eventType": '"visit"',
        "identity": '{"email":"a@b.co"}',
        **members,
    }
    inside = ",".join(f'"{name}":{text}' for name, text in parts.items() if text is not None)
    return f"{{{inside}}}".encode("utf-8", "surrogatepass")


def decoded(raw: bytes) -> Decoded:
    answer = decode_event(raw)
    assert isinstance(answer, Decoded), answer
    return answer


def reasons(raw: bytes) -> list[tuple[str, str]]:
    """(path, code) of each violation; [] for an event that decodes."""
    answer = decode_event(raw)
    return [] if isinstance(answer, Decoded) else [(v.path, v.code) for v in answer.violations]


# What is accepted


def test_the_example_of_the_reference_decodes_to_exactly_what_was_sent() -> None:
    answer = decoded(EXAMPLE)
    envelope = answer.envelope
    assert (envelope.source, envelope.external_event_id) == ("brand.pos", "txn_987654321")
    assert envelope.event_type == "purchase_completed"
    assert envelope.occurred_at == datetime(2026, 5, 20, 12, 45, tzinfo=UTC)
    assert envelope.identity == Identity(
        external_user_id="L-123456789", email="customer@example.com"
    )
    assert answer.properties == {
        "order_id": "order_42",
        "amount": 120.5,
        "currency": "USD",
        "store_id": "store_42",
    }
    assert answer.raw_properties == (
        b'{"order_id":"order_42","amount":120.50,"currency":"USD","store_id":"store_42"}'
    )
    assert answer.size_bytes == len(EXAMPLE)


@pytest.mark.parametrize("properties", [None, "null", "{}", " { } "])
def test_properties_may_be_left_out_null_or_empty(properties: str | None) -> None:
    answer = decoded(event(properties=properties))
    assert answer.properties == {}
    assert json.loads(answer.raw_properties) == {}


def test_null_in_an_optional_field_counts_as_left_out() -> None:
    raw = event(
        occurredAt="null",
        properties="null",
        identity='{"email":null,"phone":"1","externalUserId":null,"deviceKey":null}',
    )
    envelope = decoded(raw).envelope
    assert envelope.occurred_at is None
    assert envelope.identity == Identity(phone="1")


def test_of_a_repeated_member_only_the_last_counts() -> None:
    raw = (
        b'{"source":5,"source":"pos","externalEventId":" ","externalEventId":"e1",'
        b'"eventType":"visit","occurredAt":"never","occurredAt":null,"properties":[],'
        b'"properties":{"a":1,"a":2},"identity":{},"identity":{"email":7,"email":"a@b.co"}}'
    )
    answer = decoded(raw)
    assert answer.envelope.source == "pos"
    assert answer.envelope.external_event_id == "e1"
    assert answer.envelope.occurred_at is None
    assert answer.envelope.identity == Identity(email="a@b.co")
    assert answer.properties == {"a": 2}
    assert answer.raw_properties == b'{"a":1,"a":2}'
    assert answer.size_bytes == len(raw)


@pytest.mark.parametrize(
    "text",
    ["x", "x" * 255, "a b", "a-b/c.d|e", "🧾" * 255, "naïve", "a\u200bb", "a\u2028b", "\\u00e9"],
)
def test_keys_are_taken_byte_by_byte(text: str) -> None:
    raw = event(source=f'"{text}"', externalEventId=f'"{text}"', eventType=f'"{text}"')
    envelope = decoded(raw).envelope
    expected = json.loads(f'"{text}"')
    assert [envelope.source, envelope.external_event_id, envelope.event_type] == [expected] * 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-20T12:45:00Z", datetime(2026, 5, 20, 12, 45, tzinfo=UTC)),
        ("2026-05-20t12:45:00z", datetime(2026, 5, 20, 12, 45, tzinfo=UTC)),
        ("2026-05-20 12:45:00Z", datetime(2026, 5, 20, 12, 45, tzinfo=UTC)),
        ("2026-05-20T18:15:00+05:30", datetime(2026, 5, 20, 12, 45, tzinfo=UTC)),
        ("2026-05-20T12:45:00-00:00", datetime(2026, 5, 20, 12, 45, tzinfo=UTC)),
        ("2026-05-20T12:45:00.25Z", datetime(2026, 5, 20, 12, 45, 0, 250_000, UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        (
            "0001-01-01T00:00:00+14:00",
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        ),
    ],
)
def test_occurred_at_takes_any_date_and_time_with_an_offset(text: str, expected: datetime) -> None:
    occurred_at = decoded(event(occurredAt=f'"{text}"')).envelope.occurred_at
    assert occurred_at == expected


# What is refused, and where


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (event(source=None), [("/source", "field_missing")]),
        (event(source="null"), [("/source", "field_missing")]),
        (event(source="5"), [("/source", "field_type")]),
        (event(source='["pos"]'), [("/source", "field_type")]),
        (event(source='""'), [("/source", "string_length")]),
        (event(source=f'"{"x" * 256}"'), [("/source", "string_length")]),
        (event(source='" pos"'), [("/source", "string_characters")]),
        (event(source='"pos "'), [("/source", "string_characters")]),
        (event(source='"pos\u00a0"'), [("/source", "string_characters")]),
        (event(source='"\u3000pos"'), [("/source", "string_characters")]),
        (event(source='"a\\u0000b"'), [("/source", "string_characters")]),
        (event(source='"a\\u0085b"'), [("/source", "string_characters")]),
        (event(source='"a\x7fb"'), [("/source", "string_characters")]),
        (event(externalEventId='"a\\tb"'), [("/externalEventId", "string_characters")]),
        (event(externalEventId='" "'), [("/externalEventId", "string_characters")]),
        (event(externalEventId="12345"), [("/externalEventId", "field_type")]),
        (event(eventType=None), [("/eventType", "field_missing")]),
        (event(eventType='"visit\\n"'), [("/eventType", "string_characters")]),
        (event(occurredAt="1700000000"), [("/occurredAt", "field_type")]),
        (event(occurredAt="true"), [("/occurredAt", "field_type")]),
        (event(occurredAt='""'), [("/occurredAt", "timestamp_format")]),
        (event(occurredAt='"2026-05-20"'), [("/occurredAt", "timestamp_format")]),
        (event(occurredAt='"1700000000"'), [("/occurredAt", "timestamp_format")]),
        (event(occurredAt='"2026-02-30T12:45:00Z"'), [("/occurredAt", "timestamp_format")]),
        (event(occurredAt='"2026-05-20T24:00:00Z"'), [("/occurredAt", "timestamp_format")]),
        (
            event(occurredAt='"2026-05-20T12:45:00"'),
            [("/occurredAt", "timestamp_offset_missing")],
        ),
        (event(identity='"a@b.co"'), [("/identity", "field_type")]),
        (event(identity="[]"), [("/identity", "field_type")]),
        (event(identity='{"email":5}'), [("/identity/email", "field_type")]),
        (event(identity='{"phone":491711234567}'), [("/identity/phone", "field_type")]),
        (
            event(identity=f'{{"deviceKey":"{"x" * 1025}"}}'),
            [("/identity/deviceKey", "string_length")],
        ),
        (event(identity='{"email":"a\\u0000@b.co"}'), [("/identity/email", "nul_character")]),
        (event(properties="[]"), [("/properties", "field_type")]),
        (event(properties='"{}"'), [("/properties", "field_type")]),
        (event(properties='{"a":1,"b":"\\u0000"}'), [("/properties/b", "nul_character")]),
        (event(properties='{"a":[{"\\u0000":1}]}'), [("/properties/a", "nul_character")]),
        (event(properties='{"\\u0000":1}'), [("/properties", "nul_character")]),
        (event(properties='{"a":1e400}'), [("/properties/a", "number_out_of_range")]),
        (event(properties='{"a":[-1e308]}'), [("/properties/a", "number_out_of_range")]),
        (event(properties='{"a":1e-309}'), [("/properties/a", "number_out_of_range")]),
        (event(properties=f'{{"a":{"9" * 309}}}'), [("/properties/a", "number_out_of_range")]),
        (event(properties=f'{{"a":{"9" * 5000}}}'), [("/properties/a", "number_out_of_range")]),
        (event(properties=f'{{"a":0.{"3" * 401}}}'), [("/properties/a", "number_out_of_range")]),
        (
            event(properties='{"a/b~c":{"d":"\\u0000"},"e":1e999}'),
            [("/properties/a~1b~0c", "nul_character"), ("/properties/e", "number_out_of_range")],
        ),
    ],
)
def test_a_broken_rule_is_named_with_its_place(raw: bytes, expected: list[tuple[str, str]]) -> None:
    answer = decode_event(raw)
    assert isinstance(answer, Malformed)
    assert answer.code is ErrorCode.VALIDATION_FAILED
    assert [(v.path, v.code) for v in answer.violations] == expected


@pytest.mark.parametrize(
    "identity",
    [None, "null", "{}", '{"email":null}', '{"externalUserId":null,"phone":null}'],
)
def test_an_event_without_an_identity_is_refused_in_the_published_words(
    identity: str | None,
) -> None:
    answer = decode_event(event(identity=identity))
    assert answer == Malformed(
        ErrorCode.VALIDATION_FAILED,
        (Violation("/identity", "identity_required", IDENTITY_MESSAGE),),
        source="pos",
        external_event_id="e1",
        event_type="visit",
    )


def test_an_empty_identity_field_is_left_to_normalisation() -> None:
    identity = decoded(event(identity='{"email":"","phone":" "}')).envelope.identity
    assert identity == Identity(email="", phone=" ")


@pytest.mark.parametrize(
    ("raw", "path", "meant"),
    [
        (event(occured_at='"2026-05-20T12:45:00Z"'), "/occured_at", "occurredAt"),
        (event(occurred_at="null"), "/occurred_at", "occurredAt"),
        (event(external_event_id='"e2"'), "/external_event_id", "externalEventId"),
        (event(propertys="{}"), "/propertys", "properties"),
        (event(Source='"pos"'), "/Source", "source"),
        (event(tenant='"x"'), "/tenant", None),
        (event(**{"a/b~": "1"}), "/a~1b~0", None),
        (event(identity='{"emial":"a@b.co","phone":"1"}'), "/identity/emial", "email"),
        (event(identity='{"phone":"1","device_key":"d"}'), "/identity/device_key", "deviceKey"),
    ],
)
def test_an_unknown_field_is_refused_with_the_name_that_was_probably_meant(
    raw: bytes, path: str, meant: str | None
) -> None:
    answer = decode_event(raw)
    assert isinstance(answer, Malformed)
    where = "identity" if path.startswith("/identity") else "an event"
    assert answer.violations == (
        Violation(path, "field_unknown", f"{where} has no such field", meant),
    )


def test_all_violations_are_listed_and_the_legal_keys_are_kept() -> None:
    raw = event(
        source='"pos"',
        externalEventId="7",
        eventType='" visit"',
        occured_at="1",
        occurredAt='"yesterday"',
        identity='{"emial":"a@b.co","phone":5}',
        properties='{"a":"\\u0000"}',
    )
    answer = decode_event(raw)
    assert isinstance(answer, Malformed)
    assert [(v.path, v.code) for v in answer.violations] == [
        ("/occured_at", "field_unknown"),
        ("/externalEventId", "field_type"),
        ("/eventType", "string_characters"),
        ("/occurredAt", "timestamp_format"),
        ("/identity/emial", "field_unknown"),
        ("/identity/phone", "field_type"),
        ("/properties/a", "nul_character"),
    ]
    assert (answer.source, answer.external_event_id, answer.event_type) == ("pos", None, None)


def test_violations_end_at_fifty_and_their_paths_stay_short_and_storable() -> None:
    names = ["a\\u0000b", "x" * 100_000, *(f"field{n}" for n in range(100))]
    answer = decode_event(event(**dict.fromkeys(names, "1")))
    assert isinstance(answer, Malformed)
    assert len(answer.violations) == 50
    assert answer.violations[0].path == "/a\ufffdb"
    assert answer.violations[1].path == "/" + "x" * 128 + "…"


def test_every_code_is_in_the_catalogue_and_no_message_repeats_a_value() -> None:
    raw = event(
        source='"secret\\u0000"',
        externalEventId="5555",
        occurredAt='"secret"',
        identity='{"email":["secret"],"phone":"secret\\u0000","deviceKey":"' + "s" * 2000 + '"}',
        properties='{"a":"secret\\u0000"}',
        secrets='"secret"',
    )
    answer = decode_event(raw)
    assert isinstance(answer, Malformed)
    assert len(answer.violations) == 8
    for violation in answer.violations:
        assert violation.code in REASONS
        assert "secret" not in violation.message and "5555" not in violation.message


# Hostile JSON


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "json_syntax"),
        (b"{", "json_syntax"),
        (b"nul", "json_syntax"),
        (EXAMPLE + b"x", "json_syntax"),
        (EXAMPLE[:-1], "json_syntax"),
        (b"\xef\xbb\xbf" + EXAMPLE, "json_syntax"),
        (event(properties='{"a":NaN}'), "json_syntax"),
        (event(properties='{"a":-Infinity}'), "json_syntax"),
        (event(properties='{"a":01}'), "json_syntax"),
        (event(properties='{"a":1,}'), "json_syntax"),
        (event(properties='{"a":"\n"}'), "json_syntax"),
        (event(properties='{"a":"\\x"}'), "json_syntax"),
        (event(properties='{"a":"\ud800"}'), "json_encoding"),
        (event(properties='{"a":"\\ud800"}'), "json_encoding"),
        (event(properties='{"a":"\\udc00b"}'), "json_encoding"),
        (event(properties='{"\\ud83dx":1}'), "json_encoding"),
        (event(identity='{"email":"\\ud800"}'), "json_encoding"),
        (EXAMPLE.replace(b"order_42", b"order\xff42"), "json_encoding"),
        (EXAMPLE.replace(b"order_42", b"\xc0\x80"), "json_encoding"),
        (EXAMPLE.decode().encode("utf-16"), "json_encoding"),
    ],
)
def test_what_is_no_json_is_malformed_json(raw: bytes, code: str) -> None:
    expected = Malformed(ErrorCode.MALFORMED_JSON, (Violation("", code, REASONS[code]),))
    assert decode_event(raw) == expected


@pytest.mark.parametrize("raw", [b"[]", b"null", b"5", b'"x"', b" [1] ", b"true"])
def test_an_item_that_is_no_object_is_refused(raw: bytes) -> None:
    assert reasons(raw) == [("", "field_type")]


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


def test_an_event_may_have_32_levels_and_no_more() -> None:
    assert reasons(event(properties=f'{{"a":{nested(MAX_NESTING - 2)}}}')) == []
    assert reasons(event(properties=f'{{"a":{nested(MAX_NESTING - 1)}}}')) == [
        ("/properties/a", "nesting_too_deep")
    ]
    objects = '{"a":' * (MAX_NESTING - 1) + "1" + "}" * (MAX_NESTING - 1)
    assert reasons(event(properties=objects)) == []
    assert reasons(event(properties='{"a":' + objects + "}")) == [
        ("/properties/a", "nesting_too_deep")
    ]


def test_many_brackets_are_no_nesting() -> None:
    flat = ",".join(['{"a":[1]}'] * 500)
    text = '"' + "[{" * 100 + '\\"]"'
    assert reasons(event(properties=f'{{"items":[{flat}],"text":{text}}}')) == []


@pytest.mark.parametrize("levels", [999, 1_001, 100_000])
def test_no_depth_of_nesting_breaks_the_decoder(levels: int) -> None:
    for where in ("properties", "identity", "source", "unknown"):
        answer = decode_event(event(**{where: nested(levels)}))
        assert isinstance(answer, Malformed)
        assert answer.code is ErrorCode.VALIDATION_FAILED


@pytest.mark.parametrize("text", ["\\\\u0000", "\\\\\\\\u0000", "u0000", "\\\\u0000\\\\"])
def test_text_that_only_looks_like_a_nul_is_taken(text: str) -> None:
    assert "\0" not in decoded(event(properties=f'{{"a":"{text}"}}')).properties["a"]


@pytest.mark.parametrize("text", ["\\u0000", "\\\\\\u0000", "\\n\\u0000", "x\\u00001"])
def test_a_nul_behind_other_escapes_is_found(text: str) -> None:
    assert reasons(event(properties=f'{{"a":"{text}"}}')) == [("/properties/a", "nul_character")]


def test_a_nul_in_an_overwritten_member_is_found_because_postgres_reads_it_too() -> None:
    assert reasons(event(properties='{"a":"\\u0000","a":1}')) == [("/properties", "nul_character")]


def test_an_overwritten_properties_object_is_not_stored_and_may_hold_anything() -> None:
    raw = b'{"properties":{"a":"\\u0000"},' + event(properties='{"a":1}')[1:]
    assert decoded(raw).raw_properties == b'{"a":1}'


def test_long_digits_in_a_text_are_no_number() -> None:
    digits = "9" * 500
    assert decoded(event(properties=f'{{"a":"{digits}"}}')).properties == {"a": digits}


def test_an_oversized_event_is_too_large_and_still_names_itself() -> None:
    raw = event(properties=f'{{"a":"{"x" * MAX_EVENT_BYTES}"}}')
    message = f"an event may have 262144 bytes; this one has {len(raw)}"
    assert decode_event(raw) == Malformed(
        ErrorCode.PAYLOAD_TOO_LARGE,
        (Violation("", "size", message),),
        source="pos",
        external_event_id="e1",
        event_type="visit",
    )
    assert isinstance(decode_event(raw, max_event_bytes=len(raw)), Decoded)
    broken = decode_event(b"[" * (MAX_EVENT_BYTES + 1))
    assert isinstance(broken, Malformed)
    assert (broken.code, broken.source) == (ErrorCode.PAYLOAD_TOO_LARGE, None)


# Nothing raises

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)
names = st.sampled_from(
    ["source", "externalEventId", "eventType", "occurredAt", "identity", "properties", "x\0"]
)
identities = st.dictionaries(
    st.sampled_from(["externalUserId", "email", "phone", "deviceKey", "emial"]), json_values
)
fragments = st.sampled_from(
    [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"1e999", b"\\u0000", b"\\ud800",
     b"\xff", b'"properties":', b"NaN", b" ", b'"a"', EXAMPLE, event()]
)  # fmt: skip


@given(
    st.one_of(
        st.binary(max_size=60),
        st.lists(fragments, max_size=12).map(b"".join),
        st.dictionaries(names, json_values | identities).map(lambda v: json.dumps(v).encode()),
        st.builds(
            lambda at, junk: EXAMPLE[:at] + junk + EXAMPLE[at + len(junk) :],
            st.integers(0, len(EXAMPLE)),
            fragments | st.binary(max_size=4),
        ),
        st.builds(
            lambda properties: event(properties=json.dumps(properties)),
            st.dictionaries(st.text(st.characters(), max_size=5), json_values),
        ),
    )
)
@example(b"[" * 200_000)
@settings(max_examples=150)
def test_whatever_comes_in_is_decoded_or_malformed(raw: bytes) -> None:
    answer = decode_event(raw)
    if isinstance(answer, Malformed):
        assert 0 < len(answer.violations) <= 50
        msgspec.json.encode(answer)
        assert "\0" not in "".join(v.path + v.message for v in answer.violations)
    else:
        properties = json.loads(answer.raw_properties)
        assert isinstance(properties, dict)
        assert depth_of(properties) <= MAX_NESTING - 1
        assert not holds_nul(properties)
        assert properties.keys() == answer.properties.keys()


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any("\0" in name or holds_nul(inner) for name, inner in value.items())
    if isinstance(value, list):
        return any(map(holds_nul, value))
    return isinstance(value, str) and "\0" in value
