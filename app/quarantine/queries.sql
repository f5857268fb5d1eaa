-- Rejected items with their reasons, until the tenant's TTL.

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
