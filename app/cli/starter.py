"""What `cdp serve --dev` gives a newcomer: a tenant, its registry, a key and a first request."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import app
from app import clock
from app.access import queries as access
from app.access.keys import Scope, hash_secret, parse_key
from app.db.pool import close_pool, open_pool
from app.db.tables import ApiKey
from app.registry.files import read_registry
from app.registry.service import Refused, apply_files

TENANT = "demo"
KEY_FILE = "demo.key"
"""In the data folder, readable by its owner only: so that a second start shows the same key."""


def registry_folder() -> Path:
    """The event types that come with the product."""
    beside = Path(app.__file__).parents[1] / "registry_schemas"
    return beside if beside.is_dir() else Path(app.__file__).parent / "_registry_schemas"


async def prepare_demo_tenant(database: str, folder: Path) -> str:
    """Make what is missing of tenant `demo`; returns a working key."""
    pool = await open_pool(database, max_size=2)
    try:
        tenant_id = await access.find_tenant(TENANT) or await access.create_tenant(TENANT)
        with contextlib.suppress(Refused):  # it went its own way since: then it stays as it is
            await apply_files(tenant_id, read_registry(registry_folder()), actor="cli")
        return await _kept_key(folder / KEY_FILE) or await _new_key(tenant_id, folder / KEY_FILE)
    finally:
        await close_pool(pool)


async def _kept_key(file: Path) -> str | None:
    """The key of an earlier start, if it still works."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    parsed = parse_key(text.encode())
    if parsed is None:
        return None
    row = await ApiKey.select().where(ApiKey.public_id == parsed[0]).first()
    if row is None or row["revoked_at"] is not None or row["secret_hash"] != hash_secret(parsed[1]):
        return None
    return text if row["expires_at"] is None or row["expires_at"] > clock.now() else None


async def _new_key(tenant_id: int, file: Path) -> str:
    key = await access.create_key(
        tenant_id, name="development", scopes=[Scope.ADMIN], environment="dev"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(key.text + "\n")
    return key.text


def try_it_text(url: str, key: str) -> str:
    """A request to paste."""
    return f"""
try it:

curl -sS {url}/v1/cdp/events \\
  -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
  -d '{{"source":"brand.pos","externalEventId":"txn_987654321","eventType":"purchase_completed",
       "occurredAt":"2026-05-20T12:45:00Z",
       "identity":{{"externalUserId":"L-123456789","email":"customer@example.com"}},
       "properties":{{"order_id":"order_42","amount":120.50,"currency":"USD","store_id":"store_42"}}}}'
"""
