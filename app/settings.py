"""Every setting of the service: one frozen struct, read from CDP_* variables.

Limits that callers are promised (sizes, item counts) are no settings: the contract has them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PREFIX = "CDP_"


class SettingsError(ValueError):
    """A CDP_* variable is unknown or has a value outside its range."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field a variable: `database_url` is CDP_DATABASE_URL. Units are in the names."""

    database_url: Annotated[
        str | None, Meta(description="a Postgres of one's own (15 or later); else the embedded one")
    ] = None
    data_dir: Annotated[
        str | None, Meta(description="folder of the embedded Postgres; the default fits the user")
    ] = None
    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="port to listen on")] = 8000
    workers: Annotated[
        int, Meta(ge=1, le=64, description="worker processes; by default one a core, at most 4")
    ] = min(os.cpu_count() or 1, 4)
    environment: Annotated[
        str, Meta(pattern="^[a-z]{1,10}$", description="the second part of new API keys")
    ] = "live"

    pool_size: Annotated[
        int,
        Meta(
            ge=2,
            le=100,
            description="Postgres connections of one worker beside flushes and GraphQL",
        ),
    ] = 6
    flush_lanes: Annotated[
        int, Meta(ge=1, le=16, description="flushes of one worker at once, a connection each")
    ] = 2
    max_flush_events: Annotated[
        int, Meta(ge=1, le=5_000, description="a flush takes waiting requests up to this many")
    ] = 200
    max_queue_events: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="events waiting in one worker, half of them of one tenant; beyond it: 503",
        ),
    ] = 40_000
    max_queue_bytes: Annotated[
        int,
        Meta(
            ge=1 << 20,
            description="bytes of events waiting in one worker, half of one tenant; beyond it: 503",
        ),
    ] = 64 << 20
    answer_within_seconds: Annotated[
        float, Meta(gt=0.05, le=60, description="a caller waits this long for Postgres; then 503")
    ] = 2.0
    body_timeout_seconds: Annotated[
        float, Meta(gt=0, le=600, description="a request body must have arrived within this time")
    ] = 30.0
    drain_seconds: Annotated[
        int, Meta(ge=1, le=600, description="how long a stop waits for requests under way")
    ] = 20
    refresh_seconds: Annotated[
        float,
        Meta(gt=0.05, le=0.9, description="how often keys and registry are looked at for changes"),
    ] = 0.4

    key_events_per_minute: Annotated[
        int, Meta(ge=1, description="rate limit of a key that has none of its own")
    ] = 3_000_000
    tenant_events_per_minute: Annotated[
        int, Meta(ge=1, description="rate limit of a tenant that has none of its own")
    ] = 6_000_000

    graphql_pool_size: Annotated[
        int, Meta(ge=1, le=100, description="Postgres connections of one worker for GraphQL")
    ] = 4
    graphql_statement_seconds: Annotated[
        float, Meta(gt=0.1, le=600, description="a statement of GraphQL is cancelled after this")
    ] = 5.0
    graphql_ide: Annotated[bool, Meta(description="serve the query editor at GET /graphql")] = True
    graphql_introspection: Annotated[
        bool, Meta(description="let GraphQL clients ask for the schema; the editor needs it")
    ] = True

    live_sockets: Annotated[
        int,
        Meta(ge=1, le=10_000, description="WebSocket connections with a key of one worker at once"),
    ] = 100
    live_tenant_sockets: Annotated[
        int, Meta(ge=1, le=10_000, description="of these, what one tenant may have")
    ] = 50
    live_socket_subscriptions: Annotated[
        int, Meta(ge=1, le=100, description="subscriptions of one WebSocket connection")
    ] = 4
    live_waiting_outcomes: Annotated[
        int,
        Meta(
            ge=10,
            le=100_000,
            description="outcomes waiting for one subscriber; beyond it: closed as too slow",
        ),
    ] = 5_000

    event_retention_days: Annotated[
        int, Meta(ge=0, description="events older than this are dropped, by month; 0 keeps all")
    ] = 0
    months_ahead: Annotated[
        int, Meta(ge=1, le=24, description="event partitions made ahead of time")
    ] = 3

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="the least that is logged")
    ] = "info"
    log_format: Annotated[
        Literal["json", "console"], Meta(description="a JSON object a line, or for people")
    ] = "json"


OTHER_VARIABLES = frozenset({"CDP_PG_BIN", "CDP_TEST_DATABASE_URL", "CDP_URL", "CDP_KEY"})
"""Read elsewhere: where the binaries are, the test suite, the command line's remote target."""


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force.

    raises  SettingsError in one line, with the variable's name: a typo must not pass silently.
    """
    values = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and name not in OTHER_VARIABLES and value != ""
    }
    for name in values.keys() - set(Settings.__struct_fields__):
        raise SettingsError(f"there is no setting {PREFIX}{name.upper()} (see docs/settings.md)")
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        reason, _, field = str(error).partition(" - at `$.")
        name = field.removesuffix("`").upper()
        raise SettingsError(f"{PREFIX}{name} is wrong: {reason}") from error
