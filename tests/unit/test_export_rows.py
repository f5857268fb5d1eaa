"""How an exported event is written, and that an import takes it back."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from app.cli.export_rows import Csv, MaskedLine, Ndjson, as_sent, exported
from app.errors import Violation
from app.identity.identifiers import Identity
from app.ingest.decode import decode_event
from app.ingest.event import Decoded
from app.ingest.reading import StoredEvent
from app.registry.masking import mask_of

AT = datetime(2026, 5, 20, 12, 45, 0, 123456, UTC)
EVENT_ID = bytes(range(16))
ROOT_ID = bytes(16)
SHOWN = mask_of({"type": "object", "properties": {"amount": {"type": "number"}}})


def stored(properties: str = "{}", **changes: Any) -> StoredEvent:
    fields: dict[str, Any] = {
        "event_id": EVENT_ID,
        "external_event_id": "txn_1",
        "source": "brand.pos",
        "event_type": "purchase_completed",
        "version": 2,
        "version_id": 7,
        "occurred_at": AT,
        "occurred_at_sent": True,
        "received_at": AT.replace(microsecond=0),
        "profile_id": b"an alias by now.",
        "size_bytes": 100,
        "identity": Identity(external_user_id="L-1", phone="+49 30 1"),
        "properties": properties,
        "warnings": [],
        "key_id": "k",
        "key_name": "till",
    }
    return StoredEvent(**fields | changes)


def line(event: StoredEvent, **options: Any) -> bytes:
    return Ndjson().write([exported(event, ROOT_ID, options.get("mask"))])


def cells(event: StoredEvent, *properties: str, spreadsheet: bool = False) -> dict[str, str]:
    form = Csv(properties, spreadsheet=spreadsheet)
    text = (form.head() + form.write([exported(event, ROOT_ID, None)])).decode()
    [row] = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    return row


def test_a_line_is_the_event_as_sent_and_what_became_of_it() -> None:
    warning = Violation("/identity/email", "identifier_invalid", "is no address")
    assert line(stored('{"amount": 120.50}', warnings=[warning])) == (
        b'{"event_id":"evt_000102030405060708090a0b0c0d0e0f","received_at":"2026-05-20T12:45:00Z",'
        b'"schema_version":2,"profile_id":"prf_00000000000000000000000000000000",'
        b'"occurred_at_sent":true,"warnings":[{"path":"/identity/email",'
        b'"code":"identifier_invalid","message":"is no address"}],"source":"brand.pos",'
        b'"externalEventId":"txn_1","eventType":"purchase_completed",'
        b'"occurredAt":"2026-05-20T12:45:00.123456Z",'
        b'"identity":{"externalUserId":"L-1","phone":"+49 30 1"},'
        b'"properties":{"amount":120.50}}\n'
    )


def test_what_may_not_be_seen_is_hidden_and_the_line_says_so() -> None:
    found = msgspec.json.decode(line(stored('{"amount": 1, "name": "Ann"}'), mask=SHOWN))
    assert found["identity"] == {"externalUserId": "***", "phone": "***"}
    assert found["properties"] == {"amount": 1, "name": "***"}
    assert found["masked"] is True


def test_numbers_keep_every_digit_whether_or_not_something_is_hidden() -> None:
    properties = '{"amount": 120.500, "name": 0.10000000000000000000000000000000001}'
    assert b'"amount":120.500' in line(stored(properties))
    assert b'"amount":120.500' in line(stored(properties), mask=SHOWN)
    assert cells(stored(properties), "amount")["properties.amount"] == "120.500"


def test_a_line_is_no_longer_than_the_event_that_was_sent() -> None:
    items = ", ".join("1" * 120_000)
    again = decode_event(as_sent(line(stored(f'{{"a": [{items}]}}')).strip()))
    assert isinstance(again, Decoded)


def test_an_exported_line_is_an_event_again() -> None:
    again = decode_event(as_sent(line(stored('{"amount": 120.50}')).strip()))
    assert isinstance(again, Decoded)
    assert again.raw_properties == b'{"amount":120.50}'
    assert again.envelope.occurred_at == AT
    assert again.envelope.identity == Identity(external_user_id="L-1", phone="+49 30 1")


@pytest.mark.parametrize(
    "text",
    [
        b'{"source":"brand.pos"}',
        b'{"event_id":"mine","source":"brand.pos"}',
        b'{"event_id":7}',
        b'["event_id"]',
        b'{"event_id":"evt_',
    ],
)
def test_a_line_that_is_no_export_is_left_as_it_is(text: bytes) -> None:
    assert as_sent(text) == text


def test_a_line_with_hidden_values_is_no_event() -> None:
    with pytest.raises(MaskedLine):
        as_sent(line(stored(), mask=SHOWN))


def test_a_row_has_a_column_for_each_property_and_one_for_the_others() -> None:
    properties = '{"a": "x\\ny,\\"z\\"", "b": [1, 2.50], "c": null, "d": true, "e": {"f": 1.0}}'
    assert cells(stored(properties), "a", "b", "c", "missing") == {
        "event_id": "evt_000102030405060708090a0b0c0d0e0f",
        "received_at": "2026-05-20T12:45:00Z",
        "schema_version": "2",
        "profile_id": "prf_00000000000000000000000000000000",
        "occurred_at_sent": "true",
        "source": "brand.pos",
        "externalEventId": "txn_1",
        "eventType": "purchase_completed",
        "occurredAt": "2026-05-20T12:45:00.123456Z",
        "identity.externalUserId": "L-1",
        "identity.email": "",
        "identity.phone": "+49 30 1",
        "identity.deviceKey": "",
        "properties.a": 'x\ny,"z"',
        "properties.b": "[1,2.50]",
        "properties.c": "",
        "properties.missing": "",
        "properties": '{"d":true,"e":{"f":1.0}}',
        "warnings": "",
    }


def test_rows_end_as_rfc_4180_says_and_are_plain_utf_8() -> None:
    form = Csv((), spreadsheet=False)
    text = form.head() + form.write([exported(stored(source="straße"), None, None)])
    assert text.startswith(b"event_id,")
    assert text.count(b"\r\n") == 2
    assert "straße".encode() in text


@pytest.mark.parametrize("text", ["=1+1", "+49 30 1", "-x", "@a", "\ta", "\ra"])
def test_for_a_spreadsheet_no_text_is_a_formula(text: str) -> None:
    event = stored(msgspec.json.encode({"a": text, "b": -5}).decode(), source=text)
    plain = cells(event, "a", "b")
    assert (plain["source"], plain["properties.a"], plain["properties.b"]) == (text, text, "-5")
    safe = cells(event, "a", "b", spreadsheet=True)
    assert (safe["source"], safe["properties.a"]) == (f"'{text}", f"'{text}")
    assert safe["properties.b"] == "-5"


def test_a_spreadsheet_is_told_that_it_is_utf_8() -> None:
    assert Csv((), spreadsheet=True).head().startswith(b"\xef\xbb\xbfevent_id,")
