-- Events by the values of their marked properties. Parameters as in the scans of reading.sql, then
-- the values that are compared with. A mark has a table of its own: segment_value_0 stands for it,
-- and (test) for what its values are compared with.

-- name: scan_values
-- Newest first. `entries` stands for what the leading test finds in its mark's table; `at` is the
-- time that the list goes by. An event with several such values comes once.
-- `offset 0`: events are looked up one by one, as they are needed.
select
    s.at, s.key, s.received_at, s.matches, s.place,
    coalesce((
        select e.size_bytes from event e
        where e.bucket = s.bucket and e.event_key = s.key and e.received_at = s.received_at
    ), 0) as row_bytes
from (
    select
        v.at,
        v.event_key as key,
        v.received_at,
        v.bucket,
        row_number() over newest_first as place,
        v.event_key is distinct from lag(v.event_key) over newest_first
        and (num_nulls($9::bigint, $11::bigint, $12::bool) = 3 or exists (
            select 1 from event e
            where e.bucket = v.bucket and e.event_key = v.event_key
              and e.received_at = v.received_at
              and e.tenant_id = $1 and e.event_type_id = $10
              and ($9::bigint is null or e.source_id = $9)
              and ($11::bigint is null or e.version_id = $11)
              and ($12::bool is null or (e.warnings is not null) = $12)
            offset 0
        )) as matches
    from (entries) v
    where v.received_at >= $2
      and v.occurred_at >= $3 and v.occurred_at < $4
      and (v.at, v.event_key) < ($5, $6)
    window newest_first as (order by v.at desc, v.event_key desc)
    order by v.at desc, v.event_key desc
    limit $7
) s
where s.matches or s.place = $7
order by s.at desc, s.key desc
limit $8

-- name: read_in_order
-- The entries of one value, as their index has them. Postgres merges those of several as it goes:
-- each select has its own order and limit, because it would sort what it can take apart. As in
-- scan_by_type, the end of the window is left to the position.
(select o.bucket, o.received_at, o.event_key, o.occurred_at, o.occurred_at as at
 from segment_value_0 o
 where (test)
   and o.occurred_at >= $3
   and (o.occurred_at, o.event_key) < ($5, $6)
 order by o.occurred_at desc, o.event_key desc
 limit $7)

-- name: read_few
-- All entries of a test that has few, to be sorted. `ordered_at` stands for the time to go by.
select o.bucket, o.received_at, o.event_key, o.occurred_at, o.ordered_at as at
from segment_value_0 o
where (test)
order by o.value
limit $7

-- name: count_values
-- How many entries a test has, up to $1: more are more than few.
(select count(*) from (select from segment_value_0 o where (test) order by o.value limit $1) few)

-- name: keep_to_indexes
-- What bounds a page is the order of an index: no guess about few rows may be put in its place.
set local plan_cache_mode = force_custom_plan;
set local enable_seqscan = off;
set local enable_bitmapscan = off;
set local enable_sort = off
