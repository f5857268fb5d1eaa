"""Expected refusals: members of a mutation's result union, not errors. Quote no personal data."""

from __future__ import annotations

import strawberry


@strawberry.interface(description="Why nothing was done.")
class Refusal:
    message: str = strawberry.field(description="One sentence for people.")


@strawberry.type(description="There is no such thing in this tenant.")
class NotFound(Refusal):
    pass


@strawberry.type(description="It was changed since it was read: read it again, then decide again.")
class StaleRevision(Refusal):
    current_revision: int = strawberry.field(description="The revision it has now.")


@strawberry.type(description="One thing to mend.")
class Problem:
    path: str = strawberry.field(
        description='JSON Pointer to the place in the argument; "" is the whole of it.'
    )
    rule: str = strawberry.field(description="Stable name of the rule that is broken.")
    message: str = strawberry.field(description="One sentence for people.")


@strawberry.type(description="The request is understood, but what it says cannot be used.")
class Invalid(Refusal):
    problems: list[Problem] = strawberry.field(description="Every problem that was found.")


@strawberry.type(description="It needs something else first: a scope, a reason, another person.")
class NotPermitted(Refusal):
    reason: str = strawberry.field(description="Stable name of what is missing.")


def invalid(path: str, rule: str, message: str) -> Invalid:
    """An Invalid with one problem."""
    return Invalid(message=message, problems=[Problem(path=path, rule=rule, message=message)])


def key_limited() -> NotPermitted:
    message = "the key is limited to sources or event types; this is about all of them"
    return NotPermitted(message=message, reason="key_limited")
