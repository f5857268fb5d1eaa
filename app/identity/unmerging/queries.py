"""Reads a person and takes it apart. Never decides who goes where: `separation.py` does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

import msgspec

from app import ids
from app.db import locks
from app.db.pool import Connection
from app.db.sql import load_statements
from app.identity import queries as identities
from app.identity.identifiers import Identity, Kind, identifiers_of
from app.identity.resolution import Keyed, Link
from app.identity.unmerging.separation import Edge, Member, PastEvent, Sides

SQL = load_statements(__file__)


_IDENTITY = msgspec.json.Decoder(Identity)


async def limit_time(connection: Connection, wait_seconds: float, statement_seconds: float) -> None:
    """From here on the transaction raises the driver's error for what takes longer."""
    limits = (f"{int(seconds * 1000)}" for seconds in (wait_seconds, statement_seconds))
    await connection.execute(SQL["limit_time"], *limits)


async def hold_graph(connection: Connection, tenant_id: int) -> None:
    """Keep all flushes of the tenant out until the transaction ends."""
    await connection.execute(SQL["hold_graph"], *locks.identity_graph(tenant_id))


async def find_root(connection: Connection, tenant_id: int, profile_id: bytes) -> bytes | None:
    """The profile that this one leads to: itself, unless it is merged; None: there is none."""
    rows = await connection.fetch(
        identities.SQL["read_profiles"], tenant_id, [ids.bucket_of(profile_id)], [profile_id]
    )
    return rows[0]["root_id"] if rows else None


async def read_members(connection: Connection, tenant_id: int, root_id: bytes) -> list[Member]:
    rows = await connection.fetch(SQL["read_members"], tenant_id, ids.bucket_of(root_id), root_id)
    return [Member(row[0], row[1], frozenset(row[2] or ())) for row in rows]


async def read_edges(
    connection: Connection, tenant_id: int, merged_ids: Collection[bytes]
) -> list[Edge]:
    rows = await connection.fetch(SQL["read_edges"], tenant_id, list(merged_ids))
    return [Edge(*row) for row in rows]


async def read_links(
    connection: Connection, tenant_id: int, profile_ids: Collection[bytes], limit: int
) -> list[Link]:
    rows = await connection.fetch(SQL["read_links_to"], tenant_id, list(profile_ids), limit)
    return [Link(Keyed(row[0], Kind(row[1]), row[2]), row[3], row[4]) for row in rows]


async def count_events_since(
    connection: Connection, tenant_id: int, since: Mapping[bytes, datetime], limit: int
) -> int:
    """How many events these profiles got, each since its time; at most `limit`."""
    found: int = await connection.fetchval(
        SQL["count_events_since"], tenant_id, list(since), list(since.values()), limit
    )
    return found


async def read_events_since(
    connection: Connection,
    tenant_id: int,
    hash_key: bytes,
    since: Mapping[bytes, datetime],
    limit: int,
) -> list[PastEvent]:
    rows = await connection.fetch(
        SQL["read_events_since"], tenant_id, list(since), list(since.values()), limit
    )
    return [
        PastEvent(
            row["event_key"],
            row["received_at"],
            row["event_type_id"],
            row["profile_id"],
            identities.keyed(
                hash_key,
                identifiers_of(
                    _IDENTITY.decode(row["identity"]), row["default_phone_region"]
                ).identifiers,
            ),
        )
        for row in rows
    ]


async def split_person(
    connection: Connection,
    tenant_id: int,
    sides: Sides,
    staying: Collection[Member],
    leaving: Collection[Member],
    root_id: bytes,
) -> None:
    """Give each member its root, and what was said about it."""
    await connection.executemany(
        SQL["separate_member"],
        [
            (tenant_id, ids.bucket_of(member.profile_id), member.profile_id, root, sorted(tokens))
            for root, members in ((root_id, staying), (sides.edge.merged_id, leaving))
            for member in members
            for tokens in (member.set_apart,)
        ],
    )


async def undo_merge(
    connection: Connection, tenant_id: int, edge: Edge, now: datetime, actor: str
) -> None:
    await connection.execute(
        SQL["undo_merge"], tenant_id, ids.bucket_of(edge.survivor_id), edge.merge_id, now, actor
    )


async def move_links(
    connection: Connection, tenant_id: int, links: Iterable[Link], profile_id: bytes
) -> None:
    await connection.executemany(
        SQL["move_link"],
        [
            (tenant_id, ids.bucket_of(link.identifier.key), link.identifier.key, profile_id)
            for link in links
        ],
    )


async def move_events(
    connection: Connection, tenant_id: int, events: Iterable[PastEvent], profile_id: bytes
) -> None:
    await connection.executemany(
        SQL["move_event"],
        [
            (tenant_id, ids.bucket_of(e.event_id), e.event_id, e.received_at, profile_id)
            for e in events
        ],
    )
