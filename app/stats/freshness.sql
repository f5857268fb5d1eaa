-- When each source last had an event of each type accepted.

-- name: read_freshness
-- The roll-up has noted all but the last minutes; they are looked at here.
with live as (
    select m.source_id, m.event_type_id, max(m.minute) as last_minute
    from ingest_stat m
    where m.bucket = 0 and m.tenant_id = $1 and m.outcome = 1
      and m.minute >= coalesce((select p.rolled_until from ingest_stat_progress p
                                where p.bucket = 0 and p.tenant_id = $1), '-infinity')
      and ($2::bigint[] is null or m.source_id = any ($2))
      and ($3::bigint[] is null or m.event_type_id = any ($3))
    group by m.source_id, m.event_type_id
), noted as (
    select f.source_id, f.event_type_id, f.last_minute, f.usual_gap_seconds
    from ingest_freshness f
    where f.bucket = 0 and f.tenant_id = $1
      and ($2::bigint[] is null or f.source_id = any ($2))
      and ($3::bigint[] is null or f.event_type_id = any ($3))
)
select source_id, event_type_id, greatest(noted.last_minute, live.last_minute) as last_minute,
       noted.usual_gap_seconds
from noted
full join live using (source_id, event_type_id)
order by source_id, event_type_id
limit $4
