-- Rejected items: pages of them, one of them, what they have in common, and what became of them.

-- name: scan_items
-- A tenant's items, newest first. A bounded scan: app/db/scan.py.
select s.at, s.key, s.matches, s.place, s.expires_at, s.source, s.external_event_id, s.event_type,
       s.error_code, s.reasons, s.size_bytes, s.payload, s.resolution, s.resolved_at, s.event_key
from (
    select
        q.received_at as at,
        q.quarantine_id as key,
        q.expires_at, q.source, q.external_event_id, q.event_type, q.error_code, q.reasons,
        q.size_bytes, q.payload, q.resolution, q.resolved_at, q.event_key,
        row_number() over (order by q.received_at desc, q.quarantine_id desc) as place,
        ($7::text is null or q.error_code = $7)
        and ($8::text is null or q.reason = $8)
        and ($9::text is null or q.path = $9)
        and ($10::text is null or q.source = $10)
        and ($11::text is null or q.event_type = $11)
        and ($12::smallint is null or coalesce(q.resolution, 0) = $12) as matches
    from quarantine q
    where q.tenant_id = $1
      and q.received_at >= $2 and q.received_at <= $3
      and (q.received_at, q.quarantine_id) < ($3, $4)
    order by q.received_at desc, q.quarantine_id desc
    limit $5
) s
where s.matches or s.place = $5
order by s.at desc, s.key desc
limit $6

-- name: find_item
select q.received_at as at, q.quarantine_id as key, q.expires_at, q.source, q.external_event_id,
       q.event_type, q.error_code, q.reasons, q.size_bytes, q.payload, q.resolution, q.resolved_at,
       q.event_key
from quarantine q
where q.bucket = $2 and q.quarantine_id = $3 and q.tenant_id = $1

-- name: list_groups
-- Of the newest open items only, so that it is bounded however much there is; `items` says how
-- many were looked at.
with newest as (
    select q.error_code, q.reason, q.path, q.source, q.event_type, q.received_at
    from quarantine q
    where q.tenant_id = $1 and q.received_at >= $2 and q.received_at < $3
      and q.resolution is null
      and ($4::text is null or q.error_code = $4)
      and ($5::text is null or q.reason = $5)
      and ($6::text is null or q.path = $6)
      and ($7::text is null or q.source = $7)
      and ($8::text is null or q.event_type = $8)
    order by q.received_at desc
    limit $9
)
select error_code, reason, path, source, event_type, count(*) as count,
       min(received_at) as first_received_at, max(received_at) as last_received_at,
       sum(count(*)) over ()::bigint as items
from newest
group by error_code, reason, path, source, event_type
order by count(*) desc, max(received_at) desc
limit $10

-- name: scan_oldest
-- A bounded step through items, oldest first: a selective filter makes steps empty, not long.
select scanned.received_at as at, scanned.quarantine_id as key, scanned.is_meant,
       case when scanned.is_meant and $12::bool then scanned.payload end as payload
from (
    select q.quarantine_id, q.received_at, q.payload,
           q.resolution is null
           and ($6::text is null or q.error_code = $6)
           and ($7::text is null or q.reason = $7)
           and ($8::text is null or q.path = $8)
           and ($9::text is null or q.source = $9)
           and ($10::text is null or q.event_type = $10) as is_meant
    from quarantine q
    where q.tenant_id = $1
      and (q.received_at, q.quarantine_id) > ($2, $3)
      and q.received_at >= $4 and q.received_at < $5
    order by q.received_at, q.quarantine_id
    limit $11
) as scanned
order by scanned.received_at, scanned.quarantine_id

-- name: resolve
-- What became of an open item; the first answer stands.
update quarantine
set resolution = $4, resolved_at = $5, event_key = $6
where bucket = $2 and quarantine_id = $3 and tenant_id = $1 and resolution is null

-- name: discard
-- The row stays, for it is counted; what was sent goes.
update quarantine
set resolution = 4, resolved_at = $4, payload = null
where bucket = $2 and quarantine_id = $3 and tenant_id = $1 and resolution is null
returning quarantine_id
