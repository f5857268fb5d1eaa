"""Impact runs in the database, and what they read. Never judges."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from app import ids
from app.access.keys import Principal, TenantSettings
from app.db.pool import Connection
from app.db.sql import load_statements
from app.impact.run import Asked, Cursor, Run, Stage, State, first_cursor
from app.impact.tally import Tally
from app.registry.catalog import PublishedVersion

SQL = load_statements(__file__)


class StoredEvent(msgspec.Struct, frozen=True):
    """What is judged of an accepted event."""

    event_key: bytes
    occurred_at: datetime
    source: str
    properties: bytes
    was_stripped: bool

    @property
    def cursor(self) -> Cursor:
        return self.occurred_at, self.event_key


class StoredRefusal(msgspec.Struct, frozen=True):
    """What is judged of a quarantined item."""

    quarantine_id: bytes
    received_at: datetime
    source: str | None
    api_key_id: int
    payload: bytes | None
    is_open: bool
    """Neither replayed nor discarded: what was replayed is an event by now."""

    @property
    def cursor(self) -> Cursor:
        return self.received_at, self.quarantine_id


async def insert_run(
    connection: Connection,
    tenant_id: int,
    asked: Asked,
    *,
    event_type_id: int | None,
    version_ids: Sequence[int],
    requested_by: str,
    requested_at: datetime,
    max_active: int,
) -> Run | None:
    """Queue a run; None when the tenant has `max_active` of them under way."""
    row = await connection.fetchrow(
        SQL["insert_run"],
        ids.new_id(),
        tenant_id,
        asked.event_type,
        event_type_id,
        list(version_ids),
        msgspec.json.encode(asked.document),
        asked.last_days,
        asked.max_events,
        requested_by,
        requested_at,
        *first_cursor(Stage.EVENTS, requested_at),
        msgspec.json.encode(Tally()),
        max_active,
    )
    return _run(row) if row else None


async def find_run(connection: Connection, tenant_id: int, run_id: bytes) -> Run | None:
    row = await connection.fetchrow(SQL["find_run"], tenant_id, run_id)
    return _run(row) if row else None


async def list_runs(
    connection: Connection, tenant_id: int, event_type: str, *, before: Cursor, limit: int
) -> list[Run]:
    """One page, newest first. before: (requested_at, run_id) of the last row of the page before."""
    rows = await connection.fetch(SQL["list_runs"], tenant_id, event_type, *before, limit)
    return [_run(row) for row in rows]


async def cancel_run(connection: Connection, tenant_id: int, run_id: bytes, now: datetime) -> None:
    """End it as it is; one that has ended already stays what it is."""
    await connection.execute(SQL["cancel_run"], tenant_id, run_id, now)


async def claim_run(
    connection: Connection, now: datetime, until: datetime, max_attempts: int
) -> Run | None:
    """The next run in turn, whosever it is; it is the caller's until then. None: all is done."""
    row = await connection.fetchrow(SQL["claim_run"], now, until, max_attempts)
    return _run(row) if row else None


async def save_run(connection: Connection, run: Run, claim: datetime) -> bool:
    """Keep how far it has come. False when the claim is lost: it is as if nothing was judged."""
    status = await connection.execute(
        SQL["save_run"],
        run.tenant_id,
        run.run_id,
        claim,
        run.total,
        run.stage,
        *run.cursor,
        msgspec.json.encode(run.tally),
        run.finished_at,
        run.claimed_until,
    )
    return str(status) == "UPDATE 1"


async def count_items(connection: Connection, run: Run) -> int:
    """About how many rows there are to judge. cost: an index entry each."""
    found = await connection.fetchval(
        SQL["count_items"],
        run.tenant_id,
        run.event_type_id,
        run.asked.event_type,
        run.since,
        run.asked.max_events,
    )
    return int(found)


async def read_events(
    connection: Connection, run: Run, limit: int, max_bytes: int
) -> list[StoredEvent]:
    """The next events of the run's type: at most so many, and one more than so many bytes."""
    rows = await connection.fetch(
        SQL["read_events"],
        run.tenant_id,
        run.event_type_id,
        *run.cursor,
        run.since,
        run.requested_at,
        limit,
        max_bytes,
    )
    return [
        StoredEvent(
            row["event_key"],
            row["occurred_at"],
            row["source"],
            row["properties"].encode(),
            row["was_stripped"],
        )
        for row in rows
    ]


async def read_quarantined(
    connection: Connection, run: Run, limit: int, max_bytes: int
) -> list[StoredRefusal]:
    """The next quarantined items of the run's type, in the same bounds."""
    rows = await connection.fetch(
        SQL["read_quarantined"],
        run.tenant_id,
        run.asked.event_type,
        *run.cursor,
        run.since,
        run.requested_at,
        limit,
        max_bytes,
    )
    return [StoredRefusal(**row) for row in rows]


async def read_documents(
    connection: Connection, tenant_id: int, version_ids: Sequence[int]
) -> list[PublishedVersion]:
    """These versions, newest first; each as one that is accepted."""
    rows = await connection.fetch(SQL["read_documents"], tenant_id, list(version_ids))
    return [PublishedVersion(row["id"], row["version"], row["document"], None) for row in rows]


async def read_writers(connection: Connection, tenant_id: int) -> dict[int, Principal]:
    """Who may have delivered what is stored, by key id, with limits to judge by and no secret."""
    return {
        row["id"]: Principal(
            key_id=row["id"],
            public_id=row["public_id"],
            name=row["name"],
            secret_hash=b"",
            tenant=TenantSettings(
                tenant_id=tenant_id,
                name=row["tenant_name"],
                hash_key=row["hash_key"],
                quarantine_days=row["quarantine_days"],
                events_per_minute=None,
                max_sources=row["max_sources"],
            ),
            scopes=frozenset(),
            sources=frozenset(row["sources"]) if row["sources"] else None,
            event_types=frozenset(row["event_types"]) if row["event_types"] else None,
            events_per_minute=None,
            expires_at=None,
        )
        for row in await connection.fetch(SQL["read_writers"], tenant_id)
    }


async def delete_runs(connection: Connection, before: datetime) -> int:
    """Delete runs that were asked for before then and have ended; returns how many."""
    return int((await connection.execute(SQL["delete_runs"], before)).split()[-1])


def _run(row: Any) -> Run:
    return Run(
        run_id=row["run_id"],
        tenant_id=row["tenant_id"],
        asked=Asked(
            event_type=row["event_type"],
            document=msgspec.json.decode(row["document"]),
            last_days=row["last_days"],
            max_events=row["max_events"],
        ),
        event_type_id=row["event_type_id"],
        version_ids=row["version_ids"],
        requested_by=row["requested_by"],
        requested_at=row["requested_at"],
        state=State(row["state"]),
        stage=Stage(row["stage"]),
        cursor=(row["cursor_at"], row["cursor_id"]),
        total=row["total"],
        tally=msgspec.json.decode(row["result"], type=Tally),
        claimed_until=row["claimed_until"],
        finished_at=row["finished_at"],
    )
