"""Where commands that go through the public API send their requests, and with which key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec

from app import clock
from app.access import queries as access
from app.access.keys import Scope
from app.cli.runtime import Problem, database_url, service_url, tenant_id
from app.db.pool import close_pool, open_pool
from app.settings import Settings

PASSING_KEY = timedelta(hours=12)


class Target(msgspec.Struct, frozen=True):
    url: str
    key: str


@asynccontextmanager
async def target(
    settings: Settings,
    *,
    tenant: str | None,
    key: str | None,
    url: str | None,
    purpose: str,
) -> AsyncIterator[Target]:
    """A service to talk to: the one named, the running one, or one started for the while.

    Without a key of the caller's, a key that passes soon is made for the tenant.
    """
    if url is not None:
        if key is None:
            raise Problem("a service elsewhere needs --key as well")
        yield Target(url.rstrip("/"), key)
        return
    if key is None and tenant is None:
        raise Problem("say for whom: --tenant NAME, or --key KEY")
    async with service_url(settings) as found:
        if key is not None:
            yield Target(found, key)
            return
        async with _passing_key(settings, str(tenant), purpose) as text:
            yield Target(found, text)


@asynccontextmanager
async def _passing_key(settings: Settings, tenant: str, purpose: str) -> AsyncIterator[str]:
    """A key that may write events, made beside the running service; revoked at the end."""
    with database_url(settings) as database:
        pool = await open_pool(database, max_size=1)
        try:
            number = await tenant_id(tenant)
            key = await access.create_key(
                number,
                name=f"cdp {purpose}",
                scopes=[Scope.EVENTS_WRITE],
                environment=settings.environment,
                expires_at=clock.now() + PASSING_KEY,
            )
            try:
                yield key.text
            finally:
                await access.revoke_key(number, key.public_id)
        finally:
            await close_pool(pool)
