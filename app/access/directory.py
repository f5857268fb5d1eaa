"""What one worker holds in memory of keys and sources, at most a second old.

Never accepts a key that the database does not know: a key that is missing here is looked for once
more before it is refused, so a key works at once after it was created.
"""

from __future__ import annotations

import hmac
from datetime import datetime

from app.access.keys import Principal, hash_secret, parse_key
from app.access.queries import SourceSettings

MAX_VERIFIED = 10_000


class Directory:
    """Keys by public id, sources by tenant and name."""

    def __init__(self) -> None:
        self._principals: dict[str, Principal] = {}
        self._verified: dict[bytes, Principal] = {}
        self._sources: dict[int, dict[str, SourceSettings]] = {}

    def replace_keys(self, principals: dict[str, Principal]) -> None:
        self._principals = principals
        self._verified = {}

    def replace_sources(self, tenant_id: int, sources: dict[str, SourceSettings]) -> None:
        self._sources[tenant_id] = sources

    def sources(self, tenant_id: int) -> dict[str, SourceSettings]:
        return self._sources.get(tenant_id, {})

    def authenticate(self, key: bytes, now: datetime) -> Principal | None:
        """The principal of a key's text, or None when it is unknown, wrong or expired."""
        principal = self._verified.get(key)
        if principal is None:
            principal = self._verify(key)
            if principal is None:
                return None
            if len(self._verified) < MAX_VERIFIED:
                self._verified[key] = principal
        if principal.expires_at is not None and principal.expires_at <= now:
            return None
        return principal

    def find(self, public_id: str, now: datetime) -> Principal | None:
        """The principal of a key that someone showed before; None when it no longer is valid."""
        principal = self._principals.get(public_id)
        if principal is None or (principal.expires_at is not None and principal.expires_at <= now):
            return None
        return principal

    def _verify(self, key: bytes) -> Principal | None:
        parsed = parse_key(key)
        if parsed is None:
            return None
        public_id, secret = parsed
        principal = self._principals.get(public_id)
        if principal and hmac.compare_digest(principal.secret_hash, hash_secret(secret)):
            return principal
        return None
