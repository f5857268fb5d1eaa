-- Event types, drafts, versions and their audit trail as people read them. Tenant first, always.

-- name: read_event_type
select id, name, display_name, description, owner, status, status_since, status_note, sunset_at,
       compatibility, created_at, revision
from event_type
where tenant_id = $1 and name = $2

-- name: read_event_types
-- For loaders: the types of drafts and versions.
select id, name, display_name, description, owner, status, status_since, status_note, sunset_at,
       compatibility, created_at, revision
from event_type
where tenant_id = $1 and id = any ($2::bigint[])

-- name: list_event_types
-- One page by name. The text is looked for in names and descriptions; event types are few.
select id, name, display_name, description, owner, status, status_since, status_note, sunset_at,
       compatibility, created_at, revision
from event_type
where tenant_id = $1
  and name > $2
  and ($3::text is null
       or position(lower($3) in lower(concat_ws(' ', name, display_name, description))) > 0)
  and ($4::text[] is null or status = any ($4))
order by name
limit $5

-- name: read_event_type_names
-- All of them: a new name must not be confused with one of these.
select name
from event_type
where tenant_id = $1

-- name: read_versions_of
-- Versions without their documents, newest first.
select id, event_type_id, version, checksum, published_at, published_by, reason, forced,
       accepted_until
from event_type_version
where tenant_id = $1 and event_type_id = any ($2::bigint[])
order by event_type_id, version desc

-- name: read_history
-- Every document of some event types, oldest first: what a draft must not break with. And the
-- properties whose values are kept for segments, whatever the documents say of them.
select v.event_type_id, v.version, v.document, v.forced,
       array(select p.name
             from segment_property p
             where p.tenant_id = $1 and p.event_type_id = v.event_type_id
               and p.state <> 'DROPPING') as marked
from event_type_version v
where v.tenant_id = $1 and v.event_type_id = any ($2::bigint[])
order by v.event_type_id, v.version

-- name: read_documents
select id, document
from event_type_version
where tenant_id = $1 and id = any ($2::bigint[])

-- name: read_properties
select version_id, path, types, required, nullable, segmentable, pii, description
from property
where tenant_id = $1 and version_id = any ($2::bigint[])
order by version_id, id

-- name: read_draft
select id, event_type_id, state, document, summary, based_on, authors, created_at, changed_at,
       revision, version_id
from event_type_draft
where tenant_id = $1 and id = $2

-- name: read_open_drafts
-- Those that can still become a version, newest first.
select id, event_type_id, state, document, summary, based_on, authors, created_at, changed_at,
       revision, version_id
from event_type_draft
where tenant_id = $1 and event_type_id = any ($2::bigint[]) and state in ('DRAFT', 'IN_REVIEW')
order by event_type_id, id desc

-- name: list_drafts
-- One page of a tenant's drafts or of an event type's, newest first.
select id, event_type_id, state, document, summary, based_on, authors, created_at, changed_at,
       revision, version_id
from event_type_draft
where tenant_id = $1
  and ($2::bigint is null or event_type_id = $2)
  and ($3::text[] is null or state = any ($3))
  and id < $4
order by id desc
limit $5

-- name: count_open_drafts
select count(*)
from event_type_draft
where tenant_id = $1 and event_type_id = $2 and state in ('DRAFT', 'IN_REVIEW')

-- name: read_compatibility_changes
-- Who changed an event type's mode, and from what, newest first.
select actor, before ->> 'compatibility' as mode_before
from registry_change
where tenant_id = $1 and subject = $2 and action = 'compatibility_changed'
order by id desc

-- name: read_key_replacements
-- Which key was replaced by which: few, for keys are rotated now and then.
select old.public_id, new.public_id as replaced_by
from api_key old
join api_key new on new.id = old.replaced_by
where old.tenant_id = $1
