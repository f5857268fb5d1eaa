"""What leads to profiles: identifiers, merges, and clashes that were not resolved by a merge."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from app import ids
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
from app.api.graphql.positions import TimeWindow, cursor_of, position_of, window_of
from app.db.scan import SCANNED_ROWS, Position
from app.identity import reading as identities
from app.identity.identifiers import Kind
from app.identity.reading import StoredConflict, StoredIdentifier, StoredMerge
from app.identity.resolution import SEPARATED, SHARED_DEVICE, TWO_CUSTOMERS
from app.registry.masking import HIDDEN, masked_text

if TYPE_CHECKING:
    from app.api.graphql.profiles import Profile

LazyProfile = Annotated["Profile", strawberry.lazy("app.api.graphql.profiles")]


@strawberry.enum(description="Kinds of identifier, the strongest first.")
class IdentifierKind(Enum):
    EXTERNAL = strawberry.enum_value(
        Kind.EXTERNAL.value, description="externalUserId: at most one a profile."
    )
    EMAIL = strawberry.enum_value(Kind.EMAIL.value, description="A mail address.")
    PHONE = strawberry.enum_value(Kind.PHONE.value, description="A phone number, E.164.")
    DEVICE = strawberry.enum_value(
        Kind.DEVICE.value, description="deviceKey: alone it joins nobody."
    )


@strawberry.enum(description="Why two profiles were not joined.")
class ConflictRule(Enum):
    TWO_CUSTOMERS = strawberry.enum_value(
        TWO_CUSTOMERS, description="Both have an externalUserId of their own."
    )
    SHARED_DEVICE = strawberry.enum_value(
        SHARED_DEVICE, description="Only a device connects the two."
    )
    SEPARATED = strawberry.enum_value(
        SEPARATED, description="They were one, and somebody said that they are two: unmergeProfile."
    )


@strawberry.type(
    description="An identifier and the profile that it leads to. No event moves a link; only an"
    " unmerge does, with the event that made it."
)
class ProfileIdentifier:
    kind: IdentifierKind = strawberry.field(description="Its kind.")
    value: str = strawberry.field(description=f'Normalised; "{HIDDEN}" without the scope pii:read.')
    first_seen_at: datetime = strawberry.field(description="When it was linked.")
    source: str | None = strawberry.field(description="Whose event linked it.")
    event_id: strawberry.ID = strawberry.field(description="The event that linked it.")
    profile_id: strawberry.ID = strawberry.field(
        description="Where it is linked to; that profile may have been merged since."
    )


@strawberry.type(description="Two profiles found to be one person.")
class ProfileMerge:
    merged_at: datetime = strawberry.field(description="When.")
    survivor_id: strawberry.ID = strawberry.field(description="The older profile, which stayed.")
    merged_id: strawberry.ID = strawberry.field(
        description="The other one, an alias while the merge stands."
    )
    event_id: strawberry.ID = strawberry.field(description="The event that named both.")
    undone_at: datetime | None = strawberry.field(
        description="When it was undone by `unmergeProfile`; null: it stands."
    )
    undone_by: str | None = strawberry.field(description="Public id of the API key that undid it.")


@strawberry.type(
    description="An event named identifiers of two profiles that may not be joined. Recorded once"
    " a pair, however often it happens."
)
class IdentityConflict:
    kind: IdentifierKind = strawberry.field(description="Kind of the identifier that clashed.")
    rule: ConflictRule = strawberry.field(description="Why they were not joined.")
    first_seen_at: datetime = strawberry.field(description="When it was seen first.")
    event_id: strawberry.ID = strawberry.field(description="The event that named both.")
    stored: strawberry.Private[StoredConflict]

    @strawberry.field(
        description=f'The identifier, normalised; "{HIDDEN}" without the scope pii:read; null'
        " when it was erased."
    )
    async def value(self, info: Info) -> str | None:
        link = await info.context.loaders.identifier.load(self.stored.identifier_key)
        shown = info.context.principal.may(Scope.PII_READ)
        return masked_text(link.value if link else None, shown=shown)

    @strawberry.field(description="Where the identifier stays.")
    async def owner(self, info: Info) -> LazyProfile | None:
        return await _profile(info, self.stored.owner_id)

    @strawberry.field(description="Where the event went instead.")
    async def chosen(self, info: Info) -> LazyProfile | None:
        return await _profile(info, self.stored.chosen_id)


@strawberry.type
class LinksQuery:
    @strawberry.field(
        description="Clashes of identifiers, newest first. A page looks at"
        f" {SCANNED_ROWS:,}: while `hasNextPage` is true there is more behind `endCursor`.",
        permission_classes=[needs(Scope.PROFILES_READ)],
    )
    async def identity_conflicts(
        self,
        info: Info,
        rule: Annotated[
            ConflictRule | None, strawberry.argument(description="Only those of this rule.")
        ] = None,
        first_seen: Annotated[
            TimeWindow | None, strawberry.argument(description="When they were seen first.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> Connection[IdentityConflict]:
        behind, count = position_of(after), checked_first(first)
        seen = window_of(first_seen, "firstSeen")
        async with info.context.pool.acquire() as connection:
            found = await identities.find_conflict_page(
                connection,
                info.context.tenant_id,
                first=count,
                after=behind,
                seen=seen,
                rule=str(rule.value) if rule else None,
            )
        resume = cursor_of(found.resume) if found.resume else None
        nodes = [conflict_of(one) for one in found.conflicts]
        return page(nodes, count, _cursor, after=after, resume=resume)


def identifier_of(info: Info, stored: StoredIdentifier) -> ProfileIdentifier:
    shown = info.context.principal.may(Scope.PII_READ)
    return ProfileIdentifier(
        kind=IdentifierKind(stored.kind.value),
        value=stored.value if shown else HIDDEN,
        first_seen_at=stored.first_seen_at,
        source=stored.source,
        event_id=event_id_text(stored.event_id),
        profile_id=profile_id_text(stored.profile_id),
    )


def merge_of(stored: StoredMerge) -> ProfileMerge:
    return ProfileMerge(
        merged_at=stored.merged_at,
        survivor_id=profile_id_text(stored.survivor_id),
        merged_id=profile_id_text(stored.merged_id),
        event_id=event_id_text(stored.event_id),
        undone_at=stored.undone_at,
        undone_by=stored.undone_by,
    )


def conflict_of(stored: StoredConflict) -> IdentityConflict:
    return IdentityConflict(
        kind=IdentifierKind(stored.kind.value),
        rule=ConflictRule(stored.rule),
        first_seen_at=stored.first_seen_at,
        event_id=event_id_text(stored.event_id),
        stored=stored,
    )


def event_id_text(event_id: bytes) -> strawberry.ID:
    return strawberry.ID(ids.encode(ids.EVENT_PREFIX, event_id))


def profile_id_text(profile_id: bytes) -> strawberry.ID:
    return strawberry.ID(ids.encode(ids.PROFILE_PREFIX, profile_id))


async def _profile(info: Info, profile_id: bytes) -> Profile | None:
    from app.api.graphql.profiles import profile_of

    found = await info.context.loaders.profile.load(profile_id)
    return profile_of(found) if found else None


def _cursor(conflict: IdentityConflict) -> str:
    return cursor_of(Position(conflict.first_seen_at, conflict.stored.conflict_key))
