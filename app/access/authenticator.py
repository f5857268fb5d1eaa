"""From a request's headers to its principal. 401 says who, 403 says what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from app import clock
from app.access.directory import Directory
from app.access.keys import Principal, Scope
from app.errors import AppError, ErrorCode, Violation

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Authenticator:
    """Looks the key up in memory; an unknown one is looked for once more before it is refused."""

    def __init__(self, directory: Directory, look_again: Callable[[], Awaitable[None]]) -> None:
        self._directory = directory
        self._look_again = look_again

    async def authenticate(
        self, headers: Mapping[bytes, bytes], scope: Scope | None = None
    ) -> Principal:
        """The caller.

        scope   what every use of the address needs; None where it depends on what is asked
        raises  AppError UNAUTHORIZED without a valid key, FORBIDDEN without the scope,
                UNAVAILABLE when an unknown key cannot be looked for.
        """
        value = headers.get(b"authorization")
        if value is None or value[:7].lower() != b"bearer ":
            raise AppError(
                ErrorCode.UNAUTHORIZED,
                "an API key is required: Authorization: Bearer <api_key>",
                headers=_CHALLENGE,
            )
        key = value[7:].strip()
        principal = self._directory.authenticate(key, clock.now())
        if principal is None:
            await self._look_again()
            principal = self._directory.authenticate(key, clock.now())
        if principal is None:
            raise AppError(
                ErrorCode.UNAUTHORIZED,
                "the API key is unknown, expired or revoked",
                headers=_CHALLENGE,
            )
        if scope is not None and not principal.may(scope):
            raise AppError(
                ErrorCode.FORBIDDEN,
                f"the API key lacks the scope {scope}",
                [Violation("", "scope_missing", f"the key lacks the scope {scope}")],
            )
        return principal

    def is_valid(self, principal: Principal) -> bool:
        """Whether a key that was shown before still is neither expired nor revoked."""
        return self._directory.find(principal.public_id, clock.now()) is not None
