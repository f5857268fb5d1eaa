"""API keys: listed, created, rotated, revoked. A secret is shown once and kept nowhere."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated

import strawberry

from app import clock
from app.access import queries as access
from app.access.keys import NewKey, Principal, Scope
from app.access.queries import KeyInfo
from app.api.graphql.connection import (
    DEFAULT_FIRST,
    After,
    Connection,
    First,
    checked_first,
    decode_cursor,
    encode_cursor,
    page,
)
from app.api.graphql.context import Info
from app.api.graphql.permissions import needs
from app.api.graphql.refusals import Invalid, NotFound, NotPermitted, invalid
from app.identity.identifiers import key_flaw

MAX_NAME_CHARS = 100
MAX_GRACE_SECONDS = 90 * 86_400

strawberry.enum(Scope, name="Scope", description="What an API key may do.")


@strawberry.enum(description="Whether an API key works.")
class ApiKeyStatus(Enum):
    ACTIVE = strawberry.enum_value("active", description="It works.")
    EXPIRED = strawberry.enum_value("expired", description="Its time is over.")
    REVOKED = strawberry.enum_value("revoked", description="It was revoked.")


@strawberry.type(description="An API key. Its secret is kept nowhere.")
class ApiKey:
    id: strawberry.ID = strawberry.field(description="Public id: the third part of its text.")
    name: str = strawberry.field(description="What people call it.")
    scopes: list[Scope] = strawberry.field(description="What it may do.")
    sources: list[str] | None = strawberry.field(
        description="The only sources it may write for; null is any."
    )
    event_types: list[str] | None = strawberry.field(
        description="The only event types it may write; null is any."
    )
    events_per_minute: int | None = strawberry.field(
        description="Its own rate limit; null is the service's default."
    )
    created_at: datetime = strawberry.field(description="When it was created.")
    expires_at: datetime | None = strawberry.field(
        description="When it stops working; null: never."
    )
    revoked_at: datetime | None = strawberry.field(description="When it was revoked.")
    number: strawberry.Private[int]

    @strawberry.field(description="Whether it works now.")
    def status(self) -> ApiKeyStatus:
        if self.revoked_at is not None:
            return ApiKeyStatus.REVOKED
        expired = self.expires_at is not None and self.expires_at <= clock.now()
        return ApiKeyStatus.EXPIRED if expired else ApiKeyStatus.ACTIVE


@strawberry.input(description="A new API key.")
class CreateApiKeyInput:
    name: str = strawberry.field(description=f"1 to {MAX_NAME_CHARS} characters, for people.")
    scopes: list[Scope] = strawberry.field(
        description="What it may do: nothing that the calling key may not do itself."
    )
    sources: list[str] | None = strawberry.field(
        default=None, description="Limit it to these sources."
    )
    event_types: list[str] | None = strawberry.field(
        default=None, description="Limit it to these event types."
    )
    events_per_minute: int | None = strawberry.field(
        default=None, description="A rate limit of its own."
    )
    expires_at: datetime | None = strawberry.field(
        default=None, description="When it stops working; null: never."
    )


@strawberry.type(description="A key in the one moment in which its text is known.")
class CreatedApiKey:
    api_key: ApiKey = strawberry.field(description="The key as lists show it.")
    key: str = strawberry.field(
        description="The whole key, for `Authorization: Bearer …`. It cannot be shown again."
    )


@strawberry.type(description="The key is refused by every worker within a second.")
class RevokedApiKey:
    api_key: ApiKey = strawberry.field(description="The key as lists show it now.")


CreateApiKeyResult = Annotated[
    CreatedApiKey | Invalid | NotPermitted, strawberry.union("CreateApiKeyResult")
]
RotateApiKeyResult = Annotated[
    CreatedApiKey | Invalid | NotFound | NotPermitted, strawberry.union("RotateApiKeyResult")
]
RevokeApiKeyResult = Annotated[RevokedApiKey | NotFound, strawberry.union("RevokeApiKeyResult")]

_ADMINS = [needs(Scope.KEYS_ADMIN)]
KeyId = Annotated[strawberry.ID, strawberry.argument(description="Public id of the key.")]


@strawberry.type
class KeysQuery:
    @strawberry.field(
        description="API keys in the order of their creation, expired and revoked ones too.",
        permission_classes=_ADMINS,
    )
    async def api_keys(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None
    ) -> Connection[ApiKey]:
        behind = decode_cursor(after, tuple[int])[0] if after is not None else 0
        found = await access.list_keys(
            info.context.tenant_id, after_number=behind, limit=checked_first(first) + 1
        )
        nodes = [_api_key(key) for key in found]
        return page(nodes, first, lambda key: encode_cursor(key.number), after=after)

    @strawberry.field(description="One API key.", permission_classes=_ADMINS)
    async def api_key(self, info: Info, id: KeyId) -> ApiKey | None:
        found = await access.find_key(info.context.tenant_id, id)
        return _api_key(found) if found else None


@strawberry.type
class KeysMutation:
    @strawberry.mutation(
        description="Create an API key. No key can create one that may do more than it may itself.",
        permission_classes=_ADMINS,
    )
    async def create_api_key(
        self,
        info: Info,
        input: Annotated[CreateApiKeyInput, strawberry.argument(description="The new key.")],
    ) -> CreateApiKeyResult:
        refusal = _unusable(input) or _exceeds(
            info.context.principal, input.scopes, input.sources, input.event_types
        )
        if refusal is not None:
            return refusal
        new = await access.create_key(
            info.context.tenant_id,
            name=input.name,
            scopes=input.scopes,
            environment=info.context.settings.environment,
            sources=input.sources or (),
            event_types=input.event_types or (),
            events_per_minute=input.events_per_minute,
            expires_at=input.expires_at,
            actor=info.context.principal.public_id,
        )
        return await _created(info, new)

    @strawberry.mutation(
        description="Replace a key by a new one that may do the same; the old one works on for"
        " the grace.",
        permission_classes=_ADMINS,
    )
    async def rotate_api_key(
        self,
        info: Info,
        id: KeyId,
        grace_seconds: Annotated[
            int, strawberry.argument(description="How long the old key still works: 0 to 90 days.")
        ] = 86_400,
    ) -> RotateApiKeyResult:
        if not 0 <= grace_seconds <= MAX_GRACE_SECONDS:
            return invalid("/graceSeconds", "range", f"must be 0 to {MAX_GRACE_SECONDS}")
        tenant_id = info.context.tenant_id
        old = await access.find_key(tenant_id, id)
        if old is None or old.revoked_at is not None:
            return NotFound(message="there is no live key of this id")
        scopes = [Scope(scope) for scope in old.scopes]
        refusal = _exceeds(info.context.principal, scopes, old.sources, old.event_types)
        if refusal is not None:
            return refusal
        new = await access.rotate_key(
            tenant_id,
            id,
            environment=info.context.settings.environment,
            grace=timedelta(seconds=grace_seconds),
            actor=info.context.principal.public_id,
        )
        if new is None:
            return NotFound(message="there is no live key of this id that was not rotated yet")
        return await _created(info, new)

    @strawberry.mutation(
        description="Revoke a key; every worker refuses it within a second.",
        permission_classes=_ADMINS,
    )
    async def revoke_api_key(self, info: Info, id: KeyId) -> RevokeApiKeyResult:
        tenant_id, actor = info.context.tenant_id, info.context.principal.public_id
        revoked = await access.revoke_key(tenant_id, id, actor=actor)
        key = await access.find_key(tenant_id, id) if revoked else None
        if key is None:
            return NotFound(message="there is no live key of this id")
        return RevokedApiKey(api_key=_api_key(key))


def _unusable(input: CreateApiKeyInput) -> Invalid | None:
    if not 1 <= len(input.name.strip()) <= MAX_NAME_CHARS:
        return invalid("/name", "length", f"must have 1 to {MAX_NAME_CHARS} characters")
    if not input.scopes:
        return invalid("/scopes", "length", "a key without a scope can do nothing")
    for field, names in (("sources", input.sources), ("eventTypes", input.event_types)):
        for index, name in enumerate(names or ()):
            if key_flaw(name) is not None:
                return invalid(f"/{field}/{index}", "name", "is not a name that an event can have")
    if input.events_per_minute is not None and input.events_per_minute < 1:
        return invalid("/eventsPerMinute", "range", "must be 1 or more")
    if input.expires_at is not None and input.expires_at.tzinfo is None:
        return invalid("/expiresAt", "offset", "needs a UTC offset")
    if input.expires_at is not None and input.expires_at <= clock.now():
        return invalid("/expiresAt", "range", "must be in the future")
    return None


def _exceeds(
    principal: Principal,
    scopes: list[Scope],
    sources: list[str] | None,
    event_types: list[str] | None,
) -> NotPermitted | None:
    """Whether a key could do more than the one that is to give it out."""
    lacking = [scope for scope in scopes if not principal.may(scope)]
    if lacking:
        message = f"the calling key lacks {', '.join(lacking)} itself"
        return NotPermitted(message=message, reason="scope_not_held")
    for mine, wanted in ((principal.sources, sources), (principal.event_types, event_types)):
        if mine is not None and (not wanted or not mine.issuperset(wanted)):
            message = "the calling key is limited to fewer sources or event types itself"
            return NotPermitted(message=message, reason="limit_not_held")
    return None


async def _created(info: Info, new: NewKey) -> CreatedApiKey:
    key = await access.find_key(info.context.tenant_id, new.public_id)
    assert key is not None
    return CreatedApiKey(api_key=_api_key(key), key=new.text)


def _api_key(key: KeyInfo) -> ApiKey:
    return ApiKey(
        id=strawberry.ID(key.id),
        name=key.name,
        scopes=[Scope(scope) for scope in key.scopes],
        sources=key.sources,
        event_types=key.event_types,
        events_per_minute=key.events_per_minute,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        number=key.number,
    )
