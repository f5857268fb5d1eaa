"""Why an event is on its profile. Decides nothing: app/identity/explanation.py does."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import strawberry

from app import ids
from app.access import queries as access
from app.access.keys import Scope
from app.api.graphql.context import Info
from app.api.graphql.events import Event, event_of
from app.api.graphql.links import (
    IdentifierKind,
    ProfileIdentifier,
    ProfileMerge,
    identifier_of,
    merge_of,
    profile_id_text,
)
from app.api.graphql.permissions import needs
from app.api.graphql.profiles import Profile, profile_of
from app.identity.explanation import Reason, Role, merges_between, reasons_of
from app.identity.identifiers import identifiers_of
from app.identity.queries import keyed
from app.identity.resolution import Keyed
from app.ingest.reading import StoredEvent
from app.registry.masking import HIDDEN, masked_text


@strawberry.enum(description="What an identifier of an event had to do with its profile.")
class IdentifierRole(Enum):
    DECIDED = strawberry.enum_value(
        Role.DECIDED.value,
        description="The strongest that was known before: the event went where it leads.",
    )
    AGREED = strawberry.enum_value(
        Role.AGREED.value,
        description="Known before as well; leads to the same profile, at once or by a merge.",
    )
    INTRODUCED = strawberry.enum_value(
        Role.INTRODUCED.value,
        description="First seen with this event; leads to its profile since.",
    )
    ELSEWHERE = strawberry.enum_value(
        Role.ELSEWHERE.value,
        description="Belongs to another profile; a rule forbade to join the two.",
    )
    UNLINKED = strawberry.enum_value(
        Role.UNLINKED.value,
        description="Leads nowhere today: erased, or normalised in another way by now.",
    )


@strawberry.type(description="What one identifier of an event did.")
class IdentifierReason:
    kind: IdentifierKind = strawberry.field(description="Its kind.")
    value: str = strawberry.field(description=f'Normalised; "{HIDDEN}" without the scope pii:read.')
    role: IdentifierRole = strawberry.field(description="What it did.")
    link: ProfileIdentifier | None = strawberry.field(
        description="Who linked it first, when, and to whom."
    )


@strawberry.type(description="The identifiers and merges that put an event on its profile.")
class ProfileReasons:
    event: Event = strawberry.field(description="The event.")
    profile: Profile = strawberry.field(description="The profile it is on today.")
    assigned_to: strawberry.ID = strawberry.field(
        description="The profile it was put on; one that was merged since leads to `profile`."
    )
    identifiers: list[IdentifierReason] = strawberry.field(
        description="Identifiers of the event, strongest first. Fields that could not be used are"
        " among the event's warnings."
    )
    merges: list[ProfileMerge] = strawberry.field(
        description="The merges between the profiles where its identifiers were linked, the one"
        " that it was put on, and the profile of today; oldest first."
    )


@strawberry.type
class ExplanationsQuery:
    @strawberry.field(
        description="Why an event is on its profile; null when there is no such event, or its"
        " identities have not been resolved.",
        permission_classes=[needs(Scope.EVENTS_READ), needs(Scope.PROFILES_READ)],
    )
    async def why_on_this_profile(
        self,
        info: Info,
        event: Annotated[strawberry.ID, strawberry.argument(description="`evt_…`")],
    ) -> ProfileReasons | None:
        event_id = ids.decode(ids.EVENT_PREFIX, event)
        stored = await info.context.loaders.event.load(event_id) if event_id else None
        if stored is None or stored.profile_id is None:
            return None
        profile = await info.context.loaders.profile.load(stored.profile_id)
        if profile is None:
            return None
        reasons = await _reasons(info, stored, profile.profile_id)
        starts = [reason.link.profile_id for reason in reasons if reason.link]
        merges = await info.context.loaders.merges_into.load(profile.profile_id)
        between = merges_between([stored.profile_id, *starts], profile.profile_id, merges)
        return ProfileReasons(
            event=event_of(stored),
            profile=profile_of(profile),
            assigned_to=profile_id_text(stored.profile_id),
            identifiers=[_reason(info, reason) for reason in reasons],
            merges=[merge_of(merge) for merge in between],
        )


async def _reasons(info: Info, stored: StoredEvent, root_id: bytes) -> list[Reason]:
    loaders = info.context.loaders
    identifiers = await _identifiers(info, stored)
    found = await loaders.identifier.load_many([one.key for one in identifiers])
    links = {link.key: link for link in found if link}
    return reasons_of(stored.event_id, identifiers, links, await loaders.members.load(root_id))


async def _identifiers(info: Info, stored: StoredEvent) -> list[Keyed]:
    """What the event's identity is normalised to today, with its source's region."""
    async with info.context.pool.acquire() as connection:
        region = await access.find_phone_region(connection, info.context.tenant_id, stored.source)
    identifiers = identifiers_of(stored.identity, region).identifiers
    return keyed(info.context.principal.tenant.hash_key, identifiers)


def _reason(info: Info, reason: Reason) -> IdentifierReason:
    shown = info.context.principal.may(Scope.PII_READ)
    return IdentifierReason(
        kind=IdentifierKind(reason.identifier.kind.value),
        value=masked_text(reason.identifier.value, shown=shown) or HIDDEN,
        role=IdentifierRole(reason.role.value),
        link=identifier_of(info, reason.link) if reason.link else None,
    )
