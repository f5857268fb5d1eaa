"""Puts the service together. The only file that knows everything."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from litestar import Litestar

from app.access.authenticator import Authenticator
from app.access.directory import Directory
from app.access.rate import RateLimiter
from app.api.graphql.endpoint import GraphQL, graphql_routes
from app.api.graphql.live_socket import LiveSockets, live_socket
from app.api.rest.errors import exception_handlers
from app.api.rest.events import EventsEndpoint
from app.api.rest.health import Health, healthz, metrics, readyz
from app.api.rest.openapi import BATCH_PATH, EVENTS_PATH, docs_routes
from app.background import Background
from app.db.failures import DRIVER_ERRORS
from app.db.pool import (
    TELLING_CONNECTIONS,
    close_pool,
    open_flush_pool,
    open_pool,
    open_reading_pool,
    open_watching_pool,
)
from app.ingest.committer import Committer
from app.ingest.judge import Judge
from app.ingest.service import Ingest
from app.live.live import Live
from app.logs import configure_logs
from app.process import die_with_parent, tune_garbage_collection
from app.refresher import Refresher
from app.registry.catalog import Catalog
from app.replay.job import Replayer
from app.segments.marks import Marks
from app.settings import Settings, read_settings

WRITER_SLOTS = 64
LOCK_SHARE = 0.75
"""Of the time that a caller waits: a flush that waits for another worker's gives up before, so that
its lane is free for others."""


class Services(msgspec.Struct, frozen=True):
    """What one worker runs on, from its start to its stop."""

    events: EventsEndpoint
    graphql: GraphQL
    live_sockets: LiveSockets
    health: Health
    refresher: Refresher


@asynccontextmanager
async def run_services(settings: Settings) -> AsyncIterator[Services]:
    """Open everything; on the way out answer what is under way, then close.

    Starts while Postgres is away too: not ready, until it is back.
    """
    assert settings.database_url is not None, "cdp serve sets it to the embedded Postgres"
    pool = await open_pool(settings.database_url, max_size=settings.pool_size, min_size=0)
    flush_pool = await open_flush_pool(
        settings.database_url,
        lanes=settings.flush_lanes,
        lock_seconds=LOCK_SHARE * settings.answer_within_seconds,
    )
    watching_pool = await open_watching_pool(settings.database_url)
    reading_pool = await open_reading_pool(
        settings.database_url,
        max_size=settings.graphql_pool_size,
        statement_seconds=settings.graphql_statement_seconds,
    )
    telling_pool = await open_reading_pool(
        settings.database_url,
        max_size=TELLING_CONNECTIONS,
        statement_seconds=settings.graphql_statement_seconds,
    )
    directory, catalog, marks, limiter = Directory(), Catalog(), Marks(), RateLimiter()
    refresher = Refresher(watching_pool, directory, catalog, marks)
    authenticator = Authenticator(directory, refresher.look_again)
    try:
        await refresher.refresh()
    except DRIVER_ERRORS:
        pass  # background tries again; /readyz says no until then
    first_writer = os.urandom(1)[0] * settings.flush_lanes % WRITER_SLOTS
    committer = Committer(flush_pool, settings, first_writer, marks, refresher.look_again)
    tune_garbage_collection()
    ingest = Ingest(pool, directory, Judge(catalog), committer)
    replayer = Replayer(pool, directory, refresher.look_again, ingest)
    background = Background(pool, reading_pool, refresher, limiter, replayer, settings)
    graphql = GraphQL(reading_pool, authenticator, settings)
    live = Live(reading_pool, settings.live_waiting_outcomes)
    try:
        yield Services(
            events=EventsEndpoint(ingest, authenticator, limiter, settings),
            graphql=graphql,
            live_sockets=LiveSockets(graphql.schema, telling_pool, authenticator, live, settings),
            health=Health(watching_pool, refresher),
            refresher=refresher,
        )
    finally:
        await committer.close()
        await background.close()
        await refresher.close()
        await close_pool(flush_pool)
        await close_pool(telling_pool)
        await close_pool(watching_pool)
        await close_pool(reading_pool)
        await close_pool(pool)


class Application(Litestar):
    """Litestar, but for the two addresses that take events: its routing is a sixth of a request."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] in (EVENTS_PATH, BATCH_PATH):
            events: EventsEndpoint = self.state.services.events
            deliver = events.single if scope["path"] == EVENTS_PATH else events.batch
            await deliver(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings | None = None) -> Litestar:
    """The ASGI application of one worker."""
    settings = settings or read_settings()
    configure_logs(settings)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        if multiprocessing.parent_process() is not None:
            die_with_parent()
        async with run_services(settings) as services:
            app.state.services = services
            app.state.health = services.health
            yield

    return Application(
        route_handlers=[
            healthz,
            readyz,
            metrics,
            *docs_routes(),
            *graphql_routes(settings),
            live_socket,
        ],
        lifespan=[lifespan],
        exception_handlers=exception_handlers(),
        openapi_config=None,
        logging_config=None,
    )
