"""The audit trail of keys, sources and registry. Never writes it: `app.db.audit` does."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from app.db.pool import Connection
from app.db.sql import load_statements

SQL = load_statements(__file__)


class ChangeRow(msgspec.Struct, frozen=True):
    change_id: int
    changed_at: datetime
    actor: str
    action: str
    subject: str
    reason: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


async def list_changes(
    connection: Connection,
    tenant_id: int,
    *,
    before: tuple[datetime, int],
    since: datetime,
    until: datetime,
    subject: str | None,
    action: str | None,
    actor: str | None,
    with_keys: bool,
    limit: int,
) -> list[ChangeRow]:
    """Newest first, only what matches everything that is given.

    before     (when, id) that the page before ended with
    with_keys  changes of API keys too
    """
    rows = await connection.fetch(
        SQL["list_changes"],
        tenant_id,
        *before,
        since,
        until,
        subject,
        action,
        actor,
        with_keys,
        limit,
    )
    return [_change(row) for row in rows]


def _change(row: Any) -> ChangeRow:
    said = dict(row) | {"before": _decoded(row["before"]), "after": _decoded(row["after"])}
    return ChangeRow(change_id=said.pop("id"), **said)


def _decoded(text: str | None) -> dict[str, Any] | None:
    return None if text is None else msgspec.json.decode(text)
