"""Quarantine: what was refused and why, what it has in common, and what can be done about it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from app import clock, ids
from app.access.keys import Scope
from app.api.graphql.connection import (
    DEFAULT_FIRST,
    After,
    Connection,
    First,
    checked_first,
    page,
)
from app.api.graphql.context import Info
from app.api.graphql.permissions import needs
from app.api.graphql.positions import cursor_of, position_of
from app.api.graphql.quarantine_types import (
    QuarantinedItem,
    QuarantineFilter,
    QuarantineGroups,
    QuarantineState,
    group_of,
    item_of,
    which_of,
)
from app.api.graphql.refusals import Invalid, NotFound, NotPermitted, invalid, key_limited
from app.api.graphql.replays import QuarantineReplay, replay_of
from app.api.graphql.scalars import Number
from app.db.scan import EVER, SCANNED_ROWS, Position, newest
from app.quarantine import discarding, reading
from app.quarantine.filter import ItemState
from app.quarantine.reading import MAX_GROUPED
from app.replay import queries as replays

MAX_IDS = 200


@strawberry.type(description="A replay is under way; ask for it again to see it advance.")
class ReplayStarted:
    replay: QuarantineReplay = strawberry.field(description="The replay.")


@strawberry.type(description="The replay has ended, now or before.")
class ReplayStopped:
    replay: QuarantineReplay = strawberry.field(description="The replay, as far as it came.")


@strawberry.type(description="What was sent is gone; that it was refused stays on record.")
class QuarantineDiscarded:
    items: int = strawberry.field(description="How many open items were discarded.")
    is_complete: bool = strawberry.field(
        description="False when there may be more: ask again from `scannedUntil`."
    )
    scanned_until: datetime | None = strawberry.field(
        description="The next `filter.received.since`; null when every open item was looked at."
    )


ReplayQuarantineResult = Annotated[
    ReplayStarted | NotPermitted, strawberry.union("ReplayQuarantineResult")
]
StopReplayResult = Annotated[
    ReplayStopped | NotFound | NotPermitted, strawberry.union("StopReplayResult")
]
DiscardQuarantineResult = Annotated[
    QuarantineDiscarded | Invalid | NotPermitted, strawberry.union("DiscardQuarantineResult")
]

_READERS = [needs(Scope.EVENTS_READ)]
_WRITERS = [needs(Scope.EVENTS_WRITE)]
_KEEPERS = [needs(Scope.EVENTS_WRITE), needs(Scope.EVENTS_READ)]
"""Of the whole tenant's items; a key that is limited is refused as well."""
_Filter = Annotated[QuarantineFilter | None, strawberry.argument(description="Which items.")]
_ReplayId = Annotated[strawberry.ID, strawberry.argument(description="`rpl_…`")]


@strawberry.type
class QuarantineQuery:
    @strawberry.field(
        description="Refused items, newest first. A page looks at"
        f" {SCANNED_ROWS:,} items: while `hasNextPage` is true there is more behind `endCursor`,"
        " even if the page is short.",
        permission_classes=_READERS,
    )
    async def quarantine(
        self,
        info: Info,
        filter: _Filter = None,
        state: Annotated[
            QuarantineState | None,
            strawberry.argument(description="What became of them; null: whatever did."),
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> Connection[QuarantinedItem]:
        count = checked_first(first)
        async with info.context.pool.acquire() as connection:
            found, resume = await reading.find_page(
                connection,
                info.context.tenant_id,
                which_of(filter),
                state=ItemState[state.name] if state else None,
                first=count,
                after=position_of(after),
            )
        return page(
            [item_of(entry) for entry in found],
            count,
            _cursor,
            after=after,
            resume=cursor_of(resume) if resume else None,
        )

    @strawberry.field(description="One refused item.", permission_classes=_READERS)
    async def quarantined_item(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="`qrn_…`")],
    ) -> QuarantinedItem | None:
        quarantine_id = ids.decode(ids.QUARANTINE_PREFIX, id)
        if quarantine_id is None:
            return None
        async with info.context.pool.acquire() as connection:
            found = await reading.find_item(connection, info.context.tenant_id, quarantine_id)
        return item_of(found) if found else None

    @strawberry.field(
        description="Open items by first reason, path, source and event type.",
        permission_classes=_READERS,
    )
    async def quarantine_groups(
        self, info: Info, filter: _Filter = None, first: First = DEFAULT_FIRST
    ) -> QuarantineGroups:
        async with info.context.pool.acquire() as connection:
            groups, items = await reading.list_groups(
                connection, info.context.tenant_id, which_of(filter), checked_first(first)
            )
        return QuarantineGroups(
            groups=[group_of(group) for group in groups],
            items=Number(items),
            is_complete=items < MAX_GROUPED,
        )

    @strawberry.field(description="Replays, newest first.", permission_classes=_READERS)
    async def quarantine_replays(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None
    ) -> Connection[QuarantineReplay]:
        count = checked_first(first)
        before = newest(EVER, position_of(after))
        async with info.context.pool.acquire() as connection:
            found = await replays.list_replays(
                connection, info.context.tenant_id, before, count + 1
            )
        return page([replay_of(one) for one in found], count, _replay_cursor, after=after)

    @strawberry.field(description="One replay, as far as it has come.", permission_classes=_READERS)
    async def quarantine_replay(self, info: Info, id: _ReplayId) -> QuarantineReplay | None:
        return await _replay(info, id)


@strawberry.type
class QuarantineMutation:
    @strawberry.mutation(
        description="Judge open items again under today's registry, and deliver those that pass,"
        " each under its own key: a second replay finds duplicates only. The key that asks must be"
        " allowed to deliver them. What was refused as forbidden is left alone, unless the filter"
        " names that `errorCode`: whoever sent it was not allowed to.",
        permission_classes=_WRITERS,
    )
    async def replay_quarantine(
        self,
        info: Info,
        dry_run: Annotated[
            bool,
            strawberry.argument(
                description="Only count what would become of them. Nothing is written, so of a fact"
                " that was refused twice, both may count as accepted."
            ),
        ],
        filter: _Filter = None,
    ) -> ReplayQuarantineResult:
        async with info.context.pool.acquire() as connection:
            replay_id = await replays.start_replay(
                connection,
                info.context.tenant_id,
                public_id=info.context.principal.public_id,
                which=which_of(filter),
                dry_run=dry_run,
                now=clock.now(),
            )
        if replay_id is None:
            return _under_way()
        started = await _replay(info, ids.encode(ids.REPLAY_PREFIX, replay_id))
        assert started is not None
        return ReplayStarted(replay=started)

    @strawberry.mutation(
        description="Stop a replay after the step it is at. What was delivered stays. Not with a"
        " key that is limited to sources or event types.",
        permission_classes=_KEEPERS,
    )
    async def stop_quarantine_replay(self, info: Info, id: _ReplayId) -> StopReplayResult:
        if info.context.principal.is_limited:
            return key_limited()
        replay_id = ids.decode(ids.REPLAY_PREFIX, id)
        if replay_id is not None:
            async with info.context.pool.acquire() as connection:
                await replays.finish(
                    connection,
                    info.context.tenant_id,
                    replay_id,
                    replays.STOPPED,
                    clock.now(),
                    "asked_for",
                )
        found = await _replay(info, id)
        return ReplayStopped(replay=found) if found else NotFound(message="no such replay")

    @strawberry.mutation(
        description="Give open items up: what was sent is dropped. On record in the audit trail."
        f" A filter looks at {SCANNED_ROWS:,} open items at once, oldest first. Not while a replay"
        " is under way, and not with a key that is limited to sources or event types.",
        permission_classes=_KEEPERS,
    )
    async def discard_quarantine(
        self,
        info: Info,
        ids_: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(name="ids", description=f"Up to {MAX_IDS} items; or a filter."),
        ] = None,
        filter: _Filter = None,
    ) -> DiscardQuarantineResult:
        if (ids_ is None) == (filter is None):
            return invalid("", "either_or", "give ids or a filter")
        if info.context.principal.is_limited:
            return key_limited()
        actor, tenant_id = info.context.principal.public_id, info.context.tenant_id
        async with info.context.pool.acquire() as connection:
            if await replays.is_under_way(connection, tenant_id):
                return _under_way()
        if ids_ is None:
            done = await discarding.discard_matching(tenant_id, which_of(filter), actor=actor)
        elif len(ids_) > MAX_IDS:
            return invalid("/ids", "length", f"{MAX_IDS} at most")
        else:
            decoded = (ids.decode(ids.QUARANTINE_PREFIX, text) for text in set(ids_))
            items = [item for item in decoded if item is not None]
            done = await discarding.discard_items(tenant_id, items, actor=actor)
        return QuarantineDiscarded(
            items=done.items,
            is_complete=done.scanned_until is None,
            scanned_until=done.scanned_until,
        )


async def _replay(info: Info, text: str) -> QuarantineReplay | None:
    replay_id = ids.decode(ids.REPLAY_PREFIX, text)
    if replay_id is None:
        return None
    async with info.context.pool.acquire() as connection:
        found = await replays.find_replay(connection, info.context.tenant_id, replay_id)
    return replay_of(found) if found else None


def _under_way() -> NotPermitted:
    message = "a replay is under way: wait for it, or stop it"
    return NotPermitted(message=message, reason="replay_under_way")


def _cursor(item: QuarantinedItem) -> str:
    return cursor_of(Position(item.received_at, item.entry.quarantine_id))


def _replay_cursor(replay: QuarantineReplay) -> str:
    return cursor_of(Position(replay.started_at, replay.replay_id))
