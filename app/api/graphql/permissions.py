"""What a key needs for a field or a mutation. Looks at nothing but the key."""

from __future__ import annotations

from functools import cache
from typing import Any

from graphql import GraphQLError
from strawberry.permission import BasePermission

from app.access.keys import Scope
from app.api.graphql.context import Info


class _Needs(BasePermission):
    """Holds one scope; made by `needs`."""

    scope: Scope
    error_extensions = {"code": "FORBIDDEN"}  # noqa: RUF012 - the library's own attribute

    def has_permission(self, source: Any, info: Info, **_: Any) -> bool:
        return info.context.principal.may(self.scope)


@cache
def needs(scope: Scope) -> type[BasePermission]:
    """A permission class; without the scope the field answers an error with code FORBIDDEN."""
    name = "Needs" + scope.title().replace(":", "")
    return type(
        name, (_Needs,), {"scope": scope, "message": f"the API key lacks the scope {scope}"}
    )


def require(info: Info, scope: Scope) -> None:
    """The same inside of a resolver, where it depends on what was asked."""
    if not info.context.principal.may(scope):
        raise GraphQLError(f"the API key lacks the scope {scope}", extensions={"code": "FORBIDDEN"})
