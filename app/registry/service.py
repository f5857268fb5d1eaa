"""Brings a tenant's registry to what its files say. Never undoes or changes what is published."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from app.db.audit import record_change
from app.db.transaction import transaction
from app.registry import queries
from app.registry.files import RegistryFiles
from app.registry.governance.queries import (
    insert_event_type,
    raise_draft_revisions,
    set_settings_in_files,
    update_event_type,
)
from app.registry.plan import NewVersion, Plan, plan_changes
from app.registry.queries import StoredType
from app.registry.segmentable import mark_published, surplus_marks
from app.registry.type_settings import TypeSettings, settings_of, with_settings
from app.segments.marks import MAX_MARKS


class Refused(Exception):
    """The plan may not be applied as it is; the message says why."""


async def plan_files(tenant_id: int, files: RegistryFiles, *, files_win: bool = False) -> Plan:
    async with transaction() as connection:
        stored = await queries.read_stored_types(connection, tenant_id)
        return plan_changes(files, stored, files_win=files_win)


async def apply_files(
    tenant_id: int,
    files: RegistryFiles,
    *,
    actor: str,
    reason: str | None = None,
    grace_until: datetime | None = None,
    files_win: bool = False,
) -> Plan:
    """Publish what is new, all of it or nothing; every worker enforces it within a second.

    reason, grace_until  both are needed to force an incompatible version; until then the version
                         before it is accepted as well
    files_win            take settings from the files even where they were changed over the API
    returns              what was done
    raises               Refused
    """
    async with transaction() as connection:
        await queries.lock_registry(connection, tenant_id)
        stored = await queries.read_stored_types(connection, tenant_id)
        plan = plan_changes(files, stored, files_win=files_win)
        _refuse_if_unsettled(plan, may_force=reason is not None and grace_until is not None)
        for name, versions in files.event_types.items():
            said = settings_of(versions[-1].document)
            new = [version for version in plan.new_versions if version.event_type == name]
            held = stored.get(name)
            event_type_id = (
                await _take_over(tenant_id, name, held, said, plan, bool(new), actor)
                if held
                else await _create(tenant_id, name, said, actor)
            )
            for version in new:
                if await surplus_marks(connection, tenant_id, event_type_id, version.document):
                    raise Refused(
                        f"{name} version {version.version}: {MAX_MARKS} marked properties at most"
                    )
                await _publish(tenant_id, event_type_id, version, actor, reason, grace_until)
                await mark_published(
                    connection, tenant_id, event_type_id, name, version.document, actor
                )
        if plan.new_versions or plan.setting_changes:
            await queries.raise_registry_revision(tenant_id)
    return plan


def _refuse_if_unsettled(plan: Plan, *, may_force: bool) -> None:
    if plan.drifts:
        drift = plan.drifts[0]
        raise Refused(f"{drift.event_type} version {drift.version}: {drift.message}")
    if plan.conflicts:
        found = plan.conflicts[0]
        raise Refused(
            f"{found.event_type}: {found.setting} was changed to {found.registry!r} over the API,"
            f" and to {found.files!r} in the files: pull it first, or let the files win"
        )
    if plan.incompatible and not may_force:
        broken = plan.incompatible[0]
        _, breakage = broken.breakages[0]
        raise Refused(
            f"{broken.event_type} version {broken.version}: {breakage.path}: {breakage.message}"
        )
    if plan.lowered and not may_force:
        change = plan.lowered[0]
        raise Refused(
            f"{change.event_type}: {change.files} promises less than {change.registry}: say why"
        )


async def _create(tenant_id: int, name: str, said: TypeSettings, actor: str) -> int:
    event_type_id = await insert_event_type(tenant_id, name, said)
    await set_settings_in_files(tenant_id, event_type_id, said)
    await record_change(
        tenant_id,
        actor=actor,
        action="event_type_created",
        subject=name,
        after=msgspec.structs.asdict(said),
    )
    return event_type_id


async def _take_over(
    tenant_id: int,
    name: str,
    held: StoredType,
    said: TypeSettings,
    plan: Plan,
    has_new: bool,
    actor: str,
) -> int:
    """Settings that the files changed, and only those."""
    changes = {d.setting: d.files for d in plan.setting_changes if d.event_type == name}
    if said != held.settings_in_files:
        await set_settings_in_files(tenant_id, held.event_type_id, said)
    if changes or has_new:
        await update_event_type(tenant_id, held.event_type_id, changes)
        await raise_draft_revisions(tenant_id, held.event_type_id)
    if changes:
        await record_change(
            tenant_id,
            actor=actor,
            action="event_type_described",
            subject=name,
            before={setting: getattr(held.settings, setting) for setting in changes},
            after=changes,
        )
    return held.event_type_id


async def _publish(
    tenant_id: int,
    event_type_id: int,
    version: NewVersion,
    actor: str,
    reason: str | None,
    grace_until: datetime | None,
) -> None:
    forced = bool(version.breakages)
    await queries.insert_version(
        tenant_id,
        event_type_id,
        version.version,
        version.document,
        version.checksum,
        actor,
        reason=reason if forced else None,
        forced=forced,
    )
    if forced and grace_until is not None:
        await queries.set_grace(tenant_id, event_type_id, version.version - 1, grace_until)
    await record_change(
        tenant_id,
        actor=actor,
        action="version_forced" if forced else "version_published",
        subject=f"{version.event_type}/{version.version}",
        reason=reason if forced else None,
        before=version.before,
        after=version.document,
    )


async def pull_files(tenant_id: int) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Every published version by event type and number, for writing it to files.

    The newest document of each says of its type what is true now.
    """
    async with transaction() as connection:
        stored = await queries.read_stored_types(connection, tenant_id)
    pulled: dict[str, dict[int, Mapping[str, Any]]] = {}
    for name, held in stored.items():
        if held.versions:
            pulled[name] = {version.version: version.document for version in held.versions}
            newest = held.versions[-1]
            pulled[name][newest.version] = with_settings(newest.document, held.settings)
    return pulled
