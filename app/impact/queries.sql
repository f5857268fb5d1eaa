-- Impact runs, and the events and quarantined items that they judge.

-- name: insert_run
-- Unless the tenant has as many under way as it may; two at once may both see the last place.
insert into impact_run (run_id, tenant_id, event_type, event_type_id, version_ids, document,
                        last_days, max_events, requested_by, requested_at, cursor_at, cursor_id,
                        result, claimed_until)
select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $10
where (select count(*) from impact_run where tenant_id = $2 and finished_at is null) < $14::int
returning *

-- name: find_run
select * from impact_run where run_id = $2 and tenant_id = $1

-- name: list_runs
-- Newest first; a page continues before the last row of the one before.
select *
from impact_run
where tenant_id = $1 and event_type = $2 and (requested_at, run_id) < ($3, $4)
order by requested_at desc, run_id desc
limit $5

-- name: cancel_run
-- The batch under way is not written any more; what was found before stays.
update impact_run
set state = 'CANCELLED', finished_at = $3
where run_id = $2 and tenant_id = $1 and finished_at is null

-- name: claim_run
-- The run that has waited longest gets the next batch. One that led to nothing too often has failed.
update impact_run r
set state = case when r.attempts < $3::int then 'RUNNING' else 'FAILED' end,
    finished_at = case when r.attempts < $3::int then null else $1 end,
    attempts = r.attempts + 1,
    claimed_until = $2
from (
    select run_id
    from impact_run
    where finished_at is null and claimed_until <= $1
    order by claimed_until
    limit 1
    for update skip locked
) as next
where r.run_id = next.run_id
returning r.*

-- name: save_run
-- Only under the claim it was judged under: cancelled, or claimed again, it is not written.
update impact_run
set total = $4, stage = $5, cursor_at = $6, cursor_id = $7, result = $8,
    state = case when $9::timestamptz is null then 'RUNNING' else 'DONE' end,
    finished_at = $9, claimed_until = $10, attempts = 0
where run_id = $2 and tenant_id = $1 and finished_at is null and claimed_until = $3

-- name: count_items
-- How many there are to judge, each kind up to the run's limit. From the indexes alone, so what comes
-- in meanwhile is counted too.
select
    (select count(*) from (
        select 1
        from event
        where tenant_id = $1 and event_type_id = $2 and occurred_at >= $4
        limit $5
    ) e)
    + (select count(*) from (
        select 1
        from quarantine
        where tenant_id = $1 and event_type = $3 and received_at >= $4
        limit $5
    ) q) as items

-- name: read_events
-- The next ones of a type, newest first, that are together not much over $8 bytes. An event happened
-- at most a day after its receipt, so older partitions are not looked into.
select b.event_key, b.occurred_at, s.name as source, b.properties,
       coalesce(b.warnings @> '[{"code": "property_stripped"}]', false) as was_stripped
from (
    select e.*,
           sum(e.size_bytes) over (order by e.occurred_at desc, e.event_key desc) - e.size_bytes
               as bytes_before
    from (
        select event_key, occurred_at, source_id, size_bytes, properties, warnings
        from event
        where tenant_id = $1 and event_type_id = $2
          and (occurred_at, event_key) < ($3, $4)
          and occurred_at >= $5 and received_at >= $5 - interval '1 day' and received_at <= $6
        order by occurred_at desc, event_key desc
        limit $7
    ) e
) b
join source s on s.id = b.source_id
where b.bytes_before < $8::bigint
order by b.occurred_at desc, b.event_key desc

-- name: read_quarantined
-- The same of what was refused; items over the size limit have no payload and never pass. Those that
-- were replayed or discarded are passed over by the reader, so that a batch has an end here as well.
select b.quarantine_id, b.received_at, b.source, b.api_key_id, b.payload,
       b.resolution is null as is_open
from (
    select q.*,
           sum(q.size_bytes) over (order by q.received_at desc, q.quarantine_id desc)
               - q.size_bytes as bytes_before
    from (
        select quarantine_id, received_at, source, api_key_id, payload, resolution,
               coalesce(length(payload), 0) as size_bytes
        from quarantine
        where tenant_id = $1 and event_type = $2
          and (received_at, quarantine_id) < ($3, $4)
          and received_at >= $5 and received_at <= $6
        order by received_at desc, quarantine_id desc
        limit $7
    ) q
) b
where b.bytes_before < $8::bigint
order by b.received_at desc, b.quarantine_id desc

-- name: read_documents
-- Versions by id, newest first, as they were when the run was asked for.
select id, version, document
from event_type_version
where tenant_id = $1 and id = any ($2::bigint[])
order by version desc

-- name: read_writers
-- Every key that may have delivered something, ended ones too, and what it was limited to.
select k.id, k.public_id, k.name, k.sources, k.event_types, t.name as tenant_name, t.hash_key,
       t.quarantine_days, t.max_sources
from api_key k
join tenant t on t.id = k.tenant_id
where k.tenant_id = $1

-- name: delete_runs
delete from impact_run where requested_at < $1 and finished_at is not null
