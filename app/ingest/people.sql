-- What people did. A person is a root profile and all that were merged into it.

-- name: scan_by_person
-- Latest occurrence first: each profile scanned by itself, then merged by person. Parameters as
-- in the scans of reading.sql; then $13 people and $14 their profiles, one pair a profile.
select s.person, s.at, s.key, s.received_at, s.row_bytes, s.matches, s.place
from (
    select
        k.person,
        m.*,
        row_number() over newest_first as place,
        count(*) filter (where m.matches) over newest_first as found
    from unnest($13::uuid[], $14::uuid[]) as k (person, profile_id)
    cross join lateral (
        select
            e.occurred_at as at,
            e.event_key as key,
            e.received_at,
            e.size_bytes as row_bytes,
            e.tenant_id = $1
            and ($9::bigint is null or e.source_id = $9)
            and ($10::bigint is null or e.event_type_id = $10)
            and ($11::bigint is null or e.version_id = $11)
            and ($12::bool is null or (e.warnings is not null) = $12) as matches
        from event e
        where e.profile_id = k.profile_id
          and e.received_at >= $2
          and e.occurred_at >= $3 and e.occurred_at < $4
          and (e.occurred_at, e.event_key) < ($5, $6)
        order by e.occurred_at desc, e.event_key desc
        limit $7
    ) m
    window newest_first as (partition by k.person order by m.at desc, m.key desc)
) s
where s.place <= $7 and s.found <= $8 and (s.matches or s.place = $7)
order by s.person, s.at desc, s.key desc

-- name: count_by_type
-- What people did: the newest $4 events of each of their profiles.
select k.person, k.profile_id, t.name as event_type, count(*) as events,
       min(e.occurred_at) as first_at, max(e.occurred_at) as last_at
from unnest($2::uuid[], $3::uuid[]) as k (person, profile_id)
cross join lateral (
    select *
    from event e
    where e.profile_id = k.profile_id
    order by e.occurred_at desc
    limit $4
) e
join event_type t on t.id = e.event_type_id
where e.tenant_id = $1
group by k.person, k.profile_id, t.name

-- name: read_last_occurrences
-- When people were last seen.
select k.person, max(e.occurred_at) as last_at
from unnest($2::uuid[], $3::uuid[]) as k (person, profile_id)
cross join lateral (
    select *
    from event e
    where e.profile_id = k.profile_id
    order by e.occurred_at desc
    limit 1
) e
where e.tenant_id = $1
group by k.person
