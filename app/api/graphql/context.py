"""What every resolver may use: who asks, and where to look. One for each request."""

from __future__ import annotations

import msgspec
import strawberry

from app.access.keys import Principal
from app.api.graphql.loaders import Loaders
from app.db.pool import Pool
from app.settings import Settings


class Context(msgspec.Struct, frozen=True):
    """The tenant comes from the key and from nowhere else."""

    principal: Principal
    pool: Pool
    """For reading: the planner's own choices, and a time limit for each statement."""
    settings: Settings
    loaders: Loaders

    @property
    def tenant_id(self) -> int:
        return self.principal.tenant.tenant_id


Info = strawberry.Info[Context, None]
