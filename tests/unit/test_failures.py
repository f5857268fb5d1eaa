"""What an error of the driver means to a flush, and to those who read."""

from __future__ import annotations

import asyncpg
import pytest

from app.db.failures import Failure, failure_of, is_transient

REFUSED = asyncpg.CheckViolationError("a value")
REFUSED.constraint_name = "event_size"


@pytest.mark.parametrize(
    ("error", "failure", "transient"),
    [
        (asyncpg.DeadlockDetectedError("two"), Failure.RETRY, True),
        (asyncpg.LockNotAvailableError("late"), Failure.AWAY, True),
        (asyncpg.InvalidPasswordError("who"), Failure.AWAY, True),
        (asyncpg.ReadOnlySQLTransactionError("standby"), Failure.AWAY, True),
        (ConnectionRefusedError(), Failure.AWAY, True),
        (asyncpg.InsufficientPrivilegeError("not yours"), Failure.AWAY, False),
        (asyncpg.UndefinedTableError("where"), Failure.AWAY, False),
        (asyncpg.CheckViolationError("no partition"), Failure.AWAY, False),
        (REFUSED, Failure.DATA, False),
        (asyncpg.NumericValueOutOfRangeError("large"), Failure.DATA, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_only_what_is_wrong_with_a_row_is_the_row_s(
    error: Exception, failure: Failure, transient: bool
) -> None:
    """Else its sender would not send it again; a reader asks again only where that may help."""
    assert (failure_of(error), is_transient(error)) == (failure, transient)
