"""`cdp serve` and `cdp migrate`: the service itself, with everything it needs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
import typer
import uvicorn
from uvicorn.supervisors import Multiprocess

from app.cli.protocol import (
    MAX_MESSAGE_BYTES,
    PING_SECONDS,
    BoundedHeadProtocol,
    BoundedSocketProtocol,
)
from app.cli.runtime import Problem, announced, data_dir, out, with_database
from app.cli.starter import prepare_demo_tenant, try_it_text
from app.db.embedded import EmbeddedPostgres, running_dsn
from app.db.migrate import migrate
from app.logs import configure_logs
from app.metrics import MULTIPROCESS_DIR
from app.settings import Settings, read_settings

WATCH_SECONDS = 0.5
BACKLOG = 2048
"""Connections that may wait to be taken; uvicorn's own figure."""

log = structlog.get_logger()


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 0.0.0.0 for every one.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Worker processes.")] = None,
    dev: Annotated[
        bool,
        typer.Option("--dev", help="Make a tenant `demo`, its registry and a key to try it with."),
    ] = False,
) -> None:
    """Serve the API: start the embedded Postgres (or use CDP_DATABASE_URL), migrate, listen.

    Ctrl-C answers what is under way, then stops everything, Postgres included.
    A closed terminal stops it as well, nohup excepted.
    """
    given = {"host": host, "port": port, "workers": workers}
    settings = msgspec.structs.replace(
        read_settings(), **{name: value for name, value in given.items() if value is not None}
    )
    configure_logs(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    config = _server_config(settings)
    listening = _bind(settings)
    url = _address(settings)
    with _postgres(settings) as database:
        os.environ["CDP_DATABASE_URL"] = database
        asyncio.run(migrate(database, months_ahead=settings.months_ahead))
        out.print(f"listening on {url}   docs: {url}/docs   stop: Ctrl-C")
        if dev:
            key = asyncio.run(prepare_demo_tenant(database, data_dir(settings)))
            out.print(try_it_text(url, key), markup=False)
        with announced(settings, url):
            _run(config, listening)
    out.print("stopped")


def migrate_command() -> None:
    """Bring the database to the newest schema. `serve` does it by itself."""

    async def nothing_more(settings: Settings) -> None:
        return None

    with_database(nothing_more)
    out.print("the database is up to date")


def _server_config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        "app.main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=BoundedHeadProtocol,
        ws=BoundedSocketProtocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.drain_seconds,
    )


def _bind(settings: Settings) -> list[socket.socket]:
    """Take the port first: a second service on it fails before it has touched anything.

    Listen at once: who comes before the workers do waits, and is not refused.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        raise Problem(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
            " (another port: --port)"
        ) from None
    listener.set_inheritable(True)
    return [listener]


def _address(settings: Settings) -> str:
    """Where this machine reaches it: "every address" is no address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _run(config: uvicorn.Config, listening: list[socket.socket]) -> None:
    """Until a signal. Several workers share the socket; one that dies is started again."""
    if config.workers == 1:
        server = uvicorn.Server(config)
        try:
            server.run(sockets=listening)
        except (KeyboardInterrupt, SystemExit):
            pass  # uvicorn stops gracefully, then sends itself the signal again
        if not server.started:
            raise Problem("the service could not start; the log above says why")
        return
    with tempfile.TemporaryDirectory(prefix="cdp-metrics-", dir=_memory_folder()) as folder:
        os.environ[MULTIPROCESS_DIR] = folder
        on_hangup = signal.getsignal(signal.SIGHUP)
        workers = Multiprocess(config, sockets=listening)
        signal.signal(signal.SIGHUP, on_hangup)  # uvicorn's would outlive the terminal
        workers.run()


def _memory_folder() -> str | None:
    """For the workers' shared counters, which are files mapped into memory.

    On a disk a write to them waits for the journal whenever Postgres commits: 15 ms instead of 3
    for a lone event (measured).
    """
    folder = Path("/dev/shm")  # noqa: S108
    return str(folder) if os.access(folder, os.W_OK) else None


@contextmanager
def _postgres(settings: Settings) -> Iterator[str]:
    """The database's URL; the embedded one is watched and started again if it dies."""
    if settings.database_url:
        yield settings.database_url
        return
    root = data_dir(settings)
    if running_dsn(root) is not None:
        raise Problem(f"a service is running on {root} already (another: CDP_DATA_DIR)")
    with EmbeddedPostgres(root) as postgres:
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(postgres, done), daemon=True)
        watcher.start()
        try:
            yield postgres.dsn()
        finally:
            done.set()
            watcher.join()


def _watch(postgres: EmbeddedPostgres, done: threading.Event) -> None:
    while not done.wait(WATCH_SECONDS):
        if postgres.is_running():
            continue
        log.error("postgres_died", action="starting it again")
        try:
            postgres.restart()
        except Exception as error:
            log.error("postgres_restart_failed", error=type(error).__name__)
