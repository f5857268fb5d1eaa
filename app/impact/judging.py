"""Both verdicts on what was really sent: by today's rules, and with the draft published. Pure.

Judges with the code that judges deliveries; has no rule of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from app import ids
from app.access.keys import Principal
from app.access.queries import SourceSettings
from app.errors import REASONS, Violation
from app.impact.queries import StoredEvent, StoredRefusal
from app.impact.run import Run
from app.impact.tally import Item, Kind
from app.ingest.decode import decode_event, decode_properties
from app.ingest.event import Event
from app.ingest.judge import Clock, Judge, judge_properties
from app.registry.catalog import Catalog, PublishedVersion, RegisteredType

_OVERSIZED = (Violation("", "size", REASONS["size"]),)


class Rules:
    """What one run judges by, for the moment in which it was asked for."""

    def __init__(
        self,
        run: Run,
        accepted: Sequence[PublishedVersion],
        writers: Mapping[int, Principal],
        sources: Mapping[str, SourceSettings],
    ) -> None:
        """accepted  the current version, then those in grace; empty: nothing is published

        The draft takes the place of the current version and gives it no grace; an older version
        keeps the grace that it was given before.
        """
        number = accepted[0].version + 1 if accepted else 1
        draft = PublishedVersion(0, number, msgspec.json.encode(run.asked.document).decode(), None)
        self._today = _registered(run, accepted) if accepted else None
        self._draft = _registered(run, [draft, *accepted[1:]])
        self._clock = Clock.at(run.requested_at)
        self._writers = writers
        self._sources = sources
        self._judges = [_judge(run, entry) for entry in (self._today, self._draft)]

    def judge(self, row: StoredEvent | StoredRefusal) -> Item:
        return self._event(row) if isinstance(row, StoredEvent) else self._refusal(row)

    def _event(self, event: StoredEvent) -> Item:
        """An accepted event, by its properties alone.

        Key, time and identity passed when it was delivered, and no document changes what they are
        judged by: that a source was switched off since, say, is no news of the draft's.
        """
        properties = decode_properties(event.properties)
        today, draft = (
            judge_properties(properties, event.properties, entry, self._clock.now)
            for entry in (self._today, self._draft)
        )
        return Item(
            kind=Kind.EVENT,
            id=ids.encode(ids.EVENT_PREFIX, event.event_key),
            source=event.source,
            today=today.violations,
            draft=draft.violations,
            was_stripped=event.was_stripped,
        )

    def _refusal(self, refusal: StoredRefusal) -> Item:
        """A quarantined item, as if its key delivered it again: all of it has to pass."""
        today, draft = self._verdicts(refusal) if refusal.payload else (_OVERSIZED, _OVERSIZED)
        return Item(
            kind=Kind.QUARANTINED,
            id=ids.encode(ids.QUARANTINE_PREFIX, refusal.quarantine_id),
            source=refusal.source,
            today=today,
            draft=draft,
        )

    def _verdicts(self, refusal: StoredRefusal) -> list[Sequence[Violation]]:
        raw = refusal.payload or b""
        decoded, writer = decode_event(raw), self._writers[refusal.api_key_id]
        judged = [j.judge(decoded, raw, writer, self._sources, self._clock) for j in self._judges]
        return [() if isinstance(item, Event) else item.violations for item in judged]


def _registered(run: Run, versions: Sequence[PublishedVersion]) -> RegisteredType:
    """Deprecated or not, it is accepted; runs are not started for retired event types."""
    return RegisteredType(run.event_type_id or 0, run.asked.event_type, "ACTIVE", tuple(versions))


def _judge(run: Run, entry: RegisteredType | None) -> Judge:
    catalog = Catalog()
    catalog.replace(run.tenant_id, [entry] if entry else [])
    return Judge(catalog)
