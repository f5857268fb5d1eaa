"""The one place that reads the driver's exceptions: what a failure means for the caller."""

from __future__ import annotations

from enum import Enum, auto

import asyncpg


class Failure(Enum):
    RETRY = auto()
    """Rolled back because of others (deadlock, serialisation): the same again may pass."""
    AWAY = auto()
    """Postgres cannot be reached, did not answer in time, or would take no row as it is."""
    DATA = auto()
    """Something in the rows themselves."""


_RETRY = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InternalClientError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)

LOCKED_OUT = asyncpg.LockNotAvailableError
"""A lock was not to be had within `lock_timeout`."""
DRIVER_ERRORS: tuple[type[Exception], ...] = (asyncpg.PostgresError, *_AWAY)
"""Everything that a statement or an acquire can raise."""


def failure_of(error: BaseException) -> Failure:
    """What this driver error means. Never reads a message or a constraint's name."""
    if isinstance(error, _RETRY):
        return Failure.RETRY
    if isinstance(error, asyncpg.DataError):
        return Failure.DATA
    # A row for which there is no partition yet violates no constraint that has a name.
    if isinstance(error, asyncpg.IntegrityConstraintViolationError) and error.constraint_name:
        return Failure.DATA
    return Failure.AWAY


def is_transient(error: BaseException | None) -> bool:
    """Whether it is said of Postgres or of others, and not of the statement: it may pass later."""
    return isinstance(error, (*_RETRY, *_AWAY))


def is_read_only(error: BaseException) -> bool:
    """Whether the server takes no writes: a standby, or what was the primary before a failover."""
    return isinstance(error, asyncpg.ReadOnlySQLTransactionError)


def is_too_slow(error: BaseException | None) -> bool:
    """Whether a statement was ended because it took longer than it may."""
    return isinstance(error, (asyncpg.QueryCanceledError, TimeoutError))


def is_missing_table(error: BaseException | None) -> bool:
    """Whether a table that a statement names is gone."""
    return isinstance(error, asyncpg.UndefinedTableError)


def is_unusable_value(error: BaseException | None) -> bool:
    """Whether a value that was passed cannot be one: NUL in a text, a number too large."""
    return isinstance(error, asyncpg.DataError)
