"""Exchanges rate counters between workers, through Postgres."""

from __future__ import annotations

from collections.abc import Mapping

from app.access.queries import SQL
from app.db.pool import Connection


async def exchange_usage(
    connection: Connection, writer: bytes, minute: int, own: Mapping[str, int]
) -> dict[str, int]:
    """Tell what this worker let through in the minute; learn what all others did."""
    subjects = sorted(own)
    await connection.execute(
        SQL["report_usage"], minute, writer, subjects, [own[subject] for subject in subjects]
    )
    rows = await connection.fetch(SQL["read_usage"], minute, writer, subjects)
    return {row["subject"]: row["events"] for row in rows}


async def forget_usage(connection: Connection, before_minute: int) -> None:
    await connection.execute(SQL["forget_usage"], before_minute)
