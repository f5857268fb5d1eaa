-- What was counted. One statement reads how far the roll-ups are, the roll-ups, and the minutes
-- since: one snapshot, so nothing is missed or counted twice. Bucket 0 is where add_counts writes.

-- name: read_days_until
-- Days before are rolled up; it only grows, so what was read stays right.
select days_until
from ingest_stat_progress
where bucket = 0 and tenant_id = $1

-- name: read_sources
select id, name
from source
where tenant_id = $1 and ($2::text[] is null or name = any ($2))

-- name: read_event_types
select id, name
from event_type
where tenant_id = $1 and ($2::text[] is null or name = any ($2))

-- name: read_counts
-- $2       beginnings of the steps
-- $3..$8   ranges of days, hours and minutes
-- $9, $10  source and event type ids; {-1} is all of them, whose sum the roll-ups hold
-- $11      outcomes
-- $12      quarters at which hours are cut, their ends included
-- $13..$16 whether to tell sources, event types, outcomes, reasons apart
-- $17      rows
--
-- Where there are many pairs, sources and types that have nothing of it are left out first: the sums
-- over all types, and over all sources, tell. Most errors are of few.
with asked as (
    select id as source_id, -1 as event_type_id, true as is_source
    from unnest($9::bigint[]) as source (id)
    union all
    select -1, id, false
    from unnest($10::bigint[]) as type (id)
), present as materialized (
    select *
    from asked a
    where cardinality($9::bigint[]) * cardinality($10::bigint[]) <= 1000
       or exists (
           select from unnest($3::timestamptz[], $4::timestamptz[]) as range (lo, hi)
           cross join lateral (
               select from ingest_stat_day d
               where d.bucket = 0 and d.tenant_id = $1
                 and d.source_id = a.source_id and d.event_type_id = a.event_type_id
                 and d.day >= range.lo and d.day < range.hi
                 and d.outcome = any ($11::smallint[])
               limit 1
           ) as found
       )
       or exists (
           select from unnest($5::timestamptz[], $6::timestamptz[]) as range (lo, hi)
           cross join lateral (
               select from ingest_stat_hour h
               where h.bucket = 0 and h.tenant_id = $1
                 and h.source_id = a.source_id and h.event_type_id = a.event_type_id
                 and h.hour >= range.lo and h.hour < range.hi
                 and h.outcome = any ($11::smallint[])
               limit 1
           ) as found
       )
), source as (
    select source_id as id from present where is_source
), type as (
    select event_type_id as id from present where not is_source
), counted as (
    select d.day as at, d.source_id, d.event_type_id, d.outcome, d.reason, d.events
    from unnest($3::timestamptz[], $4::timestamptz[]) as range (lo, hi)
    cross join source
    cross join type
    cross join lateral (
        select * from ingest_stat_day d
        where d.bucket = 0 and d.tenant_id = $1
          and d.source_id = source.id and d.event_type_id = type.id
          and d.day >= range.lo and d.day < range.hi
        offset 0
    ) d
    union all
    select h.hour + part.lo * interval '15 minutes', h.source_id, h.event_type_id, h.outcome,
           h.reason,
           case when part.hi - part.lo = 4 then h.events
                else case when part.lo = 0 then h.quarters[1] else 0 end
                   + case when part.lo <= 1 and part.hi > 1 then h.quarters[2] else 0 end
                   + case when part.lo <= 2 and part.hi > 2 then h.quarters[3] else 0 end
                   + case when part.hi = 4 then h.quarters[4] else 0 end
           end
    from unnest($5::timestamptz[], $6::timestamptz[]) as range (lo, hi)
    cross join source
    cross join type
    cross join lateral (
        select * from ingest_stat_hour h
        where h.bucket = 0 and h.tenant_id = $1
          and h.source_id = source.id and h.event_type_id = type.id
          and h.hour >= range.lo and h.hour < range.hi
        offset 0
    ) h
    cross join (
        select ($12::int[])[n] as lo, ($12::int[])[n + 1] as hi
        from generate_series(1, cardinality($12::int[]) - 1) as n
    ) as part
    union all
    select m.minute, m.source_id, m.event_type_id, m.outcome, m.reason, m.events
    from (
        select lo, hi
        from unnest($7::timestamptz[], $8::timestamptz[]) as asked (lo, hi)
        union all
        select greatest(lo, coalesce((select p.rolled_until from ingest_stat_progress p
                                      where p.bucket = 0 and p.tenant_id = $1), '-infinity')), hi
        from unnest($5::timestamptz[], $6::timestamptz[]) as asked (lo, hi)
    ) as range
    cross join lateral (
        select * from ingest_stat m
        where m.bucket = 0 and m.tenant_id = $1
          and m.minute >= range.lo and m.minute < range.hi
          and ($9 = '{-1}' or m.source_id = any ($9))
          and ($10 = '{-1}' or m.event_type_id = any ($10))
        -- The order of the key: other indexes would have to be read all over.
        order by m.bucket, m.tenant_id, m.minute
        offset 0
    ) m
)
select
    width_bucket(at, $2::timestamptz[]) - 1 as step,
    case when $13::bool then source_id end as source_id,
    case when $14::bool then event_type_id end as event_type_id,
    case when $15::bool then outcome end as outcome,
    case when $16::bool then reason end as reason,
    sum(events)::bigint as events
from counted
where outcome = any ($11::smallint[])
group by 1, 2, 3, 4, 5
limit $17

-- name: read_lag
-- Of the newest events only: the sample is bounded, however much there is.
select
    count(*) as events,
    percentile_disc(0.5) within group (order by lag) as p50,
    percentile_disc(0.95) within group (order by lag) as p95
from (
    select extract(epoch from e.received_at - e.occurred_at)::float8 as lag, e.source_id,
           e.event_type_id, e.occurred_at_sent
    from event e
    where e.tenant_id = $1 and e.received_at >= $2 and e.received_at < $3
    order by e.received_at desc
    limit $4
) as newest
where occurred_at_sent
  and ($5::bigint[] is null or source_id = any ($5))
  and ($6::bigint[] is null or event_type_id = any ($6))

-- name: estimate_accepted
-- Events accepted in some hours, of one source and type (-1 is all of them): whole hours where
-- they are rolled up, so a window that begins or ends within one gets too many.
select (
    coalesce((
        select sum(h.events) from ingest_stat_hour h
        where h.bucket = 0 and h.tenant_id = $1 and h.source_id = $4 and h.event_type_id = $5
          and h.hour >= date_trunc('hour', $2::timestamptz, 'UTC') and h.hour < $3
          and h.outcome = 1
    ), 0)
    + coalesce((
        select sum(m.events) from ingest_stat m
        where m.bucket = 0 and m.tenant_id = $1
          and m.minute >= greatest($2, coalesce((
              select p.rolled_until from ingest_stat_progress p
              where p.bucket = 0 and p.tenant_id = $1
          ), '-infinity'))
          and m.minute < $3
          and $4 in (-1, m.source_id) and $5 in (-1, m.event_type_id)
          and m.outcome = 1
    ), 0)
)::bigint
