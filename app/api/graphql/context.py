"""What every resolver may use: who asks, and where to look. One for each request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import msgspec
import strawberry

from app.access.keys import Principal
from app.api.graphql.loaders import Loaders
from app.db.pool import Lender
from app.live.outcome import Which
from app.live.subscription import Subscription
from app.settings import Settings

Subscribe = Callable[[Which], AbstractAsyncContextManager[Subscription]]


class Context(msgspec.Struct, frozen=True):
    """The tenant comes from the key and from nowhere else."""

    principal: Principal
    pool: Lender
    """For reading: the planner's own choices, and a time limit for each statement."""
    settings: Settings
    loaders: Loaders
    subscribe: Subscribe | None = None
    """Where outcomes come from; over WebSocket only."""

    @property
    def tenant_id(self) -> int:
        return self.principal.tenant.tenant_id


Info = strawberry.Info[Context, None]
