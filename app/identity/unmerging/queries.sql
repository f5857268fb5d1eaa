-- What an unmerge reads and writes, all of it under one tenant's exclusive lock (decision 20).

-- name: limit_time
-- Of this transaction: of its waits for locks, for ingest waits as long behind a lock that is asked
-- for, and of each statement, for ingest waits behind the lock that is held.
select set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)

-- name: hold_graph
-- No flush of the tenant is under way from now on, and what they wrote is there to be read.
select pg_advisory_xact_lock($1::int, $2::int)

-- name: read_members
-- A root and all that were merged into it.
select p.profile_id, p.created_at, p.set_apart
from (
    (select * from profile where bucket = $2 and profile_id = $3 offset 0)
    union all
    (select * from profile where root_id = $3 and root_id <> profile_id offset 0)
) p
where p.tenant_id = $1

-- name: read_edges
-- The merges of these profiles that stand: one of each but the root.
select m.merge_id, m.survivor_id, m.merged_id, m.merged_at, m.event_key
from unnest($2::uuid[]) as k (merged_id)
cross join lateral (
    select * from profile_merge m
    where m.merged_id = k.merged_id and m.undone_at is null
    offset 0
) m
where m.tenant_id = $1

-- name: read_links_to
-- What leads to these profiles.
select i.identifier_key, i.kind, i.value, i.profile_id, i.event_key
from unnest($2::uuid[]) as k (profile_id)
cross join lateral (
    select * from identifier i
    where i.profile_id = k.profile_id
    limit $3
) i
where i.tenant_id = $1
limit $3

-- name: count_events_since
-- How many there are to be placed again, up to a limit.
select count(*)
from (
    select
    from unnest($2::uuid[], $3::timestamptz[]) as k (profile_id, since)
    cross join lateral (
        select e.tenant_id from event e
        where e.profile_id = k.profile_id and e.received_at >= k.since
        limit $4
    ) e
    where e.tenant_id = $1
    limit $4
) counted

-- name: read_events_since
-- What was put on these profiles since the merge, with what its senders' numbers need to be read.
select e.event_key, e.received_at, e.event_type_id, e.profile_id, e.identity,
       s.default_phone_region
from unnest($2::uuid[], $3::timestamptz[]) as k (profile_id, since)
cross join lateral (
    select * from event e
    where e.profile_id = k.profile_id and e.received_at >= k.since
    limit $4
) e
left join source s on s.id = e.source_id
where e.tenant_id = $1
limit $4

-- name: undo_merge
-- The row stays: who merged, who undid it, and when.
update profile_merge
set undone_at = $4,
    undone_by = $5
where bucket = $2 and merge_id = $3 and tenant_id = $1

-- name: separate_member
-- One row, executed for every member of both sides.
update profile
set root_id = $4,
    set_apart = $5
where bucket = $2 and profile_id = $3 and tenant_id = $1

-- name: move_link
update identifier
set profile_id = $4
where bucket = $2 and identifier_key = $3 and tenant_id = $1

-- name: move_event
update event
set profile_id = $5
where bucket = $2 and event_key = $3 and received_at = $4 and tenant_id = $1
