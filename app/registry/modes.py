"""What compatibility modes promise, one against another. Pure; never judges a document."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def promises_less(old: str, new: str) -> bool:
    """Whether a change that the old mode forbids could pass under the new one."""
    return not _promises(old) <= _promises(new)


def mode_before(mode: str, changes: Iterable[tuple[str, str]], holders: Collection[str]) -> str:
    """The mode that was in force before these people changed it, when nobody else has since.

    changes  (who, the mode before), newest first
    """
    for actor, before in changes:
        if actor not in holders:
            break
        mode = before
    return mode


def _promises(mode: str) -> frozenset[tuple[str, str]]:
    direction, _, transitive = mode.partition("_")
    directions = {"FULL": ("BACKWARD", "FORWARD"), "NONE": ()}.get(direction, (direction,))
    reach = ("last", "all") if transitive else ("last",)
    return frozenset((direction, to) for direction in directions for to in reach)
