-- Counters: one row a minute, source, event type, outcome, reason and writer.

-- name: add_counts
insert into ingest_stat as s (bucket, tenant_id, minute, source_id, event_type_id, outcome, reason,
                              writer, events, bytes)
select 0, $1, $2, n.source_id, n.event_type_id, n.outcome, n.reason, $3, n.events, n.bytes
from unnest($4::bigint[], $5::bigint[], $6::smallint[], $7::text[], $8::bigint[], $9::bigint[])
     as n (source_id, event_type_id, outcome, reason, events, bytes)
on conflict (bucket, tenant_id, minute, source_id, event_type_id, outcome, reason, writer)
do update set events = s.events + excluded.events,
              bytes = s.bytes + excluded.bytes

-- name: read_reconciliation
-- received = accepted + duplicate + conflict + rejected, against the rows themselves.
with counted as (
    select
        coalesce(sum(events), 0)::bigint as received,
        coalesce(sum(events) filter (where outcome = 1), 0)::bigint as accepted,
        coalesce(sum(events) filter (where outcome = 2), 0)::bigint as duplicate,
        coalesce(sum(events) filter (where outcome = 3), 0)::bigint as conflict,
        coalesce(sum(events) filter (where outcome = 4), 0)::bigint as rejected
    from ingest_stat
    where tenant_id = $1 and minute >= $2 and minute < $3
)
select
    counted.*,
    (select count(*) from event e
     where e.tenant_id = $1 and e.received_at >= $2 and e.received_at < $3) as event_rows,
    (select count(*) from event_key k
     where k.tenant_id = $1 and k.received_at >= $2 and k.received_at < $3) as key_rows,
    (select count(*) from delivery d
     where d.tenant_id = $1 and d.received_at >= $2 and d.received_at < $3) as delivery_rows,
    (select count(*) from quarantine q
     where q.tenant_id = $1 and q.received_at >= $2 and q.received_at < $3) as quarantine_rows
from counted
