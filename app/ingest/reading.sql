-- Events as people ask for them: positions by a bounded scan (app/db/scan.py), then rows by key.
--
-- The scans take the same parameters: $1 tenant, $2 received no earlier, $3 and $4 occurred
-- within, $5 and $6 the position to begin behind, $7 rows to look at, $8 rows to return, then
-- filters that are null or must hold: $9 source, $10 event type, $11 version, $12 has warnings.

-- name: scan_by_receipt
-- Newest receipt first. `received_at <= $5` says nothing new, but it leaves out partitions; a
-- comparison of rows does not.
select s.at, s.key, s.received_at, s.row_bytes, s.matches, s.place
from (
    select
        e.received_at as at,
        e.event_key as key,
        e.received_at,
        e.size_bytes as row_bytes,
        row_number() over (order by e.received_at desc, e.event_key desc) as place,
        e.occurred_at >= $3 and e.occurred_at < $4
        and ($9::bigint is null or e.source_id = $9)
        and ($10::bigint is null or e.event_type_id = $10)
        and ($11::bigint is null or e.version_id = $11)
        and ($12::bool is null or (e.warnings is not null) = $12) as matches
    from event e
    where e.tenant_id = $1
      and e.received_at >= $2 and e.received_at <= $5
      and (e.received_at, e.event_key) < ($5, $6)
    order by e.received_at desc, e.event_key desc
    limit $7
) s
where s.matches or s.place = $7
order by s.at desc, s.key desc
limit $8

-- name: scan_by_type
-- One event type, latest occurrence first. Receipt is at most a day before occurrence, so the
-- start of the window leaves out the partitions before it. The position is within the window: its
-- end as a condition of its own is where Postgres would begin to read, at any depth (measured).
select s.at, s.key, s.received_at, s.row_bytes, s.matches, s.place
from (
    select
        e.occurred_at as at,
        e.event_key as key,
        e.received_at,
        e.size_bytes as row_bytes,
        row_number() over (order by e.occurred_at desc, e.event_key desc) as place,
        e.occurred_at < $4
        and ($9::bigint is null or e.source_id = $9)
        and ($11::bigint is null or e.version_id = $11)
        and ($12::bool is null or (e.warnings is not null) = $12) as matches
    from event e
    where e.tenant_id = $1 and e.event_type_id = $10
      and e.received_at >= $2
      and e.occurred_at >= $3
      and (e.occurred_at, e.event_key) < ($5, $6)
    order by e.occurred_at desc, e.event_key desc
    limit $7
) s
where s.matches or s.place = $7
order by s.at desc, s.key desc
limit $8

-- name: read_events
-- The rows behind keys; the time of receipt leads to the partition.
select
    e.event_key, e.received_at, e.external_event_id, e.occurred_at, e.occurred_at_sent,
    e.profile_id, e.size_bytes, e.identity, e.properties, e.warnings, e.version_id,
    s.name as source, t.name as event_type, v.version, a.public_id as key_id, a.name as key_name
from unnest($2::int[], $3::uuid[], $4::timestamptz[]) as k (bucket, event_key, received_at)
cross join lateral (
    select * from event e
    where e.bucket = k.bucket and e.event_key = k.event_key and e.received_at = k.received_at
    offset 0
) e
join source s on s.id = e.source_id
join event_type t on t.id = e.event_type_id
join event_type_version v on v.id = e.version_id
join api_key a on a.id = e.api_key_id
where e.tenant_id = $1

-- name: read_text_sizes
-- What the properties of some events take when they are written out.
select e.event_key, octet_length(e.properties::text) as text_bytes
from unnest($2::int[], $3::uuid[], $4::timestamptz[]) as k (bucket, event_key, received_at)
cross join lateral (
    select * from event e
    where e.bucket = k.bucket and e.event_key = k.event_key and e.received_at = k.received_at
    offset 0
) e
where e.tenant_id = $1

-- name: find_ids
-- Names of a filter; null for one that is not there.
select
    (select id from source where tenant_id = $1 and name = $2) as source_id,
    t.id as event_type_id,
    (select v.id from event_type_version v where v.event_type_id = t.id and v.version = $4)
    as version_id
from (select 1) one
left join event_type t on t.tenant_id = $1 and t.name = $3

-- name: read_documents
-- The versions that judged some events: they say what of a property may be shown.
select id, document
from event_type_version
where tenant_id = $1 and id = any ($2::bigint[])
