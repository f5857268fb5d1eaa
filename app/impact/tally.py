"""Counts what a document would change: by source, by rule, by path, with a few ids to look at.

Pure. Holds names, numbers and ids, never a value that was sent; its size has a limit, whatever is
added to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from app.errors import Violation
from app.registry.spec import types_of

MAX_SAMPLES = 10
"""Ids kept of one finding."""
MAX_FINDINGS = 200
MAX_NAMES = 1_000
"""Sources, and paths. Senders choose both names, so there could be any number."""
OTHERS = ""
"""Counts what is beyond these limits. Neither a source nor a path that can change is called so."""


class Change(StrEnum):
    """How the document would change the verdict on one item."""

    NEWLY_FAILING = "NEWLY_FAILING"
    NEWLY_PASSING = "NEWLY_PASSING"


class Kind(StrEnum):
    """Where a judged item is kept."""

    EVENT = "EVENT"
    QUARANTINED = "QUARANTINED"


class Count(msgspec.Struct):
    newly_failing: int = 0
    newly_passing: int = 0

    def add(self, change: Change) -> None:
        if change is Change.NEWLY_FAILING:
            self.newly_failing += 1
        else:
            self.newly_passing += 1


class Scanned(Count):
    """All items of one kind, those that nothing changes for included."""

    scanned: int = 0


class Finding(msgspec.Struct):
    """One reason at one place; items with several reasons are in several findings."""

    change: Change
    rule: str
    """A key of `errors.REASONS`: why it would fail, or why it fails today."""
    path: str
    items: int = 0
    event_ids: list[str] = []
    quarantine_ids: list[str] = []


class Item(msgspec.Struct, frozen=True):
    """Both verdicts on one event or quarantined item; no violations: it passes."""

    kind: Kind
    id: str
    source: str | None
    today: Sequence[Violation]
    draft: Sequence[Violation]
    was_stripped: bool = False
    """Unknown properties were left out when it was stored."""


class Tally(msgspec.Struct):
    """What was found so far. Goes to JSON and back without a loss."""

    events: Scanned = msgspec.field(default_factory=Scanned)
    quarantined: Scanned = msgspec.field(default_factory=Scanned)
    stripped_events: int = 0
    """Judged without the unknown properties that were left out when they were stored."""
    by_source: dict[str, Count] = {}
    by_rule: dict[str, Count] = {}
    by_path: dict[str, Count] = {}
    findings: dict[str, Finding] = {}
    """By change, rule and path, as one text: keys of JSON are texts."""

    @property
    def scanned(self) -> int:
        return self.events.scanned + self.quarantined.scanned

    def add(self, item: Item, document: Mapping[str, Any]) -> None:
        """Count one item.

        document  the draft: it tells which numbers in a path stand for items of an array
        """
        counts = self.events if item.kind is Kind.EVENT else self.quarantined
        counts.scanned += 1
        self.stripped_events += item.was_stripped
        change = _change(item)
        if change is None:
            return
        counts.add(change)
        reasons = item.draft if change is Change.NEWLY_FAILING else item.today
        places = {(reason.code, place_of(reason.path, document)) for reason in reasons}
        _count(self.by_source, {item.source or OTHERS}, change)
        _count(self.by_rule, {rule for rule, _ in places}, change)
        _count(self.by_path, {path for _, path in places}, change)
        for key in {self._key(change, rule, path) for rule, path in sorted(places)}:
            _note(self.findings[key], item)

    def _key(self, change: Change, rule: str, path: str) -> str:
        """Of the finding, which is there from now on."""
        key = f"{change} {rule} {path}"
        if key not in self.findings and len(self.findings) >= MAX_FINDINGS:
            key, path = f"{change} {rule} {OTHERS}", OTHERS
        self.findings.setdefault(key, Finding(change, rule, path))
        return key


def _change(item: Item) -> Change | None:
    if bool(item.today) == bool(item.draft):
        return None
    return Change.NEWLY_FAILING if item.draft else Change.NEWLY_PASSING


def _count(counts: dict[str, Count], names: set[str], change: Change) -> None:
    """One item under each of these names, once where several are beyond the limit."""
    full = len(counts) >= MAX_NAMES
    for name in {OTHERS if full and name not in counts else name for name in names}:
        counts.setdefault(name, Count()).add(change)


def _note(finding: Finding, item: Item) -> None:
    finding.items += 1
    if len(finding.event_ids) + len(finding.quarantine_ids) < MAX_SAMPLES:
        ids = finding.event_ids if item.kind is Kind.EVENT else finding.quarantine_ids
        ids.append(item.id)


def place_of(path: str, document: Mapping[str, Any]) -> str:
    """A violation's path with * for every item of an array: "/properties/line_items/*/sku".

    A number is a name where the document has such a property, or says that there is an object.
    """
    head, *parts = path.removeprefix("/").split("/")
    if head != "properties":
        return path
    schema: Mapping[str, Any] = document
    place = [head]
    for part in parts:
        name = part.replace("~1", "/").replace("~0", "~")
        known = schema.get("properties", {}).get(name)
        is_index = known is None and part.isdecimal() and "object" not in types_of(schema)
        schema = schema.get("items", {}) if is_index else known or {}
        place.append("*" if is_index else part)
    return "/" + "/".join(place)
