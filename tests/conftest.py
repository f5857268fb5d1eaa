"""One Postgres for a run, one fresh database for each test that touches data.

The cluster lives on /dev/shm without fsync: a file system is what clones cost. Tests that kill
Postgres start a durable one of their own. CDP_TEST_DATABASE_URL names another server to use.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from hypothesis import settings

from app.db.embedded import EmbeddedPostgres
from app.db.migrate import migrate
from tests.support import Api, Seed, Service, seed, service_in_process, service_process

# Examples are new on every run of a developer's, and always the same in CI.
settings.register_profile("new", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("new")

FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "400",
    "shared_buffers": "128MB",
}
NEEDED_BYTES = 1 << 30
SERVER = pytest.StashKey[str]()
STOP = pytest.StashKey[EmbeddedPostgres]()


def _roomy_folder() -> str | None:
    shared_memory = Path("/dev/shm")
    if shared_memory.is_dir() and shutil.disk_usage(shared_memory).free > NEEDED_BYTES:
        return str(shared_memory)
    return None


def _open_folder(prefix: str, base: str | None = None) -> Path:
    """A new folder that the user of an embedded Postgres can get to as well."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    folder.chmod(0o755)
    return folder


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "contract(rule): the rule of the contract that is shown")
    told = os.environ.get("CDP_TEST_DATABASE_URL")
    if hasattr(config, "workerinput"):
        config.stash[SERVER] = config.workerinput["server"]
    elif told:
        config.stash[SERVER] = told
    elif not config.option.collectonly:
        folder = _open_folder("cdp-test-", _roomy_folder())
        postgres = EmbeddedPostgres(folder, FAST)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        config.add_cleanup(postgres.stop)
        postgres.start()
        config.stash[SERVER] = postgres.dsn("postgres")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    node.workerinput["server"] = node.config.stash[SERVER]  # type: ignore[attr-defined]


class Databases:
    """Makes and drops databases on the run's server."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._is_ours = "CDP_TEST_DATABASE_URL" not in os.environ

    def url(self, name: str) -> str:
        return urlsplit(self._server)._replace(path=f"/{name}").geturl()

    def create(self, template: str | None = None) -> str:
        name = f"cdp_test_{uuid.uuid4().hex[:12]}"
        sql = f"create database {name}"
        if template:
            # On shared memory copying files is quickest; elsewhere Postgres knows best.
            sql += f" template {template}" + (" strategy file_copy" if self._is_ours else "")
        asyncio.run(self._execute(sql))
        return name

    def drop(self, name: str) -> None:
        asyncio.run(self._execute(f"drop database {name} with (force)"))

    async def _execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def databases(pytestconfig: pytest.Config) -> Databases:
    return Databases(pytestconfig.stash[SERVER])


@pytest.fixture(scope="session")
def template(databases: Databases) -> Iterator[tuple[str, Seed]]:
    """A migrated database with tenant `demo`, the product's registry and a key."""
    name = databases.create()
    asyncio.run(migrate(databases.url(name)))
    seeded = asyncio.run(seed(databases.url(name)))
    yield name, seeded
    databases.drop(name)


@pytest.fixture
def seeded(template: tuple[str, Seed]) -> Seed:
    return template[1]


@pytest.fixture
def database_url(databases: Databases, template: tuple[str, Seed]) -> Iterator[str]:
    """A fresh database with what `template` has."""
    name = databases.create(template[0])
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    name = databases.create()
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture
async def api(database_url: str, seeded: Seed) -> AsyncIterator[Api]:
    """The application in this process, on a fresh database."""
    async with service_in_process(database_url, seeded) as api:
        yield api


@pytest.fixture
def service(database_url: str, seeded: Seed) -> Iterator[Service]:
    """`cdp serve` as a process, on a fresh database."""
    with service_process({"CDP_DATABASE_URL": database_url}) as process:
        yield Service(process.url, seeded.key, database_url, seeded.tenant_id)


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """An empty CDP_DATA_DIR."""
    folder = _open_folder("cdp-data-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
