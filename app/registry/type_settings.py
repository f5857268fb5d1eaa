"""What is said of an event type itself: in its row, in its files, in the documents of its versions.

Pure. A version's document keeps what was true when it was published; the row says what is true now.
Never part of what an event is judged by: documents that differ in settings only are one contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from app.registry import spec

DEFAULT_COMPATIBILITY = "BACKWARD_TRANSITIVE"

_KEYWORDS: Mapping[str, str] = {
    "owner": "x-owner",
    "display_name": "x-display-name",
    "description": "description",
    "compatibility": "x-compatibility",
}
"""Where a document says it, at its root."""


class TypeSettings(msgspec.Struct, frozen=True):
    owner: str | None = None
    display_name: str | None = None
    description: str | None = None
    compatibility: str = DEFAULT_COMPATIBILITY


class SettingDifference(msgspec.Struct, frozen=True):
    """One setting of which files and registry say different things."""

    event_type: str
    setting: str
    registry: str | None
    files: str | None
    change: Literal["apply", "keep", "conflict"]
    """apply: the files changed it. keep: the API did. conflict: both did, to different values."""


def settings_of(document: Mapping[str, Any]) -> TypeSettings:
    said = {field: document[word] for field, word in _KEYWORDS.items() if word in document}
    return TypeSettings(**said)


def without_settings(document: Mapping[str, Any]) -> dict[str, Any]:
    """The contract alone."""
    words = _KEYWORDS.values()
    return {word: value for word, value in document.items() if word not in words}


def with_settings(document: Mapping[str, Any], settings: TypeSettings) -> dict[str, Any]:
    """The contract with these settings, in place of those that the document has."""
    said = msgspec.structs.asdict(settings)
    if settings.compatibility == DEFAULT_COMPATIBILITY:
        said["compatibility"] = document.get("x-compatibility") and DEFAULT_COMPATIBILITY
    return without_settings(document) | {
        _KEYWORDS[field]: value for field, value in said.items() if value is not None
    }


def completed(settings: TypeSettings, document: Mapping[str, Any]) -> TypeSettings:
    """What the event type does not say yet, as its new document says it.

    Never its compatibility: that is a decision of its own.
    """
    said = {
        field: document[word]
        for field, word in _KEYWORDS.items()
        if word in document and getattr(settings, field) is None
    }
    return msgspec.structs.replace(settings, **said)


def differing_settings(document: Mapping[str, Any], settings: TypeSettings) -> list[spec.Finding]:
    """Warnings for a draft that says of its event type what is not true of it."""
    return [
        spec.Finding(
            f"/{word}",
            "setting_of_event_type",
            f"the event type's own {word} is published in its place: change it there",
            "warning",
        )
        for field, word in _KEYWORDS.items()
        if word in document and document[word] != getattr(completed(settings, document), field)
    ]


def compare_settings(
    event_type: str, *, base: TypeSettings, registry: TypeSettings, files: TypeSettings
) -> list[SettingDifference]:
    """Whose change each difference is.

    base  what the files said when they were last applied
    """
    found = []
    for field in TypeSettings.__struct_fields__:
        before, here, there = (getattr(side, field) for side in (base, registry, files))
        if here != there:
            change: Literal["apply", "keep", "conflict"]
            change = "apply" if here == before else "keep" if there == before else "conflict"
            found.append(SettingDifference(event_type, field, here, there, change))
    return found
