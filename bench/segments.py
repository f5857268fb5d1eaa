"""Measures audience previews on many events of one type: `python -m bench.segments`.

Fills an embedded Postgres of its own with rows made by SQL, as ingest and backfill would leave
them, then asks as the GraphQL API does. Prints the median of warm runs, and the plans.
"""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.db.pool import Pool
from app.segments import queries
from app.segments.audience.definition import Definition, Did, Every, Total, Without
from app.segments.audience.preview import preview_audience, resolve_definition
from app.segments.audience.queries import Audience, audience_statement
from app.segments.conditions import Condition, Limits
from bench.scratch import fill_mark, main

RUNS = 11
STORES = 2_000
EVENTS_A_PROFILE = 10
STEP = 500_000

# Ids are hashes, as real ones are; one profile in fifty was merged into the one before it.
PROFILES = """
insert into profile (bucket, profile_id, tenant_id, root_id, created_at, known)
select ('x' || left(md5('p' || n), 3))::bit(12)::int, md5('p' || n)::uuid, $1,
       md5('p' || case when n % 50 = 0 then n - 1 else n end)::uuid, now(), true
from generate_series($2::bigint, $3) n
"""
EVENTS = f"""
insert into event (bucket, event_key, received_at, tenant_id, source_id, event_type_id, version_id,
                   api_key_id, external_event_id, occurred_at, occurred_at_sent, profile_id,
                   size_bytes, identity, properties)
select ('x' || left(md5('e' || n), 3))::bit(12)::int, md5('e' || n)::uuid,
       $5::timestamptz + n * $6::interval, $1, 1, $4, 1, 1, 'e' || n,
       $5::timestamptz + n * $6::interval - interval '1 minute', true,
       md5('p' || (hashint8(n) & 2147483647) % $7 + 1)::uuid, 300, '{{}}',
       jsonb_build_object(
           'order_id', 'order_' || n,
           'currency', 'EUR',
           'amount', round(((hashint8(n * 3) & 2147483647) % 50000)::numeric / 100, 2),
           'store_id', 'store_' || (hashint8(n * 5) & 2147483647) % {STORES}
       )
from generate_series($2::bigint, $3) n
"""
VALUES = """
insert into segment_value_0 (bucket, received_at, event_key, profile_id, occurred_at, value)
select bucket, received_at, event_key, profile_id, occurred_at, (properties ->> $1)::value_type
from event
"""
VALUE_TYPES = {"amount": "numeric", "store_id": "text"}


async def fill(pool: Pool, tenant_id: int, events: int) -> None:
    """Profiles, events and the values of two marks; the other marks stay as they are."""
    profiles = max(events // EVENTS_A_PROFILE, 1)
    async with pool.acquire() as connection:
        await connection.execute("set synchronous_commit = off")
        ids = await queries.find_event_types(connection, tenant_id, ["purchase_completed"])
        start = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        step = (datetime.now(UTC) - start) / (events + 1)
        for first in range(1, profiles + 1, STEP):
            await connection.execute(PROFILES, tenant_id, first, min(first + STEP - 1, profiles))
        for first in range(1, events + 1, STEP):
            last = min(first + STEP - 1, events)
            await connection.execute(
                EVENTS, tenant_id, first, last, *ids.values(), start, step, profiles
            )
            print(f"  {last:,} events", flush=True)
        for held in await queries.read_stored_marks(connection, tenant_id, list(ids.values())):
            if value_type := VALUE_TYPES.get(held.mark.name):
                sql = VALUES.replace("value_type", value_type)
                await fill_mark(connection, held.mark.mark_id, sql, held.mark.name)


def questions() -> dict[str, Definition]:
    """What marketing asks, from the selective to the broad."""
    now = datetime.now(UTC)
    store = Condition("/store_id", equals="store_42")
    others = Condition("/store_id", one_of=["store_1", "store_2", "store_3"])
    dear = Condition("/amount", limits=Limits(at_least=490))
    week = now - timedelta(days=7)
    bought_there = Did("purchase_completed", [store])
    return {
        "bought in one store": bought_there,
        "… in the last 7 days": Did("purchase_completed", [store], after=week),
        "… for 490 or more": Did("purchase_completed", [store, dear]),
        "… twice or more": Did("purchase_completed", [store], at_least=2),
        "… for 700 or more all together": Did(
            "purchase_completed", [store], total=Total("/amount", at_least=Decimal(700))
        ),
        "bought in one of 3 others, but not there": Every(
            [Did("purchase_completed", [others]), Without(bought_there)]
        ),
        "bought for 490 or more anywhere (2 % of all events)": Did("purchase_completed", [dear]),
    }


async def measure(pool: Pool, tenant_id: int) -> None:
    async with pool.acquire() as connection:
        version = await connection.fetchval("show server_version")
    print(f"\nPostgres {version}\n\n| audience | profiles | ms |\n|---|---|---|")
    for name, definition in questions().items():
        seconds, profiles = [], 0
        for _ in range(RUNS):
            started = time.perf_counter()
            found = await preview_audience(
                pool, tenant_id, definition, 10, may_read_personal_data=True
            )
            seconds.append(time.perf_counter() - started)
            assert isinstance(found, Audience), found
            profiles = found.profiles
        print(f"| {name} | {profiles:,} | {statistics.median(seconds) * 1000:.1f} |")
    for name, definition in list(questions().items())[:3]:
        async with pool.acquire() as connection:
            node = await resolve_definition(
                connection, tenant_id, definition, may_read_personal_data=True
            )
            sql, arguments = audience_statement(tenant_id, node, 10)
            await connection.execute("set plan_cache_mode = force_custom_plan")
            plan = await connection.fetch(f"explain (analyze, buffers) {sql}", *arguments)
        print(f"\n{name}\n" + "\n".join(row[0] for row in plan))


if __name__ == "__main__":
    main(__doc__, 10_000_000, fill, measure)
