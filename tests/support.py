"""What tests share: a seeded tenant, the service in this process, and the service as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec

from app.access import queries as access
from app.access.keys import Scope
from app.cli.starter import registry_folder
from app.db.pool import Connection, close_pool, open_pool
from app.main import create_app
from app.registry.files import read_registry
from app.registry.service import apply_files
from app.settings import Settings
from app.stats.queries import Reconciliation, read_reconciliation

TENANT = "demo"

EXAMPLE: dict[str, Any] = {
    "source": "brand.pos",
    "externalEventId": "txn_987654321",
    "eventType": "purchase_completed",
    "occurredAt": "2026-05-20T12:45:00Z",
    "identity": {"externalUserId": "L-123456789", "email": "customer@example.com"},
    "properties": {
        "order_id": "order_42",
        "amount": 120.50,
        "currency": "USD",
        "store_id": "store_42",
    },
}
"""The contract's example, word for word."""


def purchase(external_event_id: str, **changes: Any) -> dict[str, Any]:
    """The contract's example under another key; changes replace top-level fields."""
    return deepcopy(EXAMPLE) | {"externalEventId": external_event_id} | changes


class Seed(msgspec.Struct, frozen=True):
    """A tenant with the product's registry and one key that may do everything."""

    tenant_id: int
    key: str


async def seed(database_url: str, tenant: str = TENANT) -> Seed:
    pool = await open_pool(database_url, max_size=2)
    try:
        tenant_id = await access.create_tenant(tenant)
        await apply_files(tenant_id, read_registry(registry_folder()), actor="test")
        # There are no events yet, so nothing is missing in the storage of what is segmentable.
        await pool.execute(
            "update segment_property set state = 'READY', ready_at = created_at,"
            " measured_at = created_at + interval '1 day'"
        )
        key = await access.create_key(
            tenant_id, name="test", scopes=[Scope.ADMIN], environment="test"
        )
        return Seed(tenant_id, key.text)
    finally:
        await close_pool(pool)


class Api:
    """The service behind a client, and its database for looking behind the answers."""

    def __init__(self, client: httpx.AsyncClient, database_url: str, seeded: Seed) -> None:
        self.client = client
        self.database_url = database_url
        self.key = seeded.key
        self.tenant_id = seeded.tenant_id

    async def post(
        self, event: object, *, key: str | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return await self.client.post(
            "/v1/cdp/events", content=_body(event), headers=self._headers(key, headers)
        )

    async def batch(
        self, items: object, *, key: str | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        body = _body({"items": items}) if isinstance(items, list) else _body(items)
        return await self.client.post(
            "/v1/cdp/events/batch", content=body, headers=self._headers(key, headers)
        )

    async def results(self, items: list[object]) -> list[dict[str, Any]]:
        """The entries of a batch's answer."""
        response = await self.batch(items)
        assert response.status_code == 200, response.text
        found: list[dict[str, Any]] = response.json()["results"]
        return found

    async def new_key(self, **changes: Any) -> str:
        options: dict[str, Any] = {"name": "test", "scopes": [Scope.EVENTS_WRITE]} | changes
        key = await access.create_key(self.tenant_id, environment="test", **options)
        return key.text

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()

    async def reconciliation(self) -> Reconciliation:
        return await reconciliation(self.database_url, self.tenant_id)

    def _headers(self, key: str | None, more: dict[str, str] | None) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {key or self.key}",
            "Content-Type": "application/json",
        } | (more or {})


def _body(value: object) -> bytes:
    return value if isinstance(value, bytes) else msgspec.json.encode(value)


async def reconciliation(database_url: str, tenant_id: int) -> Reconciliation:
    """Counters against rows, over all time."""
    connection = await asyncpg.connect(database_url)
    try:
        return await read_reconciliation(
            connection,
            tenant_id,
            datetime(2000, 1, 1, tzinfo=UTC),
            datetime(2100, 1, 1, tzinfo=UTC),
        )
    finally:
        await connection.close()


async def move_counters_back(connection: Connection, tenant_id: int, time: timedelta) -> None:
    """As if all that was counted were so much longer ago; it is summed up anew."""
    async with connection.transaction():
        for table in ("ingest_stat_progress", "ingest_stat_hour", "ingest_stat_day"):
            await connection.execute(f"delete from {table} where tenant_id = $1", tenant_id)
        for table, columns in (
            ("ingest_stat", ["minute"]),
            ("ingest_freshness", ["last_minute", "known_since"]),
        ):
            moved = ", ".join(f"{column} = {column} - $2::interval" for column in columns)
            await connection.execute(
                f"update {table} set {moved} where tenant_id = $1", tenant_id, time
            )


@asynccontextmanager
async def service_in_process(
    database_url: str, seeded: Seed, **settings: Any
) -> AsyncIterator[Api]:
    """The whole application in this event loop, its lifespan included.

    Its callers are patient unless told otherwise: on a busy machine two seconds are soon over.
    """
    settings = {"log_level": "error", "answer_within_seconds": 20.0} | settings
    app = create_app(Settings(database_url=database_url, **settings))
    started, stop = asyncio.Event(), asyncio.Event()

    async def run() -> None:  # in a task of its own: Litestar must leave where it entered
        async with app.lifespan():
            started.set()
            await stop.wait()

    running = asyncio.create_task(run())
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    try:
        if not running.done():
            async with httpx.AsyncClient(transport=transport, base_url="http://cdp") as client:
                yield Api(client, database_url, seeded)
    finally:
        stop.set()
        await running


class Service(msgspec.Struct, frozen=True):
    """Where a service process listens, a key for it, and its database."""

    url: str
    key: str
    database_url: str
    tenant_id: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServiceProcess:
    """`cdp serve` as a user starts it, on a free loopback port."""

    def __init__(
        self, environment: dict[str, str], *arguments: str, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - not a pipe: it could fill up
        self._printed = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--port", str(self.port), *arguments],
            env=clean_environment() | environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def printed(self) -> str:
        """Everything on standard output and standard error so far."""
        if not self._log.closed:
            self._log.seek(0)
            self._printed = self._log.read()
        return self._printed

    def wait_until_ready(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.printed()
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError("the service did not become ready")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()

    def stop(self) -> str:
        """Stop as Ctrl-C does; returns what was printed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        printed = self.printed()
        self._log.close()
        return printed


def clean_environment() -> dict[str, str]:
    """This process's environment without CDP_* and coverage of earlier tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CDP_")}


@contextmanager
def service_process(environment: dict[str, str], *arguments: str) -> Iterator[ServiceProcess]:
    service = ServiceProcess(environment, *arguments)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.stop()


def run_cdp(
    *arguments: str, environment: dict[str, str], cwd: Path | None = None, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=cwd,
    )


async def eventually(condition: Any, seconds: float = 5) -> None:
    """Wait until an async condition holds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)
