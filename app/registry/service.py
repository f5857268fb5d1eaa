"""Brings a tenant's registry to what its files say. Never undoes or changes what is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from app.db.transaction import transaction
from app.registry import queries, spec
from app.registry.evolution import Breakage, compatibility_findings
from app.registry.files import FileVersion, RegistryFiles
from app.registry.queries import StoredVersion


class NewVersion(msgspec.Struct, frozen=True):
    """A version that the files have and the registry has not."""

    event_type: str
    version: int
    document: Mapping[str, Any]
    checksum: str
    before: Mapping[str, Any] | None
    """The version before it, to show what changes; None for a new event type."""
    breakages: Sequence[tuple[int, Breakage]] = ()
    """(version it breaks with, how), under the event type's compatibility mode."""


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
    elsewhere: Sequence[str] = ()
    """Event types that only the registry has. Files may hold a part of it: nothing is undone."""

    @property
    def incompatible(self) -> list[NewVersion]:
        return [version for version in self.new_versions if version.breakages]


class Refused(Exception):
    """The plan may not be applied as it is; the message says why."""


def plan_changes(files: RegistryFiles, stored: Mapping[str, Sequence[StoredVersion]]) -> Plan:
    """What applying the files would do. Pure."""
    new_versions: list[NewVersion] = []
    drifts: list[Drift] = []
    unchanged = 0
    for name, versions in files.event_types.items():
        published = {version.version: version for version in stored.get(name, ())}
        history = [version.document for version in stored.get(name, ())]
        for version in versions:
            held = published.pop(version.version, None)
            if held is None:
                new_versions.append(_new_version(name, version, history))
                history.append(version.document)
            elif held.checksum != version.checksum:
                drifts.append(
                    Drift(name, version.version, "published with other content: it is immutable")
                )
            else:
                unchanged += 1
        drifts += [
            Drift(name, number, "published, but not in the files: pull it first")
            for number in published
        ]
    elsewhere = [name for name in stored if name not in files.event_types]
    return Plan(new_versions, drifts, unchanged, elsewhere)


def _new_version(
    name: str, version: FileVersion, history: Sequence[Mapping[str, Any]]
) -> NewVersion:
    mode = spec.settings(version.document).compatibility
    return NewVersion(
        event_type=name,
        version=version.version,
        document=version.document,
        checksum=version.checksum,
        before=history[-1] if history else None,
        breakages=[
            (index + 1, breakage)
            for index, breakage in compatibility_findings(mode, history, version.document)
        ],
    )


async def plan_files(tenant_id: int, files: RegistryFiles) -> Plan:
    async with transaction() as connection:
        return plan_changes(files, await queries.read_versions(connection, tenant_id))


async def apply_files(
    tenant_id: int,
    files: RegistryFiles,
    *,
    actor: str,
    reason: str | None = None,
    grace_until: datetime | None = None,
) -> Plan:
    """Publish what is new, all of it or nothing; every worker enforces it within a second.

    reason, grace_until  both are needed to force an incompatible version; until then the version
                         before it is accepted as well
    returns              what was done
    raises               Refused
    """
    async with transaction() as connection:
        await queries.lock_registry(connection, tenant_id)
        plan = plan_changes(files, await queries.read_versions(connection, tenant_id))
        if drifts := plan.drifts:
            first = drifts[0]
            raise Refused(f"{first.event_type} version {first.version}: {first.message}")
        if plan.incompatible and (reason is None or grace_until is None):
            first_broken = plan.incompatible[0]
            _, breakage = first_broken.breakages[0]
            raise Refused(
                f"{first_broken.event_type} version {first_broken.version}:"
                f" {breakage.path}: {breakage.message}"
            )
        for version in plan.new_versions:
            await _publish(tenant_id, version, actor, reason, grace_until)
        if plan.new_versions:
            await queries.raise_registry_revision(tenant_id)
    return plan


async def _publish(
    tenant_id: int,
    version: NewVersion,
    actor: str,
    reason: str | None,
    grace_until: datetime | None,
) -> None:
    event_type_id = await queries.upsert_event_type(tenant_id, version.event_type, version.document)
    await queries.insert_version(
        tenant_id, event_type_id, version.version, version.document, version.checksum, actor
    )
    forced = bool(version.breakages)
    if forced and grace_until is not None:
        await queries.set_grace(event_type_id, version.version - 1, grace_until)
    await queries.record_change(
        tenant_id,
        actor=actor,
        action="version_forced" if forced else "version_published",
        subject=f"{version.event_type}/{version.version}",
        reason=reason if forced else None,
        after=version.document,
    )


async def pull_files(tenant_id: int) -> dict[str, list[StoredVersion]]:
    """Every published version, for writing it to files."""
    async with transaction() as connection:
        return await queries.read_versions(connection, tenant_id)
