-- What proposals are made from. Bounded by rows looked at and by bytes, newest first.

-- name: read_rejected
-- Items of an event type that were refused for a reason, together not much over $6 bytes; none that
-- was discarded: somebody has decided that it is not to be accepted.
select s.payload
from (
    select q.received_at, q.quarantine_id, q.payload,
           sum(length(q.payload)) over (order by q.received_at desc, q.quarantine_id desc)
               - length(q.payload) as bytes_before
    from (
        select received_at, quarantine_id, payload, reasons, resolution
        from quarantine
        where tenant_id = $1 and event_type = $2
        order by received_at desc, quarantine_id desc
        limit $4
    ) q
    where q.payload is not null
      and q.resolution is distinct from 4
      and q.reasons @> jsonb_build_array(jsonb_build_object('code', $3::text))
) s
where s.bytes_before < $6::bigint
order by s.received_at desc, s.quarantine_id desc
limit $5

-- name: read_stripped
-- Where an event type's newest events had properties that were left out, the commonest first.
select w ->> 'path' as path, count(*) as events
from (
    select warnings
    from event
    where tenant_id = $1 and event_type_id = $2
    order by occurred_at desc
    limit $3
) e
cross join jsonb_array_elements(e.warnings) w
where w ->> 'code' = 'property_stripped'
group by w ->> 'path'
order by events desc, path
limit $4
