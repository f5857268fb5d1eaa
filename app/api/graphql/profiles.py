"""Profiles: who somebody is, what led there, and what that person did.

A merged profile's id answers with the survivor. Values of identifiers are shown to keys with
pii:read only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
import strawberry

from app import ids
from app.access import queries as access
from app.access.keys import Scope
from app.api.graphql.connection import (
    DEFAULT_FIRST,
    After,
    Connection,
    First,
    checked_first,
    page,
    refuse_argument,
)
from app.api.graphql.context import Info
from app.api.graphql.event_filter import Wanted, named
from app.api.graphql.events import Event, event_page
from app.api.graphql.links import (
    IdentifierKind,
    IdentityConflict,
    ProfileIdentifier,
    ProfileMerge,
    conflict_of,
    identifier_of,
    merge_of,
    profile_id_text,
)
from app.api.graphql.permissions import needs
from app.api.graphql.positions import TimeWindow, cursor_of, position_of, window_of
from app.db.scan import SCANNED_ROWS, Position
from app.identity import reading as identities
from app.identity.identifiers import FIELDS, Identity, Kind, identifiers_of, key_flaw
from app.identity.reading import StoredProfile
from app.ids import identifier_key
from app.ingest.people import COUNTED_EVENTS
from app.ingest.reading import Order, Selection


@strawberry.type(description="A person's events of one type.")
class EventTypeCount:
    event_type: str = strawberry.field(description="Name of the event type.")
    events: int = strawberry.field(description="How many.")
    first_occurred_at: datetime = strawberry.field(description="occurredAt of the first one.")
    last_occurred_at: datetime = strawberry.field(description="occurredAt of the last one.")


@strawberry.type(description="What a person did, in numbers.")
class ProfileEventCounts:
    total: int = strawberry.field(description="Events that were counted.")
    complete: bool = strawberry.field(
        description=f"false: there are over {COUNTED_EVENTS:,}; only the newest were counted."
    )
    by_type: list[EventTypeCount] = strawberry.field(description="The most frequent type first.")


@strawberry.type(description="A person, as far as identifiers tell.")
class Profile:
    id: strawberry.ID = strawberry.field(description="`prf_…`")
    known: bool = strawberry.field(description="Has an identifier stronger than a device.")
    first_seen_at: datetime = strawberry.field(
        description="When the first event that led here was received."
    )
    root_id: strawberry.Private[bytes]

    @strawberry.field(
        description="occurredAt of the latest event; null when none is kept.",
        permission_classes=[needs(Scope.EVENTS_READ)],
    )
    async def last_seen_at(self, info: Info) -> datetime | None:
        return await info.context.loaders.last_occurrence.load(self.root_id)

    @strawberry.field(description="Ids of profiles that were merged into it; they lead here.")
    async def aliases(self, info: Info) -> list[strawberry.ID]:
        members = await info.context.loaders.members.load(self.root_id)
        return [profile_id_text(alias) for alias in members[1:]]

    @strawberry.field(
        description="What leads here, strongest kinds first; at most"
        f" {identities.MAX_IDENTIFIERS:,} of each profile that was merged."
    )
    async def identifiers(self, info: Info) -> list[ProfileIdentifier]:
        found = await info.context.loaders.identifiers_of.load(self.root_id)
        return [identifier_of(info, one) for one in found]

    @strawberry.field(
        description="Merges into it and into its aliases, oldest first; also those that were"
        " undone since."
    )
    async def merges(self, info: Info) -> list[ProfileMerge]:
        return [merge_of(one) for one in await info.context.loaders.merges_into.load(self.root_id)]

    @strawberry.field(
        description="Identifiers over which it and another profile clashed, newest first; at most"
        f" {identities.MAX_CONFLICTS} of each profile that was merged."
    )
    async def conflicts(self, info: Info) -> list[IdentityConflict]:
        found = await info.context.loaders.conflicts_of.load(self.root_id)
        return [conflict_of(one) for one in found]

    @strawberry.field(
        description="What the person did, latest occurrence first, across merges. A page of a"
        f" filtered list looks at about {SCANNED_ROWS:,} events: see `events`.",
        permission_classes=[needs(Scope.EVENTS_READ)],
    )
    async def events(
        self,
        info: Info,
        type: Annotated[
            str | None, strawberry.argument(description="Name of an event type.")
        ] = None,
        sender: Annotated[
            str | None, strawberry.argument(name="source", description="Name of a source.")
        ] = None,
        occurred: Annotated[
            TimeWindow | None, strawberry.argument(description="When it happened.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> Connection[Event]:
        selection = Selection(
            order=Order.OCCURRED,
            occurred=window_of(occurred, "occurred"),
        )
        narrowed = await named(info, selection, event_type=type, source=sender)
        wanted = Wanted(narrowed, self.root_id) if narrowed else None
        return await event_page(info, wanted, first, after)

    @strawberry.field(
        description="How often the person did what.",
        permission_classes=[needs(Scope.EVENTS_READ)],
    )
    async def event_counts(self, info: Info) -> ProfileEventCounts:
        found = await info.context.loaders.counts.load(self.root_id)
        return ProfileEventCounts(
            total=sum(one.events for one in found.by_type),
            complete=found.complete,
            by_type=[
                EventTypeCount(
                    event_type=one.event_type,
                    events=one.events,
                    first_occurred_at=one.first_at,
                    last_occurred_at=one.last_at,
                )
                for one in found.by_type
            ],
        )


@strawberry.input(description="Which profiles; what is left out does not matter.")
class ProfileFilter:
    known: bool | None = strawberry.field(
        default=None, description="false: those that only devices ever named."
    )
    first_seen: TimeWindow | None = strawberry.field(
        default=None, description="When the first event that led there was received."
    )


_READERS = [needs(Scope.PROFILES_READ)]


@strawberry.type
class ProfilesQuery:
    @strawberry.field(
        description="One profile by its id, or by that of one that was merged into it.",
        permission_classes=_READERS,
    )
    async def profile(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="`prf_…`")],
    ) -> Profile | None:
        profile_id = ids.decode(ids.PROFILE_PREFIX, id)
        found = await info.context.loaders.profile.load(profile_id) if profile_id else None
        return profile_of(found) if found else None

    @strawberry.field(
        description="The profile that an identifier leads to; the value is normalised as an"
        " event's would be.",
        permission_classes=_READERS,
    )
    async def profile_by_identifier(
        self,
        info: Info,
        kind: Annotated[IdentifierKind, strawberry.argument(description="Its kind.")],
        value: Annotated[str, strawberry.argument(description="As a sender would write it.")],
        sender: Annotated[
            str | None,
            strawberry.argument(
                name="source",
                description="Name of the source whose default region a national number has.",
            ),
        ] = None,
    ) -> Profile | None:
        region = await _region_of(info, sender) if sender is not None else None
        key = _identifier_key(info, Kind[kind.name], value, region)
        link = await info.context.loaders.identifier.load(key)
        found = await info.context.loaders.profile.load(link.profile_id) if link else None
        return profile_of(found) if found else None

    @strawberry.field(
        description="Profiles, newest first; those merged into another are not listed. A page"
        f" looks at {SCANNED_ROWS:,}: while `hasNextPage` is true there is more behind"
        " `endCursor`, even if the page is short.",
        permission_classes=_READERS,
    )
    async def profiles(
        self,
        info: Info,
        filter: Annotated[
            ProfileFilter | None, strawberry.argument(description="Which ones.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> Connection[Profile]:
        asked, behind, count = filter or ProfileFilter(), position_of(after), checked_first(first)
        created = window_of(asked.first_seen, "filter.firstSeen")
        async with info.context.pool.acquire() as connection:
            found = await identities.find_profile_page(
                connection,
                info.context.tenant_id,
                first=count,
                after=behind,
                created=created,
                known=asked.known,
            )
        resume = cursor_of(found.resume) if found.resume else None
        nodes = [profile_of(one) for one in found.profiles]
        return page(nodes, count, _cursor, after=after, resume=resume)


def profile_of(stored: StoredProfile) -> Profile:
    return Profile(
        id=profile_id_text(stored.profile_id),
        known=stored.known,
        first_seen_at=stored.created_at,
        root_id=stored.profile_id,
    )


async def _region_of(info: Info, source: str) -> str | None:
    if key_flaw(source) is not None:
        return None
    async with info.context.pool.acquire() as connection:
        return await access.find_phone_region(connection, info.context.tenant_id, source)


def _identifier_key(info: Info, kind: Kind, value: str, region: str | None) -> bytes:
    """raises  GraphQLError BAD_USER_INPUT for a value that no event's would be linked by"""
    normalised = identifiers_of(msgspec.convert({FIELDS[kind]: value}, Identity), region)
    if not normalised.identifiers:
        raise refuse_argument(normalised.violations[0].message)
    return identifier_key(
        info.context.principal.tenant.hash_key, kind, normalised.identifiers[0].value
    )


def _cursor(profile: Profile) -> str:
    return cursor_of(Position(profile.first_seen_at, profile.root_id))
