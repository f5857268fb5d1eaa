"""Why an event is on its profile: what each of its identifiers did, and the merges since.

Pure. Explains with what is written; never decides again who is who.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from app.identity.reading import StoredIdentifier, StoredMerge
from app.identity.resolution import Keyed


class Role(StrEnum):
    """What one identifier of an event had to do with its profile."""

    DECIDED = "decided"
    """The strongest that was known before: the event went where it leads."""
    AGREED = "agreed"
    """Known before as well, and leads to the same profile, at once or through a merge."""
    INTRODUCED = "introduced"
    """First seen with this event: it leads to its profile since."""
    ELSEWHERE = "elsewhere"
    """Belongs to another profile; a rule forbade to join the two."""
    UNLINKED = "unlinked"
    """Leads nowhere today: its link was erased, or it is normalised in another way by now."""


class Reason(msgspec.Struct, frozen=True):
    identifier: Keyed
    role: Role
    link: StoredIdentifier | None


def reasons_of(
    event_id: bytes,
    identifiers: Sequence[Keyed],
    links: Mapping[bytes, StoredIdentifier],
    members: Collection[bytes],
) -> list[Reason]:
    """What each identifier did, strongest first.

    links    by identifier key
    members  the event's profile today, and all that were merged into it
    """
    reasons = []
    decided = False
    for identifier in identifiers:
        link = links.get(identifier.key)
        role = _role(event_id, link, members)
        if role is Role.AGREED and not decided:
            role, decided = Role.DECIDED, True
        reasons.append(Reason(identifier, role, link))
    return reasons


def merges_between(
    starts: Iterable[bytes], root_id: bytes, merges: Iterable[StoredMerge]
) -> list[StoredMerge]:
    """The merges on the way from these profiles to the one they are today, oldest first."""
    by_merged_id = {merge.merged_id: merge for merge in merges if merge.undone_at is None}
    used: dict[bytes, StoredMerge] = {}
    for profile_id in starts:
        while profile_id != root_id and profile_id in by_merged_id:
            merge = by_merged_id[profile_id]
            if merge.merge_id in used:
                break
            used[merge.merge_id] = merge
            profile_id = merge.survivor_id
    return sorted(used.values(), key=lambda merge: (merge.merged_at, merge.merge_id))


def _role(event_id: bytes, link: StoredIdentifier | None, members: Collection[bytes]) -> Role:
    if link is None:
        return Role.UNLINKED
    if link.profile_id not in members:
        return Role.ELSEWHERE
    return Role.INTRODUCED if link.event_id == event_id else Role.AGREED
