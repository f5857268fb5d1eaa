-- Statements of identity resolution. No joins between tables: identifiers and profiles have
-- buckets of their own, and may live on different shards (docs/scaling.md).
-- Reads look each key up by `lateral … offset 0`, which the planner cannot turn round (decision 7).

-- name: read_links
-- Whose are these identifiers?
select i.identifier_key, i.profile_id
from unnest($2::int[], $3::uuid[]) as k (bucket, identifier_key)
cross join lateral (
    select * from identifier i
    where i.bucket = k.bucket and i.identifier_key = k.identifier_key
    offset 0
) i
where i.tenant_id = $1

-- name: read_profiles
-- The profiles behind links, or the roots behind aliases.
select p.profile_id, p.root_id, p.created_at, p.known, p.external_key, p.apart
from unnest($2::int[], $3::uuid[]) as k (bucket, profile_id)
cross join lateral (
    select * from profile p
    where p.bucket = k.bucket and p.profile_id = k.profile_id
    offset 0
) p
where p.tenant_id = $1

-- name: insert_identifiers
-- Rows that do not come back were taken by another flush: the plan is void.
insert into identifier (bucket, identifier_key, tenant_id, kind, value, profile_id, source_id,
                        event_key, first_seen_at)
select n.bucket, n.identifier_key, $1, n.kind, n.value, n.profile_id, n.source_id, n.event_key, $2
from unnest($3::int[], $4::uuid[], $5::smallint[], $6::text[], $7::uuid[], $8::bigint[], $9::uuid[])
     as n (bucket, identifier_key, kind, value, profile_id, source_id, event_key)
on conflict do nothing
returning identifier_key

-- name: lock_profiles
-- Roots that merge or change, locked in the order of the parameters, which are sorted by
-- (bucket, id); compared with what was planned on.
select p.profile_id, p.root_id, p.created_at, p.known, p.external_key, p.apart
from unnest($2::int[], $3::uuid[]) as k (bucket, profile_id)
cross join lateral (
    select * from profile p
    where p.bucket = k.bucket and p.profile_id = k.profile_id
    offset 0
    for update
) p
where p.tenant_id = $1

-- name: change_profile
-- One row, executed for many: rows that are locked already.
update profile
set known = $4,
    external_key = $5,
    apart = $6
where bucket = $2 and profile_id = $3 and tenant_id = $1

-- name: read_aliases
-- Who already points at a root that is about to be merged.
select p.root_id, p.profile_id
from unnest($2::uuid[]) as k (root_id)
cross join lateral (
    select * from profile p
    where p.root_id = k.root_id and p.root_id <> p.profile_id
    offset 0
) p
where p.tenant_id = $1

-- name: move_root
-- A merged root, or an alias of one, points at the survivor: chains stay one step long.
update profile
set root_id = $4
where bucket = $2 and profile_id = $3 and tenant_id = $1

-- name: insert_merges
insert into profile_merge (bucket, merge_id, tenant_id, survivor_id, merged_id, merged_at,
                           event_key, image)
select n.bucket, n.merge_id, $1, n.survivor_id, n.merged_id, $2, n.event_key, n.image
from unnest($3::int[], $4::uuid[], $5::uuid[], $6::uuid[], $7::uuid[], $8::jsonb[])
     as n (bucket, merge_id, survivor_id, merged_id, event_key, image)

-- name: insert_conflicts
-- Each pair once, however often it is seen.
insert into identity_conflict (bucket, conflict_key, tenant_id, kind, identifier_key, owner_id,
                               chosen_id, rule, event_key, first_seen_at)
select n.bucket, n.conflict_key, $1, n.kind, n.identifier_key, n.owner_id, n.chosen_id, n.rule,
       n.event_key, $2
from unnest($3::int[], $4::uuid[], $5::smallint[], $6::uuid[], $7::uuid[], $8::uuid[], $9::text[],
            $10::uuid[])
     as n (bucket, conflict_key, kind, identifier_key, owner_id, chosen_id, rule, event_key)
on conflict do nothing
