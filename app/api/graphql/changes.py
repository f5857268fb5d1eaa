"""The audit trail: who changed what, when and why. Nothing can be changed here."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from msgspec import Meta
from strawberry.scalars import JSON

from app.access.keys import Scope
from app.api.graphql.connection import (
    DEFAULT_FIRST,
    After,
    Connection,
    First,
    checked_first,
    decode_cursor,
    encode_cursor,
    page,
    refuse_argument,
)
from app.api.graphql.context import Info
from app.api.graphql.permissions import needs
from app.api.graphql.positions import TimeWindow, window_of
from app.db.scan import EVER
from app.registry.audit.queries import ChangeRow, list_changes
from app.registry.governance.queries import MAX_BIGINT
from app.registry.spec import is_storable

_Moment = Annotated[datetime, Meta(tz=True)]
_Number = Annotated[int, Meta(ge=0, le=MAX_BIGINT)]


@strawberry.type(description="One change, as it was written down when it was made.")
class Change:
    number: strawberry.Private[int]

    at: datetime = strawberry.field(description="When it was made.")
    actor: str = strawberry.field(description='Public id of the key that made it, or "cli".')
    action: str = strawberry.field(description="What was done: version_published, key_revoked, …")
    subject: str = strawberry.field(
        description="To what: purchase_completed, purchase_completed/2,"
        " purchase_completed/draft/7, source brand.pos, key abcdefghij."
    )
    reason: str | None = strawberry.field(description="Why.")
    before: JSON | None = strawberry.field(description="What was there; null: nothing was.")
    after: JSON | None = strawberry.field(description="What is there instead; null: nothing is.")


@strawberry.input(description="Only changes that match everything that is given.")
class ChangesFilter:
    subject: str | None = strawberry.field(
        default=None,
        description="To this and to what is below it: an event type includes its versions and"
        " drafts.",
    )
    action: str | None = strawberry.field(default=None, description="Of this kind.")
    actor: str | None = strawberry.field(
        default=None, description='Made by the key with this public id, or by "cli".'
    )
    window: TimeWindow | None = strawberry.field(default=None, description="Made in this time.")


@strawberry.type
class ChangesQuery:
    @strawberry.field(
        description="Every change of event types, versions, drafts and sources, newest first; of"
        " API keys too for those who may administer them.",
        permission_classes=[needs(Scope.SCHEMA_READ)],
    )
    async def changes(
        self,
        info: Info,
        filter: Annotated[
            ChangesFilter | None, strawberry.argument(description="What to look for.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> Connection[Change]:
        filter = filter or ChangesFilter()
        for text in (filter.subject, filter.action, filter.actor):
            if text is not None and not is_storable(text):
                raise refuse_argument("a text holds NUL or half of a surrogate pair")
        window = window_of(filter.window, "filter.window")
        behind = (EVER.end, MAX_BIGINT)
        if after is not None:
            behind = decode_cursor(after, tuple[_Moment, _Number])
            if not EVER.start <= behind[0] <= EVER.end:
                raise refuse_argument("after is not a cursor of this list")
        async with info.context.pool.acquire() as connection:
            rows = await list_changes(
                connection,
                info.context.tenant_id,
                before=behind,
                since=window.start,
                until=window.end,
                subject=filter.subject,
                action=filter.action,
                actor=filter.actor,
                with_keys=info.context.principal.may(Scope.KEYS_ADMIN),
                limit=checked_first(first) + 1,
            )
        return page([_change(row) for row in rows], first, _cursor, after=after)


def _cursor(change: Change) -> str:
    return encode_cursor(change.at, change.number)


def _change(row: ChangeRow) -> Change:
    return Change(
        number=row.change_id,
        at=row.changed_at,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        reason=row.reason,
        before=JSON(row.before) if row.before is not None else None,
        after=JSON(row.after) if row.after is not None else None,
    )
