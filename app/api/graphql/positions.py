"""Stretches of time as arguments, and the cursors of lists that are newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import strawberry
from msgspec import Meta

from app.api.graphql.connection import decode_cursor, encode_cursor, refuse_argument
from app.db.scan import EVER, Position, Window
from app.ids import ID_BYTES

_Moment = Annotated[datetime, Meta(tz=True)]
_Key = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]


@strawberry.input(description="A stretch of time; a side that is left out is open.")
class TimeWindow:
    since: datetime | None = strawberry.field(
        default=None, description="The first instant of it, with its offset."
    )
    until: datetime | None = strawberry.field(
        default=None, description="The first instant behind it, with its offset."
    )


def window_of(asked: TimeWindow | None, argument: str) -> Window:
    """raises  GraphQLError BAD_USER_INPUT for a time without an offset"""
    if asked is None:
        return EVER
    start = EVER.start if asked.since is None else _instant(asked.since, f"{argument}.since")
    end = EVER.end if asked.until is None else _instant(asked.until, f"{argument}.until")
    return Window(start, end)


def cursor_of(position: Position, order: str = "") -> str:
    return encode_cursor(order, *position)


def position_of(after: str | None, order: str = "") -> Position | None:
    """The position behind which a page begins; None for the first page.

    order  tells lists apart that can be in several orders
    raises  GraphQLError BAD_USER_INPUT for what is no cursor of this list
    """
    if after is None:
        return None
    made_for, at, key = decode_cursor(after, tuple[str, _Moment, _Key])
    if made_for != order:
        raise refuse_argument("after is a cursor of another order")
    return Position(_instant(at, "after"), key)


def _instant(moment: datetime, argument: str) -> datetime:
    if moment.tzinfo is None:
        raise refuse_argument(f"{argument} needs its UTC offset, as in 2026-05-20T12:45:00Z")
    try:
        instant = moment.astimezone(UTC)
    except OverflowError:
        raise refuse_argument(f"{argument} is out of range") from None
    return min(max(instant, EVER.start), EVER.end)
