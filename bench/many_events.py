"""Fills a database with many events, made by SQL, as ingest would leave them.

Twenty tenants, one of which has four events in five; a few types, sources and people that are
frequent and many that are rare; three months.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from app.access import queries as access
from app.db.partitions import month_starts
from app.db.pool import Connection, Pool
from app.segments import queries
from bench.scratch import fill_mark, set_ready

STEP = 250_000
DAYS = 90
BOUGHT = "purchase_completed"
PERSON = "md5('p0')::uuid"
"""Who has one event in 500."""

INDEXES = "select indexdef from pg_indexes where tablename = 'event' and indexname <> 'event_pkey'"
SOURCES = """
insert into source (tenant_id, name, first_seen_at)
select $1, 'brand.' || n, now() from generate_series(1, 8) n
"""
# A number made of another, 0 to 999,999: what stands for chance.
CHANCE = "(hashint8({}) & 2147483647) % 1000000"
EVENTS = f"""
insert into event (bucket, event_key, received_at, tenant_id, source_id, event_type_id, version_id,
                   api_key_id, external_event_id, occurred_at, occurred_at_sent, profile_id,
                   size_bytes, identity, properties, warnings)
select ('x' || left(md5('e' || n), 3))::bit(12)::int, md5('e' || n)::uuid, t.at,
       case when n % 5 < 4 then $1::bigint else $1 + 1 + n % 19 end,
       $4::bigint + case when c.source < 600000 then 0 when c.source < 999980
                         then 1 + c.source % 6 else 7 end,
       p.type_id, p.version_id, 1, 'e' || n,
       case when c.late < 5000 then date_trunc('day', t.at) - c.late % 10 * interval '1 day'
            else t.at - c.late % 60 * interval '1 second' end,
       true,
       case when c.person < 2000 then {PERSON} else md5('p' || c.person * 4 / 10)::uuid end,
       300, '{{"externalUserId": "C-4711"}}',
       jsonb_build_object('order_id', 'order_' || n, 'currency', 'EUR', 'note', md5(n::text)),
       case when c.warned < 1000 then '[]'::jsonb end
from generate_series($2::bigint, $3) n
cross join lateral (select $5::timestamptz + n * $6::interval as at) t
cross join lateral (
    select {CHANCE.format("n")} as source, {CHANCE.format("n * 3")} as late,
           {CHANCE.format("n * 5")} as person, {CHANCE.format("n * 7")} as warned,
           {CHANCE.format("n * 11")} as kind
) c
cross join lateral (
    select case when c.kind < 200000 then $7::bigint
                else ($8::bigint[])[1 + (c.kind % 100 * (c.kind % 100) / 910)] end as type_id,
           case when c.kind < 20000 then $9::bigint else $10::bigint end as version_id
) p
"""
VALUES = f"""
insert into segment_value_0 (bucket, received_at, event_key, profile_id, occurred_at, value)
select e.bucket, e.received_at, e.event_key, e.profile_id, e.occurred_at, v.value
from event e
cross join lateral (select substr(e.external_event_id, 2)::bigint as n) k
cross join lateral (
    select {CHANCE.format("k.n * 13")} as a, {CHANCE.format("k.n * 17")} as b
) c
cross join lateral (select (expression)::value_type as value) v
where e.tenant_id = $1 and e.event_type_id = $2 and v.value is not null
"""
EXPRESSIONS = {
    # One purchase in five in one store, the others in 2,000.
    "store_id": ("text", "'store_' || case when c.a < 200000 then 0 else 1 + c.a % 2000 end"),
    "amount": ("numeric", "round(c.b / 2000.0, 2)"),
    "coupon_codes": ("text", "case when c.a % 250 = 0 then 'CODE_' || c.b % 40 end"),
    "channel": ("text", "(array['web', 'store', 'app', 'phone'])[1 + c.b % 4]"),
}


def beginning() -> datetime:
    """From this month on there are partitions."""
    return month_starts(datetime.now(UTC), 1)[0]


async def fill(pool: Pool, tenant_id: int, events: int) -> None:
    await access.create_key(tenant_id, name="bench", scopes=[], environment="test")
    started = time.monotonic()
    async with pool.acquire() as connection:
        await _fill(connection, tenant_id, events)
    print(f"  filled in {time.monotonic() - started:.0f} s", flush=True)


async def _fill(connection: Connection, tenant_id: int, events: int) -> None:
    """Rows first, indexes afterwards: they come out the same."""
    start = beginning()
    step = timedelta(days=DAYS) / (events + 1)
    await connection.execute("set synchronous_commit = off; set maintenance_work_mem = '512MB'")
    await connection.execute(SOURCES, tenant_id)
    types = await connection.fetch(
        "select id, name from event_type where tenant_id = $1", tenant_id
    )
    bought = next(row["id"] for row in types if row["name"] == BOUGHT)
    versions = [
        row["id"]
        for row in await connection.fetch(
            "select id from event_type_version where event_type_id = $1 order by version", bought
        )
    ]
    others = [row["id"] for row in types if row["id"] != bought]
    source_id = await connection.fetchval("select min(id) from source")
    indexes = [row["indexdef"] for row in await connection.fetch(INDEXES)]
    for definition in indexes:
        await connection.execute(f"drop index {definition.split()[2]}")
    for first in range(1, events + 1, STEP):
        last = min(first + STEP - 1, events)
        await connection.execute(
            EVENTS, tenant_id, first, last, source_id, start, step, bought, others, *versions
        )
        print(f"  {last:,} events", flush=True)
    for definition in indexes:
        await connection.execute(definition.replace(" ON ONLY ", " ON "))
    for held in await queries.read_stored_marks(connection, tenant_id, [bought]):
        if held.mark.name not in EXPRESSIONS:
            await set_ready(connection, held.mark.mark_id)
            continue
        value_type, expression = EXPRESSIONS[held.mark.name]
        sql = VALUES.replace("value_type", value_type).replace("expression", expression)
        await fill_mark(connection, held.mark.mark_id, sql, tenant_id, bought)
