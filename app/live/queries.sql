-- What was committed lately, from the three tables that have an index by time of receipt.

-- name: scan_outcomes
-- Outcomes in the order of their receipt, by key only: most of a scan has been seen before. Each
-- branch is one bounded scan of one index; `received_at >= $2` leaves out partitions.
select c.at, c.key, c.place
from (
    (
        select e.received_at as at, e.event_key as key, 1 as place
        from event e
        where e.tenant_id = $1
          and e.received_at >= $2 and (e.received_at, e.event_key) > ($2, $3)
        order by e.received_at, e.event_key
        limit $4
    )
    union all
    (
        select d.received_at, d.delivery_id, 2
        from delivery d
        where d.tenant_id = $1
          and d.received_at >= $2 and (d.received_at, d.delivery_id) > ($2, $3)
        order by d.received_at, d.delivery_id
        limit $4
    )
    union all
    (
        select q.received_at, q.quarantine_id, 3
        from quarantine q
        where q.tenant_id = $1
          and q.received_at >= $2 and (q.received_at, q.quarantine_id) > ($2, $3)
        order by q.received_at, q.quarantine_id
        limit $4
    )
) c
order by c.at, c.key
limit $4

-- name: read_accepted
select k.key, e.received_at, e.external_event_id, s.name as source, t.name as event_type,
       a.public_id as key_id, a.name as key_name
from unnest($2::int[], $3::uuid[], $4::timestamptz[]) as k (bucket, key, at)
cross join lateral (
    select * from event e
    where e.bucket = k.bucket and e.event_key = k.key and e.received_at = k.at
    offset 0
) e
join source s on s.id = e.source_id
join event_type t on t.id = e.event_type_id
join api_key a on a.id = e.api_key_id
where e.tenant_id = $1

-- name: read_redelivered
-- By the index of receipt: a delivery's own id does not lead to its bucket. The ledger knows when
-- the event was received; type and external id are the event's, and gone with it.
select k.key, d.received_at, d.outcome, d.differing, d.event_key, e.external_event_id,
       s.name as source, t.name as event_type, a.public_id as key_id, a.name as key_name
from unnest($2::uuid[], $3::timestamptz[]) as k (key, at)
cross join lateral (
    select * from delivery d
    where d.tenant_id = $1 and d.received_at = k.at and d.delivery_id = k.key
    offset 0
) d
left join lateral (
    select * from event_key l
    where l.bucket = d.bucket and l.event_key = d.event_key
    offset 0
) l on true
left join lateral (
    select * from event e
    where e.bucket = l.bucket and e.event_key = l.event_key and e.received_at = l.received_at
    offset 0
) e on true
left join source s on s.id = d.source_id
left join event_type t on t.id = e.event_type_id
left join api_key a on a.id = d.api_key_id

-- name: read_rejected
select k.key, q.received_at, q.source, q.event_type, q.external_event_id, q.error_code, q.reasons,
       a.public_id as key_id, a.name as key_name
from unnest($2::int[], $3::uuid[]) as k (bucket, key)
cross join lateral (
    select * from quarantine q
    where q.bucket = k.bucket and q.quarantine_id = k.key
    offset 0
) q
left join api_key a on a.id = q.api_key_id
where q.tenant_id = $1
