-- What every worker holds in memory of keys and sources.

-- name: read_revisions
select id, access_revision, registry_revision
from tenant

-- name: read_principals
select k.id, k.public_id, k.name, k.secret_hash, k.scopes, k.sources, k.event_types,
       k.events_per_minute, k.expires_at, k.tenant_id, t.name as tenant_name, t.hash_key,
       t.quarantine_days, t.events_per_minute as tenant_events_per_minute, t.max_sources
from api_key k
join tenant t on t.id = k.tenant_id
where k.revoked_at is null and (k.expires_at is null or k.expires_at > $1)

-- name: read_sources
select id, name, status, on_mismatch, default_phone_region
from source
where tenant_id = $1

-- name: find_phone_region
-- Where a source's phone numbers without a country are from.
select default_phone_region from source where tenant_id = $1 and name = $2

-- name: lock_tenant
-- One registration or change of sources at a time, so that the limit holds and none is lost.
select 1 from tenant where id = $1 for no key update

-- name: register_sources
insert into source (tenant_id, name, first_seen_at)
select $1, n.name, $4
from unnest($2::text[]) as n (name)
where not exists (select 1 from source s where s.tenant_id = $1 and s.name = n.name)
limit greatest(0, $3::int - (select count(*) from source s where s.tenant_id = $1))
on conflict do nothing

-- name: report_usage
-- What this worker let through in the current minute; absolute, so a repeat does no harm.
insert into rate_usage (subject, minute, writer, events)
select n.subject, $1, $2, n.events
from unnest($3::text[], $4::bigint[]) as n (subject, events)
order by n.subject
on conflict (subject, minute, writer) do update set events = excluded.events

-- name: read_usage
select subject, sum(events)::bigint as events
from rate_usage
where subject = any ($3::text[]) and minute = $1 and writer <> $2
group by subject

-- name: forget_usage
delete from rate_usage where minute < $1
