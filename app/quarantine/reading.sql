-- Rejected items: pages of them, one of them, what they have in common, and what became of them.

-- name: scan_items
-- A tenant's items, newest first. A bounded scan: app/db/scan.py. Payloads beyond $13 bytes are not
-- read: their rows are on the next page.
select p.at, p.key, p.matches, p.place, p.expires_at, p.source, p.external_event_id, p.event_type,
       p.error_code, p.reasons, p.size_bytes, p.row_bytes, p.resolution, p.resolved_at, p.event_key,
       case when sum(p.row_bytes) over newest_first - p.row_bytes <= $13 then p.payload end
       as payload
from (
    select *
    from (
        select
            q.received_at as at,
            q.quarantine_id as key,
            q.expires_at, q.source, q.external_event_id, q.event_type, q.error_code, q.reasons,
            q.size_bytes, q.payload, q.resolution, q.resolved_at, q.event_key,
            coalesce(length(q.payload), 0) as row_bytes,
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
) p
window newest_first as (order by p.at desc, p.key desc)
order by p.at desc, p.key desc

-- name: find_item
select q.received_at as at, q.quarantine_id as key, q.expires_at, q.source, q.external_event_id,
       q.event_type, q.error_code, q.reasons, q.size_bytes, q.payload, q.resolution, q.resolved_at,
       q.event_key
from quarantine q
where q.bucket = $2 and q.quarantine_id = $3 and q.tenant_id = $1

-- name: list_groups
-- Of the newest open items only, and the filters after that: bounded however much there is and
-- however little of it is meant. `items` says how many were looked at, in a row of its own when
-- there are no groups.
with newest as (
    select q.error_code, q.reason, q.path, q.source, q.event_type, q.received_at
    from quarantine q
    where q.tenant_id = $1 and q.received_at >= $2 and q.received_at < $3
      and q.resolution is null
    order by q.received_at desc, q.quarantine_id desc
    limit $9
),
greatest_groups as (
    select error_code, reason, path, source, event_type, count(*) as count,
           min(received_at) as first_received_at, max(received_at) as last_received_at
    from newest
    where ($4::text is null or error_code = $4)
      and ($5::text is null or reason = $5)
      and ($6::text is null or path = $6)
      and ($7::text is null or source = $7)
      and ($8::text is null or event_type = $8)
    group by error_code, reason, path, source, event_type
    order by count(*) desc, max(received_at) desc
    limit $10
)
select looked_at.items, g.*
from (select count(*) as items from newest) as looked_at
left join greatest_groups g on true
order by g.count desc, g.last_received_at desc

-- name: scan_oldest
-- A bounded step through items, oldest first: a selective filter makes steps empty, not long.
select scanned.received_at as at, scanned.quarantine_id as key, scanned.is_meant,
       case when scanned.is_meant then scanned.payload end as payload
from (
    select q.quarantine_id, q.received_at, q.payload,
           q.resolution is null
           and case when $6::text is null then q.error_code <> 'forbidden' else q.error_code = $6 end
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

-- name: scan_open
-- The oldest open items, those that are meant and the others: bounded whatever is asked for.
select q.received_at as at, q.quarantine_id as key,
       ($4::text is null or q.error_code = $4)
       and ($5::text is null or q.reason = $5)
       and ($6::text is null or q.path = $6)
       and ($7::text is null or q.source = $7)
       and ($8::text is null or q.event_type = $8) as is_meant
from quarantine q
where q.tenant_id = $1 and q.received_at >= $2 and q.received_at < $3 and q.resolution is null
order by q.received_at, q.quarantine_id
limit $9

-- name: resolve
-- What became of an open item; the first answer stands. An item that was discarded while a replay
-- delivered it has its event.
update quarantine
set resolution = $4, resolved_at = $5, event_key = $6
where bucket = $2 and quarantine_id = $3 and tenant_id = $1
  and (resolution is null or resolution = 4)

-- name: discard
-- The row stays, for it is counted; what was sent goes. Locked in the order of the parameters,
-- which are sorted by (bucket, id), as a replay resolves them; open is asked of the locked row.
update quarantine q
set resolution = 4, resolved_at = $4, payload = null
from (
    select o.bucket, o.quarantine_id
    from unnest($2::int[], $3::uuid[]) as k (bucket, quarantine_id)
    cross join lateral (
        select * from quarantine o
        where o.bucket = k.bucket and o.quarantine_id = k.quarantine_id
        offset 0
        for update
    ) o
    where o.tenant_id = $1 and o.resolution is null
) as given_up
where q.bucket = given_up.bucket and q.quarantine_id = given_up.quarantine_id
