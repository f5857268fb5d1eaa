-- The key ledger and the history of later deliveries.

-- name: claim_keys
-- Keys that come back are now ours; a key that another transaction is just claiming is waited for.
-- What is claimed is about to be given a profile: until then no merge is undone (decision 20).
insert into event_key (bucket, event_key, tenant_id, fingerprint, received_at, state)
select n.bucket, n.event_key, $1, n.fingerprint, $2, 0
from pg_advisory_xact_lock_shared($6::int, $7::int)
cross join unnest($3::int[], $4::uuid[], $5::uuid[]) as n (bucket, event_key, fingerprint)
on conflict do nothing
returning event_key

-- name: read_keys
-- A statement of its own: the claim's snapshot does not see what it has just waited for.
select l.event_key, l.fingerprint, l.received_at, l.state
from unnest($2::int[], $3::uuid[]) as k (bucket, event_key)
cross join lateral (
    select * from event_key l
    where l.bucket = k.bucket and l.event_key = k.event_key
    offset 0
) l
where l.tenant_id = $1
