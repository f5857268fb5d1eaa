"""Monthly partitions of what grows with time: made ahead, dropped by retention.

The key ledger is never partitioned: keys outlive events (contract row 8).
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from app import clock
from app.db.failures import LOCKED_OUT
from app.db.locks import wait_briefly
from app.db.pool import Connection

PARTITIONED_TABLES = ("event", "delivery")

_ONE_AT_A_TIME = 0x636471


def month_starts(first: datetime, count: int) -> list[datetime]:
    """The first instants of `count` months, beginning with the month of `first`."""
    months = first.year * 12 + first.month - 1
    return [
        datetime((months + i) // 12, (months + i) % 12 + 1, 1, tzinfo=UTC) for i in range(count)
    ]


async def make_partitions(connection: Connection, months_ahead: int) -> list[str]:
    """Make the partitions of this month and of the next ones that are not there yet.

    returns  the names of those made now; a table that somebody reads for long has its turn later
    """
    made = []
    starts = month_starts(clock.now(), months_ahead + 2)
    for table in PARTITIONED_TABLES:
        there = set(await partition_names(connection, table))
        for start, end in itertools.pairwise(starts):
            name = f"{table}_{start:%Y_%m}"
            if name in there:
                continue
            if not await _execute_alone(
                connection,
                f"create table if not exists {name} partition of {table}"
                f" for values from ('{start.isoformat()}') to ('{end.isoformat()}')",
            ):
                break
            made.append(name)
    return made


async def drop_partitions(connection: Connection, retention_days: int) -> list[str]:
    """Drop the partitions whose every row is older than the retention; the ledger stays.

    returns  the names of those dropped now; a table that somebody reads for long has its turn
             later. retention_days 0 keeps everything.
    """
    if retention_days == 0:
        return []
    limit = clock.now() - timedelta(days=retention_days)
    dropped = []
    for table in PARTITIONED_TABLES:
        for name in await partition_names(connection, table):
            year, month = map(int, name.removeprefix(f"{table}_").split("_"))
            if month_starts(datetime(year, month, 1, tzinfo=UTC), 2)[1] > limit:
                break
            if not await _execute_alone(connection, f"drop table if exists {name}"):
                break
            dropped.append(name)
    return dropped


async def _execute_alone(connection: Connection, ddl: str) -> bool:
    """One statement a transaction, so that no two tables are locked; False: it is in use."""
    try:
        async with connection.transaction():
            await connection.execute(f"select pg_advisory_xact_lock({_ONE_AT_A_TIME})")
            await wait_briefly(connection)
            await connection.execute(ddl)
    except LOCKED_OUT:
        return False
    return True


async def first_month(connection: Connection, table: str) -> datetime | None:
    """When the oldest partition that is still there begins; None: there is none."""
    names = await partition_names(connection, table)
    if not names:
        return None
    year, month = map(int, names[0].removeprefix(f"{table}_").split("_"))
    return datetime(year, month, 1, tzinfo=UTC)


async def partition_names(connection: Connection, table: str) -> list[str]:
    """The partitions of a table, oldest first."""
    rows = await connection.fetch(
        "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = $1::text::regclass order by c.relname",
        table,
    )
    return [row["relname"] for row in rows]
