"""Writes and reads events. Never decides whether one may be written: the ledger does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from app import ids
from app.db.pool import Connection
from app.db.sql import load_statements
from app.identity.identifiers import Identity
from app.ingest.event import Event

SQL = load_statements(__file__)


class NewEvent(msgspec.Struct, frozen=True):
    event: Event
    source_id: int
    api_key_id: int
    profile_id: bytes
    occurred_at: datetime
    """As sent, or what stands in for it."""


class Stored(msgspec.Struct, frozen=True):
    """The content of an event that was accepted before."""

    event_type: str
    occurred_at: datetime | None
    identity: Identity
    properties: bytes
    stripped: frozenset[str]
    """JSON Pointers of the unknown properties that were left out."""


_COLUMNS = (
    "bucket",
    "event_key",
    "received_at",
    "tenant_id",
    "source_id",
    "event_type_id",
    "version_id",
    "api_key_id",
    "external_event_id",
    "occurred_at",
    "occurred_at_sent",
    "profile_id",
    "size_bytes",
    "identity",
    "properties",
    "warnings",
)


async def insert_events(
    connection: Connection, tenant_id: int, rows: Sequence[NewEvent], received_at: datetime
) -> None:
    """Write events whose keys are ours. COPY: a third cheaper than INSERT of arrays (measured)."""
    await connection.copy_records_to_table(
        "event",
        columns=_COLUMNS,
        records=[
            (
                ids.bucket_of(event.event_id),
                event.event_id,
                received_at,
                tenant_id,
                row.source_id,
                event.event_type_id,
                event.version_id,
                row.api_key_id,
                event.external_event_id,
                row.occurred_at,
                event.occurred_at is not None,
                row.profile_id,
                event.size_bytes,
                event.identity,
                event.properties,
                msgspec.json.encode(event.warnings) if event.warnings else None,
            )
            for row in rows
            for event in (row.event,)
        ],
    )


async def read_contents(
    connection: Connection, tenant_id: int, received_at_by_event_id: Mapping[bytes, datetime]
) -> dict[bytes, Stored]:
    """The content of accepted events; those that retention or erasure removed are absent."""
    keys = list(received_at_by_event_id)
    rows = await connection.fetch(
        SQL["read_contents"],
        tenant_id,
        [ids.bucket_of(key) for key in keys],
        keys,
        [received_at_by_event_id[key] for key in keys],
    )
    return {
        row["event_key"]: Stored(
            event_type=row["event_type"],
            occurred_at=row["occurred_at"] if row["occurred_at_sent"] else None,
            identity=msgspec.json.decode(row["identity"], type=Identity),
            properties=row["properties"].encode(),
            stripped=frozenset(
                warning["path"]
                for warning in msgspec.json.decode(row["warnings"] or "[]")
                if warning["code"] == "property_stripped"
            ),
        )
        for row in rows
    }
