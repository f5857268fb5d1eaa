"""API keys: how they look, what they may do. Pure; never sees the database."""

from __future__ import annotations

import base64
import os
import re
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

import msgspec


class Scope(StrEnum):
    """What a key may do; ADMIN is all of it."""

    EVENTS_WRITE = "events:write"
    EVENTS_READ = "events:read"
    PROFILES_READ = "profiles:read"
    PII_READ = "pii:read"
    SCHEMA_READ = "schema:read"
    SCHEMA_WRITE = "schema:write"
    SCHEMA_APPROVE = "schema:approve"
    STATS_READ = "stats:read"
    KEYS_ADMIN = "keys:admin"
    PRIVACY_WRITE = "privacy:write"
    ADMIN = "admin"


_KEY = re.compile(rb"cdp_[a-z]{1,10}_([a-z2-7]{10})_([a-z2-7]{32})")


class TenantSettings(msgspec.Struct, frozen=True):
    """What the hot path needs of a tenant."""

    tenant_id: int
    name: str
    hash_key: bytes
    quarantine_days: int
    events_per_minute: int | None
    max_sources: int


class Principal(msgspec.Struct, frozen=True):
    """Who is calling: one API key of one tenant."""

    key_id: int
    public_id: str
    """Names the key everywhere outside: lists, audit, logs."""
    name: str
    secret_hash: bytes
    tenant: TenantSettings
    scopes: frozenset[str]
    sources: frozenset[str] | None
    """The only sources it may write for; None is any."""
    event_types: frozenset[str] | None
    events_per_minute: int | None
    expires_at: datetime | None

    @property
    def is_limited(self) -> bool:
        """To some sources or event types: what the whole tenant has is not its to change."""
        return self.sources is not None or self.event_types is not None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


class NewKey(msgspec.Struct, frozen=True):
    """A key in the one moment in which its secret is known."""

    public_id: str
    secret: str
    text: str

    @property
    def secret_hash(self) -> bytes:
        return hash_secret(self.secret.encode())


def generate_key(environment: str) -> NewKey:
    """`cdp_<environment>_<id>_<secret>`: 50 and 160 random bits, in lower-case base32."""
    public_id = base64.b32encode(os.urandom(10)).decode().lower()[:10]
    secret = base64.b32encode(os.urandom(20)).decode().lower()
    return NewKey(public_id, secret, f"cdp_{environment}_{public_id}_{secret}")


def parse_key(text: bytes) -> tuple[str, bytes] | None:
    """(public id, secret) of a key's text, or None when it is not one."""
    match = _KEY.fullmatch(text)
    return (match[1].decode(), match[2]) if match else None


def hash_secret(secret: bytes) -> bytes:
    """SHA-256 is enough: the secret has 160 random bits, there is nothing to guess slowly."""
    return sha256(secret).digest()
