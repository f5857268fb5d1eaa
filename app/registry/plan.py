"""What applying the registry's files would do, and where files and registry went different ways.

Pure. Files never undo what was done over the API: a difference that they did not make is kept, one
that both made is a conflict, and what is published stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from app.registry.evolution import MENDS, Breakage, compatibility_findings
from app.registry.files import FileVersion, RegistryFiles, checksum
from app.registry.modes import promises_less
from app.registry.queries import StoredType, StoredVersion
from app.registry.type_settings import (
    SettingDifference,
    TypeSettings,
    compare_settings,
    settings_of,
    without_settings,
)


class NewVersion(msgspec.Struct, frozen=True):
    """A version that the files have and the registry has not."""

    event_type: str
    version: int
    document: Mapping[str, Any]
    checksum: str
    before: Mapping[str, Any] | None
    """The version before it, to show what changes; None for a new event type."""
    breakages: Sequence[tuple[int, Breakage]] = ()
    """(version it breaks with, how), under the event type's compatibility mode; lowering that
    counts."""


class Drift(msgspec.Struct, frozen=True):
    """Where registry and files tell different stories; apply refuses until it is settled."""

    event_type: str
    version: int
    message: str


class Plan(msgspec.Struct, frozen=True):
    new_versions: Sequence[NewVersion]
    drifts: Sequence[Drift]
    unchanged: int
    """Versions that are in both, the same."""
    settings: Sequence[SettingDifference] = ()
    """What is said of event types, where files and registry differ."""
    not_active: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Event types of the files that were deprecated or retired over the API: name → status."""
    elsewhere: Sequence[str] = ()
    """Event types that only the registry has. Files may hold a part of it: nothing is undone."""

    @property
    def incompatible(self) -> list[NewVersion]:
        return [version for version in self.new_versions if version.breakages]

    @property
    def conflicts(self) -> list[SettingDifference]:
        return [difference for difference in self.settings if difference.change == "conflict"]

    @property
    def setting_changes(self) -> list[SettingDifference]:
        """Those that apply makes."""
        return [difference for difference in self.settings if difference.change == "apply"]

    @property
    def lowered(self) -> list[SettingDifference]:
        """Event types that would promise less than they do."""
        return [
            change
            for change in self.setting_changes
            if change.setting == "compatibility"
            and promises_less(str(change.registry), str(change.files))
        ]


class EarlierVersion(Protocol):
    @property
    def version(self) -> int: ...
    @property
    def document(self) -> dict[str, Any]: ...
    @property
    def forced(self) -> bool: ...
    @property
    def marked(self) -> Collection[str]: ...


def held_against(history: Sequence[EarlierVersion]) -> list[tuple[int, dict[str, Any]]]:
    """(number, document) of the versions that a new one is held against, oldest first.

    What was broken with a reason stays broken: one decision is enough, so transitive modes look
    back to the last forced version. A property that is marked counts as segmentable, whatever the
    documents say: its type is what segments were built on.
    """
    breaks = [index for index, version in enumerate(history) if version.forced]
    followed = history[breaks[-1] :] if breaks else history
    return [(version.version, _as_marked(version)) for version in followed]


def _as_marked(version: EarlierVersion) -> dict[str, Any]:
    members = version.document.get("properties", {})
    marked = {
        name: members[name] | {"x-segmentable": True} for name in version.marked if name in members
    }
    return version.document | {"properties": members | marked} if marked else version.document


def plan_changes(
    files: RegistryFiles, stored: Mapping[str, StoredType], *, files_win: bool = False
) -> Plan:
    """What applying the files would do.

    files_win  every setting that differs is taken from the files: the caller said so
    """
    new_versions: list[NewVersion] = []
    drifts: list[Drift] = []
    settings: list[SettingDifference] = []
    unchanged = 0
    for name, versions in files.event_types.items():
        held = stored.get(name, _NOTHING)
        published = {version.version: version for version in held.versions}
        new = [version for version in versions if version.version not in published]
        for version in versions:
            there = published.pop(version.version, None)
            if there is not None and _is_same_contract(version, there):
                unchanged += 1
            elif there is not None:
                drifts.append(Drift(name, version.version, _immutable(there)))
        drifts += [
            Drift(name, number, f"published by {there.published_by}, but not in the files: pull it")
            for number, there in published.items()
        ]
        if new and held.status == "RETIRED":
            drifts.append(Drift(name, new[0].version, "its event type is retired: restore it"))
        new_versions += _new_versions(name, held, new, files_win=files_win)
        if name in stored and versions:
            settings += _differences(name, held, versions[-1], files_win=files_win)
    return Plan(
        new_versions,
        drifts,
        unchanged,
        settings,
        not_active={
            name: stored[name].status
            for name in files.event_types
            if name in stored and stored[name].status != "ACTIVE"
        },
        elsewhere=[name for name in stored if name not in files.event_types],
    )


_NOTHING = StoredType(0, "ACTIVE", TypeSettings(), TypeSettings(), [])


def _is_same_contract(version: FileVersion, there: StoredVersion) -> bool:
    """Settings may differ: a document keeps those it was published with."""
    return version.checksum == there.checksum or (
        checksum(without_settings(version.document)) == checksum(without_settings(there.document))
    )


def _immutable(there: StoredVersion) -> str:
    return (
        f"published by {there.published_by} with other content: it is immutable; pull it, and give"
        " yours the next number"
    )


def _new_versions(
    name: str, held: StoredType, new: Sequence[FileVersion], *, files_win: bool
) -> Iterator[NewVersion]:
    history = list(held.versions)
    promised = held.settings.compatibility
    for version in new:
        mode = _mode(held, version, files_win=files_win)
        followed = held_against(history)
        documents = [document for _, document in followed]
        breakages = [
            (followed[index][0], breakage)
            for index, breakage in compatibility_findings(mode, documents, version.document)
        ]
        if history and promises_less(promised, mode):
            breakages.append((history[-1].version, _lowered(promised, mode)))
        promised = mode
        yield NewVersion(
            event_type=name,
            version=version.version,
            document=version.document,
            checksum=version.checksum,
            before=history[-1].document if history else None,
            breakages=breakages,
        )
        forced = bool(breakages)
        history.append(StoredVersion(version.version, version.checksum, version.document, forced))


def _lowered(promised: str, mode: str) -> Breakage:
    message = f"{mode} promises less than {promised}, which is in force"
    rule = "compatibility_lowered"
    return Breakage("", rule, promised, mode, message, MENDS[rule])


def _mode(held: StoredType, version: FileVersion, *, files_win: bool) -> str:
    """The files' compatibility if they changed it, else the registry's."""
    said = settings_of(version.document).compatibility
    if held is _NOTHING or files_win or said != held.settings_in_files.compatibility:
        return said
    return held.settings.compatibility


def _differences(
    name: str, held: StoredType, newest: FileVersion, *, files_win: bool
) -> list[SettingDifference]:
    found = compare_settings(
        name,
        base=held.settings_in_files,
        registry=held.settings,
        files=settings_of(newest.document),
    )
    if not files_win:
        return found
    return [msgspec.structs.replace(difference, change="apply") for difference in found]
