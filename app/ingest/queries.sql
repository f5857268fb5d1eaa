-- Events as they are kept. New ones are copied in (queries.py).

-- name: read_contents
-- What was first delivered under these keys: to name the paths in which a later delivery differs.
select e.event_key, t.name as event_type, e.occurred_at, e.occurred_at_sent,
       e.identity, e.properties, e.warnings
from unnest($2::int[], $3::uuid[], $4::timestamptz[]) as k (bucket, event_key, received_at)
cross join lateral (
    select * from event e
    where e.bucket = k.bucket and e.event_key = k.event_key and e.received_at = k.received_at
    offset 0
) e
join event_type t on t.id = e.event_type_id
where e.tenant_id = $1
