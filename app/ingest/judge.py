"""Judges one event against the key's limits, time, identity and registry rules. Pure.

What passes has nothing left that the database could refuse. Never looks at what was delivered
before: that is the ledger's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from app import ids
from app.access.keys import Principal
from app.access.queries import SourceSettings
from app.dedupe.fingerprint import fingerprint
from app.errors import MAX_VIOLATIONS, ErrorCode, Violation
from app.identity.identifiers import Normalised, fingerprint_identity, identifiers_of
from app.ingest.event import Decoded, Envelope, Event, Judged, Malformed, Rejected
from app.registry.catalog import Catalog, PublishedVersion, RegisteredType

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
MAX_AHEAD = timedelta(hours=24)
AHEAD_WARNING = timedelta(minutes=5)


class Clock(msgspec.Struct, frozen=True, gc=False):
    """The bounds of occurredAt at one moment: computed once a request, not once an event."""

    now: datetime
    warn_after: datetime
    refuse_after: datetime

    @classmethod
    def at(cls, now: datetime) -> Clock:
        return cls(now, now + AHEAD_WARNING, now + MAX_AHEAD)


class Verdict(msgspec.Struct):
    """What the registry says of an event's properties."""

    violations: Sequence[Violation] = ()
    warnings: tuple[Violation, ...] = ()
    version: PublishedVersion | None = None
    properties: bytes = b"{}"


class Judge:
    """The rules in force in one worker."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def judge(
        self,
        item: Decoded | Malformed,
        raw: bytes,
        principal: Principal,
        sources: Mapping[str, SourceSettings],
        clock: Clock,
    ) -> Judged:
        """The event, or every reason against it.

        raw      the item as sent, for quarantine
        sources  the tenant's known sources; an unknown one is registered later, by the caller
        """
        if isinstance(item, Malformed):
            return self._malformed(item, raw, principal.tenant.tenant_id)
        envelope = item.envelope
        source = sources.get(envelope.source)
        entry = self._catalog.find(principal.tenant.tenant_id, envelope.event_type)
        if forbidden := _forbidden(envelope, principal, source):
            return _rejected(ErrorCode.FORBIDDEN, forbidden, envelope, entry, raw)
        region = source.default_phone_region if source else None
        identity = identifiers_of(envelope.identity, region)
        event_id, content_print = _prints(principal.tenant.hash_key, item, identity)
        verdict = judge_properties(item.properties, item.raw_properties, entry, clock.now)
        violations = (
            *(self._unregistered(principal.tenant.tenant_id, envelope) if entry is None else ()),
            *_time_violations(envelope.occurred_at, clock),
            *_identity_violations(identity),
            *verdict.violations,
        )
        if violations or entry is None or verdict.version is None:
            return _rejected(
                ErrorCode.VALIDATION_FAILED,
                violations,
                envelope,
                entry,
                raw,
                event_id=event_id,
                content_print=content_print,
            )
        return Event(
            event_id=event_id,
            source=envelope.source,
            external_event_id=envelope.external_event_id,
            event_type=envelope.event_type,
            event_type_id=entry.event_type_id,
            version_id=verdict.version.version_id,
            occurred_at=envelope.occurred_at,
            identity=msgspec.json.encode(envelope.identity),
            identifiers=identity.identifiers,
            properties=verdict.properties,
            fingerprint=content_print,
            size_bytes=item.size_bytes,
            warnings=(
                *_time_warnings(envelope.occurred_at, clock),
                *identity.violations,
                *verdict.warnings,
            ),
        )

    def _malformed(self, item: Malformed, raw: bytes, tenant_id: int) -> Rejected:
        """What cannot be read is refused with as much of its names as could be."""
        entry = self._catalog.find(tenant_id, item.event_type or "")
        return Rejected(
            code=item.code,
            violations=tuple(item.violations[:MAX_VIOLATIONS]),
            payload=raw,
            source=item.source,
            external_event_id=item.external_event_id,
            event_type=item.event_type,
            event_type_id=entry.event_type_id if entry else 0,
        )

    def _unregistered(self, tenant_id: int, envelope: Envelope) -> tuple[Violation]:
        return (
            Violation(
                "/eventType",
                "event_type_unregistered",
                "the event type is not registered",
                self._catalog.similar_name(tenant_id, envelope.event_type),
            ),
        )


def _prints(hash_key: bytes, item: Decoded, identity: Normalised) -> tuple[bytes, bytes]:
    """(the event's id, the fingerprint of its content)"""
    envelope = item.envelope
    return (
        ids.event_key(hash_key, envelope.source, envelope.external_event_id),
        fingerprint(
            hash_key,
            envelope.event_type,
            envelope.occurred_at,
            fingerprint_identity(envelope.identity, identity),
            item.properties,
        ),
    )


def judge_properties(
    properties: dict[str, Any], raw: bytes, entry: RegisteredType | None, now: datetime
) -> Verdict:
    """By the current version; if it refuses, by an older one that is still in its grace.

    raw  the same as sent
    """
    if entry is None:
        return Verdict()
    if entry.status == "RETIRED":
        return Verdict([Violation("/eventType", "event_type_retired", entry.standing)])
    first: Sequence[Violation] = ()
    for version in entry.versions:
        if version.accepted_until is not None and version.accepted_until <= now:
            continue
        violations = version.validator.violations(properties)
        if not violations:
            return _accepted(properties, raw, entry, version, superseded=bool(first))
        first = first or violations
    return Verdict(first)


def _accepted(
    properties: dict[str, Any],
    raw: bytes,
    entry: RegisteredType,
    version: PublishedVersion,
    *,
    superseded: bool,
) -> Verdict:
    warnings: list[Violation] = []
    if entry.status == "DEPRECATED":
        warnings.append(Violation("/eventType", "event_type_deprecated", entry.standing))
    if superseded:
        warnings.append(
            Violation(
                "/properties",
                "version_superseded",
                f"valid only under version {version.version}, which will soon be refused",
            )
        )
    if version.validator.strips:
        kept, stripped = version.validator.strip(properties)
        if stripped:
            raw = encode_exactly(kept)
            warnings += [
                Violation(path, "property_stripped", "unknown property, left out")
                for path in stripped[:MAX_VIOLATIONS]
            ]
    return Verdict((), tuple(warnings), version, raw)


_EXACT = msgspec.json.Encoder(decimal_format="number")


def encode_exactly(properties: Mapping[str, object]) -> bytes:
    """JSON of decoded properties, numbers with every digit."""
    return _EXACT.encode(properties)


def _rejected(
    code: ErrorCode,
    violations: Sequence[Violation],
    envelope: Envelope,
    entry: RegisteredType | None,
    raw: bytes,
    *,
    event_id: bytes | None = None,
    content_print: bytes | None = None,
) -> Rejected:
    return Rejected(
        code=code,
        violations=tuple(violations[:MAX_VIOLATIONS]),
        payload=raw,
        source=envelope.source,
        external_event_id=envelope.external_event_id,
        event_type=envelope.event_type,
        event_type_id=entry.event_type_id if entry else 0,
        event_id=event_id,
        fingerprint=content_print,
    )


def _forbidden(
    envelope: Envelope, principal: Principal, source: SourceSettings | None
) -> list[Violation]:
    """What the key, or a switched-off source, does not allow."""
    found = []
    if principal.sources is not None and envelope.source not in principal.sources:
        found.append(
            Violation("/source", "source_not_allowed", "the key may not write for this source")
        )
    if principal.event_types is not None and envelope.event_type not in principal.event_types:
        found.append(
            Violation(
                "/eventType", "event_type_not_allowed", "the key may not write this event type"
            )
        )
    if source is not None and source.disabled:
        found.append(Violation("/source", "source_disabled", "the source is switched off"))
    return found


def _time_violations(occurred_at: datetime | None, clock: Clock) -> tuple[Violation, ...]:
    if occurred_at is None:
        return ()
    if occurred_at < EARLIEST:
        return (Violation("/occurredAt", "timestamp_too_old", "occurredAt is before 2000-01-01"),)
    if occurred_at > clock.refuse_after:
        return (
            Violation("/occurredAt", "timestamp_in_future", "occurredAt is over 24 hours ahead"),
        )
    return ()


def _time_warnings(occurred_at: datetime | None, clock: Clock) -> tuple[Violation, ...]:
    if occurred_at is None or occurred_at <= clock.warn_after:
        return ()
    return (Violation("/occurredAt", "occurred_at_ahead", "occurredAt is over 5 minutes ahead"),)


def _identity_violations(identity: Normalised) -> tuple[Violation, ...]:
    """Dropping identifiers is a warning as long as one is left."""
    if identity.identifiers:
        return ()
    return tuple(
        Violation(violation.path, "identifier_invalid", violation.message)
        for violation in identity.violations
    )
