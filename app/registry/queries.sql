-- The registry as workers and the command line read it.

-- name: read_catalog
-- The newest version of each type, and older ones that are still accepted.
select t.id as event_type_id, t.name, t.status, t.status_note, t.sunset_at, v.id as version_id,
       v.version, v.document,
       case when v.version = newest.version then null else v.accepted_until end as accepted_until
from event_type t
join lateral (
    select max(version) as version from event_type_version where event_type_id = t.id
) newest on true
join event_type_version v on v.event_type_id = t.id
where t.tenant_id = $1
  and (v.version = newest.version or v.accepted_until > $2)
order by t.name, v.version desc

-- name: read_versions
-- Every version of every type, for plan and pull; marked as in governance's read_history.
select t.name, v.version, v.checksum, v.document, v.forced, v.published_by,
       array(select p.name
             from segment_property p
             where p.tenant_id = $1 and p.event_type_id = t.id
               and p.state <> 'DROPPING') as marked
from event_type t
join event_type_version v on v.event_type_id = t.id
where t.tenant_id = $1
order by t.name, v.version

-- name: read_settings
-- What is said of every type, here and in the files that were last applied.
select id, name, status, owner, display_name, description, compatibility, settings_in_files
from event_type
where tenant_id = $1
order by name

-- name: lock_registry
-- One change of a tenant's registry at a time. `no key`: rows that refer to the tenant are written
-- beside it; a backfill's would wait here for an unmarking that waits for the backfill.
select registry_revision from tenant where id = $1 for no key update
