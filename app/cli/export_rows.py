"""How an exported event is written: a line of NDJSON, or a row of CSV. Pure.

Both have the same members. Those in camel case are the event as its sender would send it again,
those in snake case are ours.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from app import ids
from app.errors import Violation
from app.identity.identifiers import Identity
from app.ingest.reading import StoredEvent
from app.registry.masking import Mask, masked_json, masked_text


class Exported(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    event_id: str
    received_at: datetime
    schema_version: int
    profile_id: str | None
    """Whose it is today; None while identities have not been resolved."""
    occurred_at_sent: bool
    warnings: list[Violation]
    source: str
    external_event_id: str = msgspec.field(name="externalEventId")
    event_type: str = msgspec.field(name="eventType")
    occurred_at: datetime = msgspec.field(name="occurredAt")
    """When it was received if the sender did not say."""
    identity: Identity
    properties: msgspec.Raw
    masked: bool = False


_OURS = ("event_id", "received_at", "schema_version", "profile_id", "occurred_at_sent")
_AS_SENT = ("source", "externalEventId", "eventType", "occurredAt")
_IDENTITY = ("externalUserId", "email", "phone", "deviceKey")
_PROPERTY = "properties."
_REST = "properties"
"""The column of all properties without a column of their own."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Texts that begin so are taken for a formula by spreadsheets (OWASP, CSV injection)."""
_SPREADSHEET_MARK = "\N{BYTE ORDER MARK}"
"""Without it, Excel does not take a file for UTF-8."""

_LINES = msgspec.json.Encoder()
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


def exported(stored: StoredEvent, profile_id: bytes | None, mask: Mask | None) -> Exported:
    """One event in the shape of an export. It is no longer than it was as sent, so that it can be
    sent again: Postgres puts blanks into its JSON.

    mask  of the version that judged it: personal data is hidden; None shows everything
    """
    identity = stored.identity
    properties = msgspec.json.format(stored.properties.encode(), indent=-1)
    if mask is not None:
        properties = masked_json(properties, mask)
        identity = Identity(
            external_user_id=masked_text(identity.external_user_id, shown=False),
            email=masked_text(identity.email, shown=False),
            phone=masked_text(identity.phone, shown=False),
            device_key=masked_text(identity.device_key, shown=False),
        )
    return Exported(
        event_id=ids.encode(ids.EVENT_PREFIX, stored.event_id),
        received_at=stored.received_at,
        schema_version=stored.version,
        profile_id=None if profile_id is None else ids.encode(ids.PROFILE_PREFIX, profile_id),
        occurred_at_sent=stored.occurred_at_sent,
        warnings=stored.warnings,
        source=stored.source,
        external_event_id=stored.external_event_id,
        event_type=stored.event_type,
        occurred_at=stored.occurred_at,
        identity=identity,
        properties=msgspec.Raw(properties),
        masked=mask is not None,
    )


class Format(Protocol):
    def head(self) -> bytes:
        """What comes before the first event."""

    def write(self, events: Iterable[Exported]) -> bytes: ...


class Ndjson:
    """One JSON object a line, as `cdp events import` reads it."""

    def head(self) -> bytes:
        return b""

    def write(self, events: Iterable[Exported]) -> bytes:
        return _LINES.encode_lines(events)


class Csv:
    """RFC 4180 in UTF-8. A text is itself, anything else is its JSON; null is an empty field."""

    def __init__(self, properties: Sequence[str], *, spreadsheet: bool) -> None:
        """
        properties   names that get a column each; the others share one
        spreadsheet  for people's eyes: no text is a formula, but some are longer by a "'"
        """
        self._properties = properties
        self._spreadsheet = spreadsheet

    def head(self) -> bytes:
        identity = (f"identity.{name}" for name in _IDENTITY)
        own = (_PROPERTY + name for name in self._properties)
        names = (*_OURS, *_AS_SENT, *identity, *own, _REST, "warnings")
        mark = _SPREADSHEET_MARK if self._spreadsheet else ""
        return mark.encode() + _csv([names])

    def write(self, events: Iterable[Exported]) -> bytes:
        return _csv(self._row(event) for event in events)

    def _row(self, event: Exported) -> list[str]:
        members = _MEMBERS.decode(event.properties)
        own = [self._cell(members.pop(name, None)) for name in self._properties]
        sent = event.identity
        return [
            event.event_id,
            _moment(event.received_at),
            str(event.schema_version),
            event.profile_id or "",
            "true" if event.occurred_at_sent else "false",
            self._text(event.source),
            self._text(event.external_event_id),
            self._text(event.event_type),
            _moment(event.occurred_at),
            self._text(sent.external_user_id or ""),
            self._text(sent.email or ""),
            self._text(sent.phone or ""),
            self._text(sent.device_key or ""),
            *own,
            _LINES.encode(members).decode() if members else "",
            _LINES.encode(event.warnings).decode() if event.warnings else "",
        ]

    def _cell(self, value: msgspec.Raw | None) -> str:
        if value is None:
            return ""
        raw = bytes(value)
        if raw.startswith(b'"'):
            return self._text(_TEXT.decode(raw))
        return "" if raw == b"null" else raw.decode()

    def _text(self, text: str) -> str:
        return f"'{text}" if self._spreadsheet and text.startswith(_FORMULA) else text


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


class MaskedLine(ValueError):
    """Its personal values are not there, so it is no event to be sent."""


def as_sent(line: bytes) -> bytes:
    """A line of an export as its sender would send it; any other line as it is.

    raises  MaskedLine
    """
    if b'"event_id"' not in line:
        return line
    try:
        members = _MEMBERS.decode(line)
        event_id = _TEXT.decode(members["event_id"])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return line
    if ids.decode(ids.EVENT_PREFIX, event_id) is None:
        return line
    if "masked" in members:
        raise MaskedLine
    for name in (*_OURS, "warnings"):
        members.pop(name, None)
    return _LINES.encode(members)
