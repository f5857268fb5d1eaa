"""The advisory lock that several domains share, and how long DDL may wait for one.

Two numbers, so that it cannot be one of the locks that have a single number (migrations,
partitions).
"""

from __future__ import annotations

from app.db.pool import Connection

_IDENTITY_GRAPH = 20
"""Decision 20."""
_INT4 = 1 << 31


def identity_graph(tenant_id: int) -> tuple[int, int]:
    """Who belongs to whom in one tenant.

    Shared by whatever reads it to write an event's profile somewhere; exclusive while a merge is
    undone. Taken before anything else is locked, and by a statement before the one that reads: a
    statement's snapshot is older than its wait.
    """
    return _IDENTITY_GRAPH, tenant_id % _INT4


async def wait_briefly(connection: Connection) -> None:
    """For the rest of the transaction: what cannot be locked at once raises LockNotAvailableError.

    For DDL on tables in use. Whoever waits for an exclusive lock, behind a dump say, has all that
    come after wait as well.
    """
    await connection.execute("set local lock_timeout = '300ms'")
