"""Sources: the systems that deliver. They register themselves; here they get their settings."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import strawberry

from app.access import queries as access
from app.access.keys import Scope
from app.access.queries import SourceInfo
from app.api.graphql.connection import (
    DEFAULT_FIRST,
    After,
    Connection,
    First,
    checked_first,
    decode_cursor,
    encode_cursor,
    page,
)
from app.api.graphql.context import Info
from app.api.graphql.permissions import needs
from app.api.graphql.refusals import Invalid, invalid
from app.identity.contact import is_phone_region
from app.identity.identifiers import key_flaw

MAX_OWNER_CHARS = 100


@strawberry.enum(description="Whether a source may deliver.")
class SourceStatus(Enum):
    ACTIVE = strawberry.enum_value("ACTIVE", description="Its events are judged.")
    DISABLED = strawberry.enum_value("DISABLED", description="Its events are refused: forbidden.")


@strawberry.enum(description="What other content under a known externalEventId is.")
class OnMismatch(Enum):
    CONFLICT = strawberry.enum_value("CONFLICT", description="409 idempotency_conflict.")
    DUPLICATE = strawberry.enum_value("DUPLICATE", description="A duplicate, recorded as such.")


@strawberry.type(description="A system that delivers events, as they name it.")
class Source:
    name: str = strawberry.field(description="As its events say it: `brand.pos`.")
    status: SourceStatus = strawberry.field(description="Whether it may deliver.")
    on_mismatch: OnMismatch = strawberry.field(
        description="What other content under a known externalEventId is."
    )
    default_phone_region: str | None = strawberry.field(
        description="ISO 3166 country of phone numbers without a country code."
    )
    owner: str | None = strawberry.field(description="Who answers for it.")
    first_seen_at: datetime = strawberry.field(description="When it was first heard of.")


@strawberry.input(description="A source's settings; those that are left out stay as they are.")
class SetSourceInput:
    name: str = strawberry.field(description="The source; one that has not delivered is created.")
    status: SourceStatus | None = strawberry.field(
        default=strawberry.UNSET, description="Whether it may deliver."
    )
    on_mismatch: OnMismatch | None = strawberry.field(
        default=strawberry.UNSET, description="What other content under a known key is."
    )
    default_phone_region: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Two capital letters, like DE; null: none is assumed.",
    )
    owner: str | None = strawberry.field(
        default=strawberry.UNSET, description="Who answers for it; null: nobody."
    )


@strawberry.type(description="Every worker follows the settings within a second.")
class SourceSet:
    source: Source = strawberry.field(description="The source as it is now.")


SetSourceResult = Annotated[SourceSet | Invalid, strawberry.union("SetSourceResult")]


@strawberry.type
class SourcesQuery:
    @strawberry.field(
        description="The tenant's sources by name.", permission_classes=[needs(Scope.SCHEMA_READ)]
    )
    async def sources(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None
    ) -> Connection[Source]:
        behind = decode_cursor(after, tuple[str])[0] if after is not None else ""
        found = await access.list_sources(
            info.context.tenant_id, after_name=behind, limit=checked_first(first) + 1
        )
        nodes = [_source(source) for source in found]
        return page(nodes, first, lambda source: encode_cursor(source.name), after=after)

    @strawberry.field(
        description="One source by its name.", permission_classes=[needs(Scope.SCHEMA_READ)]
    )
    async def source(
        self,
        info: Info,
        name: Annotated[str, strawberry.argument(description="As its events say it.")],
    ) -> Source | None:
        found = await access.find_source(info.context.tenant_id, name)
        return _source(found) if found else None


@strawberry.type
class SourcesMutation:
    @strawberry.mutation(
        description="Set a source's phone region, mismatch rule, status or owner.",
        permission_classes=[needs(Scope.KEYS_ADMIN)],
    )
    async def set_source(
        self,
        info: Info,
        input: Annotated[SetSourceInput, strawberry.argument(description="What to set.")],
    ) -> SetSourceResult:
        refusal = _unusable(input)
        if refusal is not None:
            return refusal
        given: dict[str, Any] = {
            "status": input.status and input.status.value,
            "on_mismatch": input.on_mismatch and input.on_mismatch.value,
            "default_phone_region": input.default_phone_region,
            "owner": input.owner,
        }
        tenant_id, actor = info.context.tenant_id, info.context.principal.public_id
        changes = {name: value for name, value in given.items() if value is not strawberry.UNSET}
        await access.set_source(tenant_id, input.name, changes, actor=actor)
        source = await access.find_source(tenant_id, input.name)
        assert source is not None
        return SourceSet(source=_source(source))


def _unusable(input: SetSourceInput) -> Invalid | None:
    if key_flaw(input.name) is not None:
        return invalid("/name", "name", "is not a name that an event can have")
    if input.status is None or input.on_mismatch is None:
        path = "/status" if input.status is None else "/onMismatch"
        return invalid(path, "null", "cannot be null: leave it out to keep it as it is")
    region = input.default_phone_region
    if isinstance(region, str) and not is_phone_region(region):
        return invalid("/defaultPhoneRegion", "region", "is no country: two capital letters")
    if input.owner and len(input.owner) > MAX_OWNER_CHARS:
        return invalid("/owner", "length", f"may have {MAX_OWNER_CHARS} characters")
    return None


def _source(source: SourceInfo) -> Source:
    return Source(
        name=source.name,
        status=SourceStatus(source.status),
        on_mismatch=OnMismatch(source.on_mismatch),
        default_phone_region=source.default_phone_region,
        owner=source.owner,
        first_seen_at=source.first_seen_at,
    )
