"""Where a command finds the database and the service: running ones, or its own for the while."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import asyncpg
import httpx
from rich.console import Console

from app.access import queries as access
from app.db.embedded import EmbeddedPostgres, EmbeddedPostgresError, default_data_dir, running_dsn
from app.db.failures import DRIVER_ERRORS
from app.db.migrate import MigrationError, migrate
from app.db.pool import close_pool, open_pool
from app.registry.files import RegistryFilesError
from app.registry.service import Refused
from app.settings import Settings, SettingsError, read_settings

T = TypeVar("T")

START_SECONDS = 60

out = Console(highlight=False, soft_wrap=True)


class Problem(Exception):
    """A command cannot do what was asked; the message is one line for its user."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


EXPECTED_ERRORS: tuple[type[Exception], ...] = (
    SettingsError,
    EmbeddedPostgresError,
    MigrationError,
    RegistryFilesError,
    Refused,
    httpx.HTTPError,
    *DRIVER_ERRORS,
)


def one_line(error: Exception) -> str:
    """What went wrong, in a sentence that its reader can act on."""
    if isinstance(error, asyncpg.PostgresError):
        return f"Postgres says: {error.args[0]}"  # its DETAIL would show whole rows
    if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)):
        return f"Postgres cannot be reached: {error.strerror or 'no answer'} (see cdp doctor)"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or f"Postgres cannot be reached: {type(error).__name__} (see cdp doctor)"


def data_dir(settings: Settings) -> Path:
    return Path(settings.data_dir) if settings.data_dir else default_data_dir()


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """The URL of the database: one's own, the running service's, or an embedded one started now."""
    if settings.database_url:
        yield settings.database_url
        return
    root = data_dir(settings)
    running = running_dsn(root)
    if running is not None:
        yield running
        return
    with EmbeddedPostgres(root) as postgres:
        yield postgres.dsn()


def with_database(command: Callable[[Settings], Awaitable[T]]) -> T:
    """Run a command with an open pool on a migrated database."""
    settings = read_settings()
    with database_url(settings) as url:

        async def run() -> T:
            await migrate(url, months_ahead=settings.months_ahead)
            pool = await open_pool(url, max_size=4)
            try:
                return await command(settings)
            finally:
                await close_pool(pool)

        return asyncio.run(run())


async def tenant_id(name: str) -> int:
    """raises  Problem when there is no such tenant"""
    found = await access.find_tenant(name)
    if found is None:
        raise Problem(f"there is no tenant {name!r} (make one: cdp tenants create {name})")
    return found


_DURATION = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


_LONGEST = timedelta(days=36_525)


def duration(text: str) -> timedelta:
    """`90d`, `12h`, `30m`: a whole number and one of s m h d w; a hundred years at most."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise Problem(f"{text!r} is no duration: a whole number and one of s m h d w, like 90d")
    found = timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    if found > _LONGEST:
        raise Problem(f"{text!r} is longer than a hundred years")
    return found


@contextmanager
def announced(settings: Settings, url: str) -> Iterator[None]:
    """A note of where the service listens, for commands that want to talk to it."""
    note = _note(settings)
    note.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"url": url})
    note.write_text(text)
    try:
        yield
    finally:
        if note.exists() and note.read_text() == text:  # not that of a later service
            note.unlink()


@asynccontextmanager
async def service_url(settings: Settings) -> AsyncIterator[str]:
    """The URL of the running service, or of one that is started for the while."""
    url = await _running_service(settings)
    if url is not None:
        yield url
        return
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", str(port)],
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        while not await _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Problem("the service did not start (`cdp doctor` tells more)")
            await asyncio.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


async def _running_service(settings: Settings) -> str | None:
    try:
        url = str(json.loads(_note(settings).read_text())["url"])
    except (OSError, ValueError, KeyError):
        return None
    return url if await _answers(url) else None


def _note(settings: Settings) -> Path:
    """One for each database: services of several may run side by side."""
    if settings.database_url is None:
        return data_dir(settings) / "service.json"
    name = blake2b(settings.database_url.encode(), digest_size=8).hexdigest()
    return data_dir(settings) / f"service-{name}.json"


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=2) as client:
            return (await client.get(f"{url}/readyz")).status_code == 200
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
