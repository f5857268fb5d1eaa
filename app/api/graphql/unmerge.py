"""A merge undone. Decides nothing: app/identity/unmerging does."""

from __future__ import annotations

from typing import Annotated

import strawberry

from app import ids
from app.access.keys import Scope
from app.api.graphql.context import Info
from app.api.graphql.permissions import needs
from app.api.graphql.profiles import Profile, profile_of
from app.api.graphql.refusals import Invalid, NotFound, NotPermitted, invalid, key_limited
from app.identity.unmerging.service import (
    MAX_EVENTS,
    MAX_IDENTIFIERS,
    MAX_SEPARATIONS,
    NotUnmerged,
    Unmerged,
    unmerge_profile,
)

MAX_REASON_CHARS = 1_000

_WHY = {
    NotUnmerged.NOT_MERGED: "the profile is not merged into another, or no longer",
    NotUnmerged.TOO_MANY_EVENTS: "more than"
    f" {MAX_EVENTS:,} events came since the merge; each would have to be placed again",
    NotUnmerged.TOO_MANY_IDENTIFIERS: f"the person has more than {MAX_IDENTIFIERS:,} identifiers:"
    " that is no person",
    NotUnmerged.TOO_MANY_SEPARATIONS: f"the person was separated from {MAX_SEPARATIONS} others",
    NotUnmerged.BUSY: "ingest does not pause long enough just now: try again",
    NotUnmerged.TOO_SLOW: "what belongs to the person could not be read quickly enough",
}


@strawberry.type(description="Two people again. They are not joined again, whatever arrives.")
class ProfileUnmerged:
    survivor: Profile = strawberry.field(description="The profile that it was merged into.")
    restored: Profile = strawberry.field(description="The profile that was merged.")
    events_moved: int = strawberry.field(
        description="Events of after the merge that are the restored profile's."
    )
    identifiers_moved: int = strawberry.field(
        description="Identifiers first seen after the merge that are the restored profile's."
    )


UnmergeProfileResult = Annotated[
    ProfileUnmerged | NotFound | NotPermitted | Invalid, strawberry.union("UnmergeProfileResult")
]


@strawberry.type
class UnmergeMutation:
    @strawberry.mutation(
        description="Undo the merge of a profile into another. What was there before the merge is"
        " as it was; events and identifiers of after it are given to one of the two by the rules"
        " that place new ones. On record in the audit trail. Refused as NotPermitted with"
        f" `reason` {', '.join(_WHY)}. New events of the tenant wait meanwhile. Not with a key"
        " that is limited to sources or event types.",
        permission_classes=[needs(Scope.PROFILES_READ), needs(Scope.PRIVACY_WRITE)],
    )
    async def unmerge_profile(
        self,
        info: Info,
        profile: Annotated[
            strawberry.ID,
            strawberry.argument(
                description="`prf_…`: the profile that was merged, one of `aliases` of the other."
            ),
        ],
        reason: Annotated[
            str,
            strawberry.argument(
                description=f"Why, for the audit trail: up to {MAX_REASON_CHARS:,} characters."
            ),
        ],
    ) -> UnmergeProfileResult:
        if not 1 <= len(reason.strip()) <= MAX_REASON_CHARS:
            return invalid("/reason", "length", f"must have 1 to {MAX_REASON_CHARS} characters")
        principal = info.context.principal
        if principal.is_limited:
            return key_limited()
        profile_id = ids.decode(ids.PROFILE_PREFIX, profile)
        if profile_id is None:
            return _not_found()
        done = await unmerge_profile(
            info.context.tenant_id,
            principal.tenant.hash_key,
            profile_id,
            actor=principal.public_id,
            reason=reason.strip(),
        )
        if isinstance(done, Unmerged):
            return await _unmerged(info, done)
        if done is NotUnmerged.NO_PROFILE:
            return _not_found()
        return NotPermitted(message=_WHY[done], reason=done.value)


async def _unmerged(info: Info, done: Unmerged) -> ProfileUnmerged:
    info.context.loaders.forget()
    survivor, restored = await info.context.loaders.profile.load_many(
        [done.survivor_id, done.restored_id]
    )
    assert survivor is not None
    assert restored is not None
    return ProfileUnmerged(
        survivor=profile_of(survivor),
        restored=profile_of(restored),
        events_moved=done.events_moved,
        identifiers_moved=done.identifiers_moved,
    )


def _not_found() -> NotFound:
    return NotFound(message="there is no such profile")
