-- Rejected items with their reasons, until the tenant's TTL.

-- name: list_items
-- Newest first; a page continues before the last row of the one before.
select q.quarantine_id, q.received_at, q.source, q.external_event_id, q.event_type, q.error_code,
       q.reasons, q.size_bytes, q.payload
from quarantine q
where q.tenant_id = $1
  and (q.received_at, q.quarantine_id) < ($2, $3)
  and ($4::text is null or q.source = $4)
  and ($5::text is null or q.event_type = $5)
order by q.received_at desc, q.quarantine_id desc
limit $6

-- name: delete_expired
-- In bounded steps; rows that another worker is deleting are left to it.
delete from quarantine q
using (
    select bucket, quarantine_id
    from quarantine
    where expires_at < $1
    order by expires_at
    limit $2
    for update skip locked
) as gone
where q.bucket = gone.bucket and q.quarantine_id = gone.quarantine_id
