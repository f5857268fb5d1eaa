"""Who still sends an event type."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self

import strawberry

from app import clock
from app.api.graphql.connection import checked_first, refuse_argument
from app.api.graphql.context import Info
from app.api.graphql.registry_loaders import SendersKey
from app.registry.senders.queries import SendingSource

MAX_SENDER_DAYS = 30


@strawberry.type(description="A key that sends an event type.")
class SenderKey:
    id: strawberry.ID = strawberry.field(description="Public id of the key.")
    name: str = strawberry.field(description="What people call it.")
    last_seen_at: datetime = strawberry.field(description="When it last sent one.")


@strawberry.type(description="A source that sends an event type.")
class Sender:
    source: str = strawberry.field(description="Name of the source.")
    events: int = strawberry.field(
        description="How many it delivered, whatever became of them: refused ones count too."
    )
    last_seen_at: datetime = strawberry.field(description="The minute of the last delivery.")
    keys: list[SenderKey] = strawberry.field(
        description="Its keys, among some thousand of the newest events and rejected items: one"
        " that sends rarely can be missing."
    )

    @classmethod
    def of(cls, row: SendingSource) -> Self:
        keys = [
            SenderKey(id=strawberry.ID(key.public_id), name=key.name, last_seen_at=key.last_seen)
            for key in row.keys
        ]
        return cls(source=row.name, events=row.events, last_seen_at=row.last_minute, keys=keys)


async def senders_of(info: Info, event_type_id: int, days: int, first: int) -> list[Sender]:
    """raises  GraphQLError BAD_USER_INPUT"""
    if not 1 <= days <= MAX_SENDER_DAYS:
        raise refuse_argument(f"days must be 1 to {MAX_SENDER_DAYS}")
    today = clock.now().replace(second=0, microsecond=0)
    asked = SendersKey(event_type_id, today - timedelta(days=days), checked_first(first))
    return [Sender.of(row) for row in await info.context.loaders.registry.senders.load(asked)]
