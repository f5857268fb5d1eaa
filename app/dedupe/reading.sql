-- The dedupe history as people ask for it. Bounded scans: app/db/scan.py.

-- name: scan_deliveries
-- A tenant's later deliveries, newest first; names are joined to the page's rows only.
select p.at, p.key, p.event_key, p.outcome, p.differing, p.matches, p.place,
       s.name as source, a.public_id as key_id, a.name as key_name
from (
    select *
    from (
        select
            d.received_at as at,
            d.delivery_id as key,
            d.event_key, d.outcome, d.differing, d.source_id, d.api_key_id,
            row_number() over (order by d.received_at desc, d.delivery_id desc) as place,
            ($7::bigint is null or d.source_id = $7)
            and ($8::smallint is null or d.outcome = $8) as matches
        from delivery d
        where d.tenant_id = $1
          and d.received_at >= $2 and d.received_at <= $3
          and (d.received_at, d.delivery_id) < ($3, $4)
        order by d.received_at desc, d.delivery_id desc
        limit $5
    ) s
    where s.matches or s.place = $5
    order by s.at desc, s.key desc
    limit $6
) p
left join source s on s.id = p.source_id
left join api_key a on a.id = p.api_key_id
order by p.at desc, p.key desc

-- name: read_history
-- Later deliveries of some keys, oldest first, each behind a position of its own; the original's
-- time of receipt leaves out the partitions before it.
select d.received_at as at, d.delivery_id as key, k.place, d.event_key, d.outcome, d.differing,
       s.name as source, a.public_id as key_id, a.name as key_name
from unnest($2::int[], $3::uuid[], $4::timestamptz[], $5::uuid[], $6::int[])
     with ordinality as k (bucket, event_key, at, key, most, place)
cross join lateral (
    select *
    from delivery d
    where d.bucket = k.bucket and d.event_key = k.event_key
      and d.received_at >= k.at and (d.received_at, d.delivery_id) > (k.at, k.key)
    order by d.received_at, d.delivery_id
    limit k.most
) d
left join source s on s.id = d.source_id
left join api_key a on a.id = d.api_key_id
where d.tenant_id = $1
order by k.place, d.received_at, d.delivery_id
