"""What things of a tenant are called, and what those of one that never was would be called.

Pure. A twin has for each name one of the same form that exists nowhere, at the same place.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

import msgspec

from app.api.graphql.connection import encode_cursor


class Kind(Enum):
    """What a value is the name of."""

    EVENT = auto()
    PROFILE = auto()
    ITEM = auto()
    REPLAY = auto()
    IMPACT = auto()
    DRAFT = auto()
    KEY = auto()
    ACTOR = auto()
    SOURCE = auto()
    EVENT_TYPE = auto()
    EXTERNAL_ID = auto()
    IDENTIFIER = auto()
    PROPERTY = auto()
    SUBJECT = auto()
    SEARCH = auto()
    CURSOR = auto()
    VALUE = auto()
    DOCUMENT = auto()
    # From here on: words that every tenant uses.
    VERSION = auto()
    DRAFT_REVISION = auto()
    TYPE_REVISION = auto()
    ERROR_CODE = auto()
    PLACE = auto()
    ACTION = auto()
    TEXT = auto()


def values_of(word: str, found: Any) -> dict[Kind, list[Any]]:
    """The names of a tenant's things by kind, the most telling of a kind first.

    found  the answer to `furnished.NAMES`
    """
    event, drafts, keys = found["event"], found["drafts"]["nodes"], _ids(found["apiKeys"])
    profile, event_type = event["profile"], f"{word}_bought"
    phone = phone_of(word)
    return {
        Kind.EVENT: [event["id"], *_ids(found["events"])],
        Kind.PROFILE: [profile["id"], *profile["aliases"], *_ids(found["profiles"])],
        Kind.ITEM: _ids(found["quarantine"]),
        Kind.REPLAY: _ids(found["quarantineReplays"]),
        Kind.IMPACT: _ids(found["impacts"]),
        Kind.DRAFT: [draft["id"] for draft in drafts],
        Kind.KEY: keys[1:],
        Kind.ACTOR: keys[:1],
        Kind.SOURCE: [f"{word}.pos"],
        Kind.EVENT_TYPE: [event_type, f"{word}_unknown", f"{word}_left"],
        Kind.EXTERNAL_ID: [f"{word}-1", f"{word}-bad"],
        Kind.IDENTIFIER: [
            f"anna@{word}.example",
            phone,
            phone.replace("+49", "0"),
            f"{word}-L-1",
            f"{word}-device",
        ],
        Kind.PROPERTY: [f"/{word}_store", f"/{word}_total"],
        Kind.SUBJECT: [
            event_type,
            f"{event_type}/2",
            f"{event_type}/draft/{drafts[0]['id']}",
            f"source {word}.pos",
            f"key {keys[0]}",
        ],
        Kind.SEARCH: [word],
        Kind.CURSOR: _cursors(found),
        Kind.VALUE: [f"{word} store"],
        Kind.DOCUMENT: [{"type": "object", "properties": {f"{word}_store": {"type": "string"}}}],
        Kind.VERSION: [2, 1],
        Kind.DRAFT_REVISION: [drafts[0]["revision"]],
        Kind.TYPE_REVISION: [found["eventType"]["revision"]],
        Kind.ERROR_CODE: ["unknown_event_type", "schema_violation"],
        Kind.PLACE: ["/eventType"],
        Kind.ACTION: ["version_published"],
        Kind.TEXT: [f"{word} text"],
    }


def phone_of(word: str) -> str:
    return f"+49151123{int.from_bytes(word.encode()[-2:], 'big'):05}"


class Twin:
    """Names that exist nowhere, one for each of somebody's; and eyes that tell them apart."""

    def __init__(self, word: str, twin: str, found: Any) -> None:
        self._words = word, twin
        self._twins: dict[str, str] = {}
        self._values = values_of(word, found)
        self.values = values_of(twin, self._twin(found))
        pairs = {
            (mine, other)
            for kind, names in self._values.items()
            for mine, other in zip(names, self.values[kind], strict=True)
            if isinstance(mine, str) and mine != other
        }
        self._pairs = sorted(pairs, key=lambda pair: -len(pair[0]))

    def of(self, value: Any) -> Any:
        """The same with the other's names."""
        text = _dumped(value)
        for mine, other in self._pairs:
            text = text.replace(mine, other)
        return json.loads(text.replace(*self._words))

    def blurred(self, value: Any) -> str:
        """The same for names that are each other's twins."""
        text = _dumped(value)
        for mine, other in self._pairs:
            text = text.replace(mine, "<name>").replace(other, "<name>")
        for word in self._words:
            text = text.replace(word, "<word>")
        return text

    def seen(self, answer: Any, sent: Any) -> list[str]:
        """What of somebody's is in an answer, but for what was sent by whoever asked."""
        text = _dumped(answer)
        text += "".join(_dumped(cursor_parts(cursor)) for cursor in _CURSOR.findall(text))
        for part in sorted(set(texts_of(sent)), key=len, reverse=True):
            text = text.replace(part, "")
        word = self._words[0]
        names = [mine for mine, _ in self._pairs if mine in text]
        keys = [mine for mine, _ in self._pairs if _KEY.fullmatch(mine) and _base64(mine) in text]
        return names + keys + ([word] if word in text.lower() else [])

    def _twin(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._twin(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self._twin(part) for part in value]
        if isinstance(value, str):
            return self._twins.setdefault(value, _like(value, *self._words))
        return value


_KEY = re.compile("[a-z]{3}_[0-9a-f]{32}")
_CURSOR = re.compile('ursor": ?"([^"]+)"')


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _base64(key: str) -> str:
    return base64.b64encode(bytes.fromhex(key[4:])).decode()


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for part in value.values():
            yield from texts_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts_of(part)


def _like(value: str, word: str, twin: str) -> str:
    if _KEY.fullmatch(value):
        return value[:4] + os.urandom(16).hex()
    if value.isdecimal():
        return str(int(value) + 4_000_000)
    if re.fullmatch("[a-z2-7]{10}", value):
        return value[0] + base64.b32encode(os.urandom(10)).decode().lower()[:9]
    return encode_cursor(*(_beside(part, word, twin) for part in cursor_parts(value)))


def cursor_parts(text: str) -> list[Any]:
    decoded: list[Any] = msgspec.json.decode(base64.urlsafe_b64decode(text + "=="))
    return decoded


def _beside(part: Any, word: str, twin: str) -> Any:
    """The same position, at which there is nothing: a cursor is told nothing about others' rows."""
    if not isinstance(part, str):
        return part
    if part.endswith("="):
        return base64.b64encode(os.urandom(16)).decode()
    return part.replace(word, twin)


def _ids(connection: Any) -> list[str]:
    return [node["id"] for node in connection["nodes"]]


def _cursors(found: Any) -> list[str]:
    """Every endCursor of an answer."""
    if isinstance(found, list):
        return [cursor for part in found for cursor in _cursors(part)]
    if not isinstance(found, dict):
        return []
    own = [found["endCursor"]] if found.get("endCursor") else []
    return own + [cursor for part in found.values() for cursor in _cursors(part)]
