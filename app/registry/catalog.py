"""What one worker holds in memory of the registry: compiled on first use, at most a second old."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from app.registry.validator import Validator, compile_validator


class PublishedVersion:
    """One immutable version. Its validator is compiled when the first event needs it."""

    __slots__ = ("_document", "_validator", "accepted_until", "version", "version_id")

    def __init__(
        self, version_id: int, version: int, document: str, accepted_until: datetime | None
    ) -> None:
        self.version_id = version_id
        self.version = version
        self.accepted_until = accepted_until
        self._document: str | None = document
        self._validator: Validator | None = None

    @property
    def validator(self) -> Validator:
        if self._validator is None:
            assert self._document is not None
            self._validator = compile_validator(msgspec.json.decode(self._document))
            self._document = None
        return self._validator


class RegisteredType(msgspec.Struct, frozen=True):
    """An event type as the judge sees it."""

    event_type_id: int
    name: str
    status: str
    """ACTIVE, DEPRECATED (accepted with a warning) or RETIRED (refused)."""
    versions: tuple[PublishedVersion, ...]
    """The current one, then older ones still in their grace window, newest first."""
    status_note: str | None = None
    sunset_at: datetime | None = None

    @property
    def standing(self) -> str:
        """What its senders are told of a status that is not ACTIVE."""
        by_when = f", to be retired on {self.sunset_at:%Y-%m-%d}" if self.sunset_at else ""
        note = f": {self.status_note}" if self.status_note else ""
        return f"the event type is {self.status.lower()}{by_when}{note}"


class Catalog:
    """Event types by tenant and name."""

    def __init__(self) -> None:
        self._types: dict[int, Mapping[str, RegisteredType]] = {}

    def find(self, tenant_id: int, name: str) -> RegisteredType | None:
        types = self._types.get(tenant_id)
        return types.get(name) if types else None

    def similar_name(self, tenant_id: int, name: str) -> str | None:
        """A registered name close to an unknown one, for did_you_mean."""
        close = difflib.get_close_matches(name[:128], self._types.get(tenant_id, ()), n=1)
        return close[0] if close else None

    def replace(self, tenant_id: int, types: Iterable[RegisteredType]) -> None:
        """Take over a tenant's types; versions that are here already keep their validators."""
        held = {
            version.version_id: version
            for entry in self._types.get(tenant_id, {}).values()
            for version in entry.versions
        }
        self._types[tenant_id] = {
            entry.name: msgspec.structs.replace(
                entry, versions=tuple(_kept(held, version) for version in entry.versions)
            )
            for entry in types
        }


def _kept(held: Mapping[int, PublishedVersion], version: PublishedVersion) -> PublishedVersion:
    same = held.get(version.version_id)
    if same is None:
        return version
    same.accepted_until = version.accepted_until
    return same
