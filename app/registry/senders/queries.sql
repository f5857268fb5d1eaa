-- Who sends event types, from what is stored of deliveries anyway.

-- name: read_sending_sources
-- Which sources sent each event type since then, whatever became of it: counters miss nothing.
select t.id as event_type_id, s.name, sent.events, sent.last_minute
from unnest($2::bigint[]) as t (id)
cross join lateral (
    select source_id, sum(events)::bigint as events, max(minute) as last_minute
    from ingest_stat
    where tenant_id = $1 and event_type_id = t.id and minute >= $3 and source_id <> 0
    group by source_id
    order by events desc, source_id
    limit $4
) sent
join source s on s.id = sent.source_id
order by t.id, sent.events desc, s.name

-- name: read_sending_keys
-- Which keys did, among the newest events and rejected items. Counters do not know keys, so this
-- reads rows, but a bounded number of them.
with sent as (
    select t.id as event_type_id, s.name as source, e.api_key_id, e.received_at
    from unnest($2::bigint[]) as t (id)
    cross join lateral (
        select source_id, api_key_id, received_at
        from event
        where tenant_id = $1 and event_type_id = t.id
        order by occurred_at desc
        limit $4
    ) e
    join source s on s.id = e.source_id
    where e.received_at >= $3
    union all
    select t.id, q.source, q.api_key_id, q.received_at
    from (
        select source, event_type, api_key_id, received_at
        from quarantine
        where tenant_id = $1 and received_at >= $3
        order by received_at desc
        limit $4
    ) q
    join event_type t on t.tenant_id = $1 and t.name = q.event_type
    where t.id = any ($2) and q.source is not null
)
select sent.event_type_id, sent.source, k.public_id, k.name, max(sent.received_at) as last_seen
from sent
join api_key k on k.tenant_id = $1 and k.id = sent.api_key_id
group by sent.event_type_id, sent.source, k.public_id, k.name
order by sent.event_type_id, sent.source, last_seen desc
