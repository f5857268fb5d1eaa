-- Profiles as people ask for them. Bounded scans: app/db/scan.py. No joins between event-side
-- tables (docs/scaling.md): aliases are followed by the application.

-- name: scan_profiles
-- A tenant's profiles, newest first; those that were merged into another are no rows of the list.
-- `created_at <= $3` says nothing new; it is here as in the other scans.
select s.at, s.key, s.root_id, s.created_at, s.known, s.matches, s.place
from (
    select
        p.created_at as at,
        p.profile_id as key,
        p.root_id,
        p.created_at,
        p.known,
        row_number() over (order by p.created_at desc, p.profile_id desc) as place,
        p.root_id = p.profile_id and ($7::bool is null or p.known = $7) as matches
    from profile p
    where p.tenant_id = $1
      and p.created_at >= $2 and p.created_at <= $3
      and (p.created_at, p.profile_id) < ($3, $4)
    order by p.created_at desc, p.profile_id desc
    limit $5
) s
where s.matches or s.place = $5
order by s.at desc, s.key desc
limit $6

-- name: read_aliases
-- Who was merged into these profiles.
select p.root_id, p.profile_id
from unnest($2::uuid[]) as k (root_id)
cross join lateral (
    select * from profile p
    where p.root_id = k.root_id and p.root_id <> p.profile_id
    limit $3
) p
where p.tenant_id = $1

-- name: read_identifiers_of
-- What leads to these profiles.
select i.identifier_key, i.kind, i.value, i.profile_id, i.event_key, i.first_seen_at,
       s.name as source
from unnest($2::uuid[]) as k (profile_id)
cross join lateral (
    select * from identifier i
    where i.profile_id = k.profile_id
    limit $3
) i
left join source s on s.id = i.source_id
where i.tenant_id = $1

-- name: read_identifiers
-- Where these identifiers lead, and who said so first.
select i.identifier_key, i.kind, i.value, i.profile_id, i.event_key, i.first_seen_at,
       s.name as source
from unnest($2::int[], $3::uuid[]) as k (bucket, identifier_key)
cross join lateral (
    select * from identifier i
    where i.bucket = k.bucket and i.identifier_key = k.identifier_key
    offset 0
) i
left join source s on s.id = i.source_id
where i.tenant_id = $1

-- name: read_merges
-- Merges into these profiles, those included that were undone.
select m.merge_id, m.survivor_id, m.merged_id, m.merged_at, m.event_key, m.undone_at, m.undone_by
from unnest($2::uuid[]) as k (survivor_id)
cross join lateral (
    select * from profile_merge m
    where m.survivor_id = k.survivor_id
    order by m.merged_at desc
    limit $3
) m
where m.tenant_id = $1

-- name: read_conflicts_of
-- Clashes of these profiles, from either side; the same one can come back twice.
select c.conflict_key, c.kind, c.identifier_key, c.owner_id, c.chosen_id, c.rule, c.event_key,
       c.first_seen_at
from unnest($2::uuid[]) as k (profile_id)
cross join lateral (
    (
        select * from identity_conflict c
        where c.owner_id = k.profile_id
        order by c.first_seen_at desc
        limit $3
    )
    union all
    (
        select * from identity_conflict c
        where c.chosen_id = k.profile_id
        order by c.first_seen_at desc
        limit $3
    )
) c
where c.tenant_id = $1

-- name: scan_conflicts
-- A tenant's clashes, newest first.
select s.*
from (
    select
        c.first_seen_at as at,
        c.conflict_key as key,
        c.*,
        row_number() over (order by c.first_seen_at desc, c.conflict_key desc) as place,
        ($7::text is null or c.rule = $7) as matches
    from identity_conflict c
    where c.tenant_id = $1
      and c.first_seen_at >= $2 and c.first_seen_at <= $3
      and (c.first_seen_at, c.conflict_key) < ($3, $4)
    order by c.first_seen_at desc, c.conflict_key desc
    limit $5
) s
where s.matches or s.place = $5
order by s.at desc, s.key desc
limit $6
