"""Finds the marks that serve a question's conditions, or says why there are none. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from app.segments.conditions import Condition, Predicate, Problem, check_condition
from app.segments.marks import Mark, State
from app.segments.queries import StoredMark

PERSONAL = ("indirect", "direct")
"""Classes that events hide from whoever may not see personal data."""


class NotReady(msgspec.Struct, frozen=True):
    """A property that is asked about has no complete storage."""

    event_type: str
    path: str
    state: State | None
    """None: it is not marked."""
    progress: float = 0.0
    """Of one that is being built, 0 to 1."""


class NeedsPersonalData(msgspec.Struct, frozen=True):
    """A condition on what the asker may not read: the answer would tell it."""

    path: str


class Refused(Exception):
    """The question cannot be answered; the reason is one of the refusals."""

    def __init__(self, reason: Sequence[Problem] | NotReady | NeedsPersonalData) -> None:
        super().__init__()
        self.reason = reason


class Asked(msgspec.Struct, frozen=True):
    """One event type, as far as a question needs it."""

    event_type: str
    event_type_id: int
    mark_by_path: Mapping[str, StoredMark]
    closed: Collection[str]
    """Classes of personal data that the asker may not ask about."""

    def ready_mark(self, path: str) -> Mark:
        """raises  Refused"""
        held = self.mark_by_path.get(path)
        if held is None:
            raise Refused(NotReady(self.event_type, path, None))
        if held.state is not State.READY:
            raise Refused(NotReady(self.event_type, path, held.state, held.progress))
        if held.pii in self.closed:
            raise Refused(NeedsPersonalData(path))
        return held.mark


def resolve_conditions(
    at: str, asked: Asked, conditions: Sequence[Condition]
) -> tuple[Predicate, ...]:
    """What an event of the type must be like.

    at      where the conditions are, for problems
    raises  Refused
    """
    predicates = []
    for index, condition in enumerate(conditions):
        mark = asked.ready_mark(condition.path)
        test = check_condition(f"{at}/{index}", condition, mark.value_type)
        if isinstance(test, Problem):
            raise Refused([test])
        predicates.append(Predicate(mark, test))
    return tuple(predicates)
