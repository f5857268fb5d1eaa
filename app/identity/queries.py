"""Reads and writes identities. Never decides anything: `resolution.py` does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec

from app import ids
from app.db.pool import Connection
from app.db.sql import load_statements
from app.identity.identifiers import Identifier
from app.identity.resolution import Conflict, Keyed, Link, Merge, Plan, Profile

SQL = load_statements(__file__)


_PROFILE_COLUMNS = (
    "bucket",
    "profile_id",
    "tenant_id",
    "root_id",
    "created_at",
    "known",
    "external_key",
)


class LostRace(Exception):
    """Another flush took an identifier or changed a profile since it was read: plan again."""


class Graph(msgspec.Struct, frozen=True):
    """What is known of some identifiers."""

    owner_by_key: dict[bytes, bytes]
    roots: dict[bytes, Profile]


async def read_graph(connection: Connection, tenant_id: int, keys: Collection[bytes]) -> Graph:
    """Links of these identifiers, and their root profiles.

    cost  1 statement when all are new, 2 in general, 3 where a profile was merged.
    """
    rows = await connection.fetch(SQL["read_links"], tenant_id, *_bucketed(keys))
    if not rows:
        return Graph({}, {})
    profile_by_key = {row[0]: row[1] for row in rows}
    root_by_id: dict[bytes, bytes] = {}
    roots: dict[bytes, Profile] = {}
    wanted = set(profile_by_key.values())
    while wanted:
        for row in await connection.fetch(
            SQL["read_profiles"], tenant_id, *_bucketed(sorted(wanted))
        ):
            root_by_id[row["profile_id"]] = row["root_id"]
            if row["root_id"] == row["profile_id"]:
                roots[row["profile_id"]] = _profile(row)
        wanted = set(root_by_id.values()) - root_by_id.keys()
    return Graph({key: _follow(root_by_id, owner) for key, owner in profile_by_key.items()}, roots)


async def write_plan(
    connection: Connection,
    tenant_id: int,
    plan: Plan,
    source_id_by_event_id: Mapping[bytes, int],
    now: datetime,
) -> None:
    """Write what was planned. Locks identifiers, then profiles, each in (bucket, id) order.

    raises  LostRace when what the plan was made on is no longer so; roll back and start again.
    """
    if plan.links:
        await _insert_links(connection, tenant_id, plan.links, source_id_by_event_id, now)
    if plan.new_profiles:
        await connection.copy_records_to_table(
            "profile",
            columns=_PROFILE_COLUMNS,
            records=[
                (
                    ids.bucket_of(p.profile_id),
                    p.profile_id,
                    tenant_id,
                    p.profile_id,
                    p.created_at,
                    p.known,
                    p.external_key,
                )
                for p in plan.new_profiles
            ],
        )
    if plan.changed:
        await _change_profiles(connection, tenant_id, plan, now)
    if plan.conflicts:
        await insert_conflicts(connection, tenant_id, plan.conflicts, now)


async def _insert_links(
    connection: Connection,
    tenant_id: int,
    links: Iterable[Link],
    source_id_by_event_id: Mapping[bytes, int],
    now: datetime,
) -> None:
    links = sorted(links, key=lambda link: link.identifier.key)
    taken = await connection.fetch(
        SQL["insert_identifiers"],
        tenant_id,
        now,
        *_bucketed([link.identifier.key for link in links]),
        [link.identifier.kind for link in links],
        [link.identifier.value for link in links],
        [link.profile_id for link in links],
        [source_id_by_event_id[link.event_id] for link in links],
        [link.event_id for link in links],
    )
    if len(taken) != len(links):
        raise LostRace


async def _change_profiles(
    connection: Connection, tenant_id: int, plan: Plan, now: datetime
) -> None:
    changed = sorted(plan.changed)
    rows = await connection.fetch(SQL["lock_profiles"], tenant_id, *_bucketed(changed))
    locked = {r["profile_id"]: _profile(r) for r in rows if r["root_id"] == r["profile_id"]}
    if any(locked.get(profile_id) != plan.changed[profile_id][0] for profile_id in changed):
        raise LostRace
    if plan.merges:
        await _merge_profiles(connection, tenant_id, plan, now)
    await change_profiles(
        connection,
        tenant_id,
        [after for p, (_, after) in plan.changed.items() if p not in plan.root_by_merged_id],
    )


async def change_profiles(
    connection: Connection, tenant_id: int, profiles: Iterable[Profile]
) -> None:
    """Write what roots have become; their rows are locked already."""
    await connection.executemany(
        SQL["change_profile"],
        [
            (
                tenant_id,
                ids.bucket_of(p.profile_id),
                p.profile_id,
                p.known,
                p.external_key,
                sorted(p.apart) or None,
            )
            for p in profiles
        ],
    )


async def _merge_profiles(
    connection: Connection, tenant_id: int, plan: Plan, now: datetime
) -> None:
    new_root = dict(plan.root_by_merged_id)
    aliases: dict[bytes, list[bytes]] = {merged_id: [] for merged_id in new_root}
    for row in await connection.fetch(SQL["read_aliases"], tenant_id, list(aliases)):
        aliases[row["root_id"]].append(row["profile_id"])
        new_root[row["profile_id"]] = plan.root_by_merged_id[row["root_id"]]
    moved = sorted(new_root)
    await connection.executemany(
        SQL["move_root"], [(tenant_id, ids.bucket_of(p), p, new_root[p]) for p in moved]
    )
    merges = plan.merges
    await connection.execute(
        SQL["insert_merges"],
        tenant_id,
        now,
        [ids.bucket_of(merge.survivor.profile_id) for merge in merges],
        [ids.new_id() for _ in merges],
        [merge.survivor.profile_id for merge in merges],
        [merge.merged.profile_id for merge in merges],
        [merge.event_id for merge in merges],
        [_image(merge, aliases[merge.merged.profile_id]) for merge in merges],
    )


async def insert_conflicts(
    connection: Connection, tenant_id: int, conflicts: Collection[Conflict], now: datetime
) -> None:
    """Record clashes; those of a pair that is on record already add nothing."""
    by_key = {_conflict_key(conflict): conflict for conflict in conflicts}
    keys = sorted(by_key)
    rows = [by_key[key] for key in keys]
    await connection.execute(
        SQL["insert_conflicts"],
        tenant_id,
        now,
        *_bucketed(keys),
        [c.identifier.kind for c in rows],
        [c.identifier.key for c in rows],
        [c.owner_id for c in rows],
        [c.chosen_id for c in rows],
        [c.rule for c in rows],
        [c.event_id for c in rows],
    )


def keyed(hash_key: bytes, identifiers: Iterable[Identifier]) -> list[Keyed]:
    """Identifiers with their keys, in the same order."""
    return [
        Keyed(ids.identifier_key(hash_key, kind, value), kind, value) for kind, value in identifiers
    ]


def _bucketed(keys: Collection[bytes]) -> tuple[list[int], list[bytes]]:
    return [ids.bucket_of(key) for key in keys], list(keys)


def _profile(row: Any) -> Profile:
    return Profile(
        row["profile_id"],
        row["created_at"],
        row["known"],
        row["external_key"],
        frozenset(row["apart"] or ()),
    )


def _follow(root_by_id: Mapping[bytes, bytes], profile_id: bytes) -> bytes:
    while (root := root_by_id[profile_id]) != profile_id:
        profile_id = root
    return profile_id


def _conflict_key(conflict: Conflict) -> bytes:
    return blake2b(
        conflict.identifier.key + conflict.owner_id + conflict.chosen_id,
        digest_size=ids.ID_BYTES,
        person=b"cdp-conflict",
    ).digest()


def _image(merge: Merge, aliases: list[bytes]) -> bytes:
    """Both profiles before the merge, for whoever looks into it later."""

    def one(profile: Profile) -> dict[str, object]:
        return {
            "profile_id": ids.encode(ids.PROFILE_PREFIX, profile.profile_id),
            "created_at": profile.created_at,
            "known": profile.known,
            "external_key": profile.external_key.hex() if profile.external_key else None,
        }

    return msgspec.json.encode(
        {
            "survivor": one(merge.survivor),
            "merged": one(merge.merged),
            "aliases": [ids.encode(ids.PROFILE_PREFIX, alias) for alias in aliases],
        }
    )
