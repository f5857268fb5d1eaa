"""Every statement of the hot path finds its rows by key, from the first row on and for ever.

A plan made while a table was young is kept while it grows, so the young one is what is tested:
each scan of a table must look up the key that it is given. A scan of a whole index would pass for
"served by an index", and reads the whole table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from app.db.pool import close_pool, open_pool
from app.dedupe.queries import SQL as LEDGER
from app.identity.queries import SQL as IDENTITY
from app.identity.unmerging.queries import SQL as UNMERGING
from app.ingest.queries import SQL as EVENTS
from app.proposals.queries import SQL as PROPOSALS
from app.quarantine.queries import SQL as QUARANTINE
from app.quarantine.reading import SQL as QUARANTINED
from app.segments.queries import on_values
from tests.support import Seed, purchase, service_in_process

A_MARK = 1
"""The product's registry has marked properties."""

STATEMENTS: list[tuple[str, str, set[str]]] = [
    ("read_keys", LEDGER["read_keys"], {"bucket", "event_key"}),
    ("read_links", IDENTITY["read_links"], {"bucket", "identifier_key"}),
    ("read_profiles", IDENTITY["read_profiles"], {"bucket", "profile_id"}),
    ("lock_profiles", IDENTITY["lock_profiles"], {"bucket", "profile_id"}),
    ("change_profile", IDENTITY["change_profile"], {"bucket", "profile_id"}),
    ("read_aliases", IDENTITY["read_aliases"], {"root_id"}),
    ("move_root", IDENTITY["move_root"], {"bucket", "profile_id"}),
    ("read_members", UNMERGING["read_members"], {"root_id"}),
    ("read_edges", UNMERGING["read_edges"], {"merged_id"}),
    ("read_links_to", UNMERGING["read_links_to"], {"profile_id"}),
    ("count_events_since", UNMERGING["count_events_since"], {"profile_id"}),
    ("read_events_since", UNMERGING["read_events_since"], {"profile_id"}),
    ("undo_merge", UNMERGING["undo_merge"], {"bucket", "merge_id"}),
    ("separate_member", UNMERGING["separate_member"], {"bucket", "profile_id"}),
    ("move_link", UNMERGING["move_link"], {"bucket", "identifier_key"}),
    ("move_values", on_values("move_values", A_MARK), {"received_at", "event_key"}),
    ("read_contents", EVENTS["read_contents"], {"bucket", "event_key", "received_at"}),
    ("delete_expired", QUARANTINE["delete_expired"], {"expires_at"}),
    ("scan_open", QUARANTINED["scan_open"], {"tenant_id", "received_at"}),
    ("discard", QUARANTINED["discard"], {"bucket", "quarantine_id"}),
    ("read_unfed", on_values("read_unfed", A_MARK), {"received_at", "event_key"}),
    ("delete_values_before", on_values("delete_values_before", A_MARK), {"received_at"}),
    ("read_rejected", PROPOSALS["read_rejected"], {"tenant_id", "event_type"}),
    ("read_stripped", PROPOSALS["read_stripped"], {"tenant_id", "event_type_id"}),
]


def rows_ahead(connection: Any) -> int:
    """Rows that a window reads beyond its limit: none since Postgres 18, one in 15 (measured)."""
    return 0 if connection.get_server_version().major >= 18 else 1


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "a few rows"])
@pytest.mark.parametrize(
    ("sql", "keys"), [pytest.param(sql, keys, id=name) for name, sql, keys in STATEMENTS]
)
async def test_rows_are_looked_up_by_key(
    database_url: str, seeded: Seed, sql: str, keys: set[str], filled: bool
) -> None:
    if filled:
        async with service_in_process(database_url, seeded) as api:
            await api.results(
                [purchase(f"e{n}", identity={"email": f"{n}@x.io"}) for n in range(9)]
            )
    pool = await open_pool(database_url, max_size=1)
    try:
        async with pool.acquire() as connection:
            await connection.execute("set plan_cache_mode = force_generic_plan")
            await connection.execute(f"prepare tested as {sql}")
            number = max(int(digits) for digits in re.findall(r"\$(\d+)", sql))
            nulls = ", ".join(["null"] * number)
            explained = await connection.fetchval(f"explain (format json) execute tested ({nulls})")
    finally:
        await close_pool(pool)
    nodes = list(walk(json.loads(explained)[0]["Plan"]))
    assert not any("Seq Scan" in node["Node Type"] for node in nodes), explained
    looked_up = [node for node in nodes if "Index Name" in node]
    assert looked_up, explained
    for node in looked_up:
        condition = node.get("Index Cond", "")
        by_primary_key = node["Index Name"].endswith("_pkey") and condition
        assert by_primary_key or all(key in condition for key in keys), explained
