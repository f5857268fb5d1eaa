-- Marks of segmentable properties, and the values kept for them. A mark has a table of its own;
-- segment_value_0 stands for it here.

-- name: read_marks
-- What every flush of a tenant feeds: for the worker's snapshot.
select id, event_type_id, name, value_type, is_array
from segment_property
where tenant_id = $1 and state <> 'DROPPING'
order by id

-- name: read_stored_marks
-- With their states, of some event types.
select p.*, t.name as event_type
from segment_property p
join event_type t on t.id = p.event_type_id
where p.tenant_id = $1 and p.event_type_id = any ($2::bigint[]) and p.state <> 'DROPPING'
order by p.id

-- name: count_marks
-- In every state: storage that is still to go counts.
select count(*)
from segment_property
where tenant_id = $1 and event_type_id = $2

-- name: list_marks
-- A page in the order in which they were made; unmarked ones too, until their storage is gone.
select p.*, t.name as event_type
from segment_property p
join event_type t on t.id = p.event_type_id
where p.tenant_id = $1 and p.id > $2 and ($3::text is null or t.name = $3)
order by p.id
limit $4

-- name: find_event_types
select name, id
from event_type
where tenant_id = $1 and name = any ($2::text[])

-- name: insert_mark
insert into segment_property (tenant_id, event_type_id, path, name, value_type, is_array, pii,
                              created_at, created_by, next_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8)
returning id

-- name: unmark
-- Flushes stop feeding it; its storage goes when all of them have.
update segment_property
set state = 'DROPPING',
    known_at = null
where tenant_id = $1 and id = $2 and state <> 'DROPPING'

-- name: set_pii
-- The class may become stronger with a version; what is masked changes with it.
update segment_property
set pii = $3
where tenant_id = $1 and id = $2

-- name: create_values
create table segment_value_0 (
    bucket       int not null,
    received_at  timestamptz not null,
    event_key    uuid not null,
    profile_id   uuid not null,
    occurred_at  timestamptz not null,
    value        value_type not null
)

-- name: create_values_by_value
-- A selective condition, with or without a window of time, reads only what it finds; and the events
-- with a value are a list that is newest first, ties included.
create index segment_value_0_value on segment_value_0 (value, occurred_at, event_key)
include (profile_id)

-- name: create_values_by_event
-- Has an event its values yet? Other conditions on the same event, and retention, find it as well.
create index segment_value_0_event on segment_value_0 (received_at, event_key)

-- name: analyze_values
analyze segment_value_0

-- name: drop_values
drop table segment_value_0

-- name: claim_building
-- The one that waited longest; its row is the lock. While another worker has it, nobody takes the
-- next: one batch at a time in the whole database.
select id, tenant_id, event_type_id, name, value_type, is_array, known_at, cursor_at, cursor_key
from segment_property
where id = (
    select id from segment_property
    where state = 'BUILDING' and next_at <= $1
    order by next_at, id
    limit 1
)
  and state = 'BUILDING'
for update skip locked

-- name: postpone_building
-- The one whose batch has just failed: it is still the next.
update segment_property
set next_at = $2
where id = (
    select id from segment_property
    where state = 'BUILDING' and next_at <= $1
    order by next_at, id
    limit 1
)

-- name: start_building
-- Counters say how much there is to read: nobody has to count it. Hours where they are summed up,
-- minutes behind: years of minutes would take longer than a statement may.
update segment_property
set known_at = $3,
    events_total = (
        select coalesce(sum(h.events), 0) from ingest_stat_hour h
        where h.bucket = 0 and h.tenant_id = $1 and h.source_id = -1 and h.event_type_id = -1
          and h.outcome = 1 and h.hour >= $4
    ) + (
        select coalesce(sum(m.events), 0) from ingest_stat m
        where m.bucket = 0 and m.tenant_id = $1 and m.outcome = 1
          and m.minute >= greatest($4, (
              select p.rolled_until from ingest_stat_progress p
              where p.bucket = 0 and p.tenant_id = $1
          ))
    )
where tenant_id = $1 and id = $2

-- name: move_values
-- Of events that are put on another profile. By the place of each row: it is found by its event,
-- and the planner cannot turn that round.
update segment_value_0
set profile_id = $3
where ctid = any (array(
    select v.ctid
    from unnest($1::timestamptz[], $2::uuid[]) as k (received_at, event_key)
    cross join lateral (
        select v.ctid from segment_value_0 v
        where v.received_at = k.received_at and v.event_key = k.event_key
        offset 0
    ) v
))

-- name: share_graph
-- Before profiles of events are read, to be written elsewhere: no merge is undone in between.
select pg_advisory_xact_lock_shared($1::int, $2::int)

-- name: read_scan_end
-- Where the next batch of a tenant's events ends, whatever their type, and how many they are.
select received_at, event_key, number
from (
    select e.received_at, e.event_key,
           row_number() over (order by e.received_at, e.event_key) as number
    from event e
    where e.tenant_id = $1
      and e.received_at >= $2
      and (e.received_at, e.event_key) > ($2, $3)
      and e.received_at < $4
    order by e.received_at, e.event_key
    limit $5
) scanned
order by number desc
limit 1

-- name: read_unfed
-- What a batch has of the property, but for events whose own flush has fed it already.
-- `offset 0`: the events of a batch are found by time of receipt, however rare their type is.
select e.received_at, e.event_key, e.profile_id, e.occurred_at,
       (e.properties -> $3::text)::text as value
from (
    select * from event e
    where e.tenant_id = $1
      and e.received_at >= $4
      and (e.received_at, e.event_key) > ($4, $5)
      and e.received_at <= $6
      and (e.received_at, e.event_key) <= ($6, $7)
    offset 0
) e
where e.event_type_id = $2
  and e.profile_id is not null
  and jsonb_typeof(e.properties -> $3::text) <> 'null'
  and not exists (
      select 1 from segment_value_0 v
      where v.received_at = e.received_at and v.event_key = e.event_key
  )

-- name: advance
update segment_property
set cursor_at = coalesce($3, cursor_at),
    cursor_key = coalesce($4, cursor_key),
    next_at = $5,
    events_scanned = events_scanned + $6,
    values_written = values_written + $7
where tenant_id = $1 and id = $2

-- name: finish_building
update segment_property
set state = 'READY',
    ready_at = $3,
    events_total = events_scanned,
    coverage = $4,
    measured_at = $3
where tenant_id = $1 and id = $2

-- name: claim_dropping
select tenant_id, id, known_at
from segment_property
where state = 'DROPPING' and (known_at is null or known_at <= $1)
order by id
limit 1
for update skip locked

-- name: announce_dropping
update segment_property
set known_at = $3
where tenant_id = $1 and id = $2

-- name: delete_mark
delete from segment_property
where tenant_id = $1 and id = $2

-- name: claim_unmeasured
-- One whose coverage was not looked at since; only one worker looks.
select id, tenant_id, event_type_id, name, value_type, is_array
from segment_property
where state = 'READY' and measured_at < $1
order by measured_at
limit 1
for update skip locked

-- name: read_coverage
-- The share of a type's latest events that carry a property; null when there are no events.
select count(*) filter (where jsonb_typeof(e.properties -> $3::text) <> 'null')::float8
       / nullif(count(*), 0)
from (
    select properties from event
    where tenant_id = $1 and event_type_id = $2
    order by occurred_at desc
    limit $4
) e

-- name: set_coverage
update segment_property
set coverage = $3,
    measured_at = $4
where tenant_id = $1 and id = $2

-- name: read_value_tables
-- All there are, for retention.
select id, tenant_id
from segment_property
where state <> 'DROPPING'
order by id

-- name: delete_values_before
-- A bounded step; events that old have been dropped.
delete from segment_value_0
where ctid = any (array(
    select v.ctid from segment_value_0 v where v.received_at < $1 order by v.received_at limit $2
))

-- name: read_statistics
-- What ANALYZE found of each table's values; no row before it has run.
select s.tablename, c.reltuples::float8 as value_rows, s.n_distinct::float8 as n_distinct,
       s.most_common_vals::text::text[] as common_values,
       s.most_common_freqs::float8[] as common_shares
from pg_stats s
join pg_class c on c.oid = s.tablename::regclass
where s.tablename = any ($1::text[])
  and s.schemaname = current_schema()
  and s.attname = 'value'
