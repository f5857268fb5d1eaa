"""Before which moment everything that was received is committed.

A flush takes its time of receipt after BEGIN, so it is no earlier than its transaction; and
Postgres shows the transactions of all connections of one role. Those that only read have another
name (`pool.READING_SETTINGS`): a dashboard's statement, or a dump of hours, is no flush.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from app import clock
from app.db.pool import WRITING_NAME, Connection

_HORIZON = """
select least(clock_timestamp(), min(a.xact_start)) - $1::interval
from pg_stat_activity a
where a.datname = current_database() and a.application_name = $2 and a.pid <> pg_backend_pid()
"""


async def read_horizon(connection: Connection, skew: timedelta = clock.SKEW) -> datetime:
    """Nothing that was, or will be, received before this moment can be committed after this call.

    Once a transaction: within one, Postgres shows the same moment again.
    """
    horizon: datetime = await connection.fetchval(_HORIZON, skew, WRITING_NAME)
    return horizon
