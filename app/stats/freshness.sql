-- When each source last had an event of each type accepted, and whether that is too long ago.

-- name: read_freshness
-- The roll-up has noted all but the last minutes; they are looked at here, with their gaps. Worst
-- first, so that however many pairs there are, what is cut off is well.
-- $2, $3  source and event type ids; null is all of them
-- $4      now
-- $5      no silence is shorter
-- $6      usual gaps that are silence
-- $7, $8  known for so long: it is judged by its habits; whoever knows no week knows no week-end
-- $9      the best state that is shown
-- $10     rows
with live as (
    select source_id, event_type_id, min(minute) as first_minute, max(minute) as last_minute,
           max(gap) as longest_gap
    from (
        select m.source_id, m.event_type_id, m.minute,
               m.minute - lag(m.minute) over (
                   partition by m.source_id, m.event_type_id order by m.minute
               ) as gap
        from ingest_stat m
        where m.bucket = 0 and m.tenant_id = $1 and m.outcome = 1
          and m.minute >= coalesce((select p.rolled_until from ingest_stat_progress p
                                    where p.bucket = 0 and p.tenant_id = $1), '-infinity')
          and ($2::bigint[] is null or m.source_id = any ($2))
          and ($3::bigint[] is null or m.event_type_id = any ($3))
    ) as minutes
    group by source_id, event_type_id
), noted as (
    select f.source_id, f.event_type_id, f.last_minute, f.known_since, f.longest_gap_seconds,
           f.usual_gap_seconds
    from ingest_freshness f
    where f.bucket = 0 and f.tenant_id = $1
      and ($2::bigint[] is null or f.source_id = any ($2))
      and ($3::bigint[] is null or f.event_type_id = any ($3))
), known as (
    select source_id, event_type_id, live.first_minute, live.longest_gap, noted.known_since,
           noted.last_minute as noted_until, noted.longest_gap_seconds, noted.usual_gap_seconds,
           greatest(noted.last_minute, live.last_minute) as last_minute,
           (live.first_minute > noted.last_minute + interval '14 days') is true as is_back
    from noted
    full join live using (source_id, event_type_id)
), pair as (
    select source_id, event_type_id, last_minute, usual_gap_seconds,
           case when is_back or known_since is null then first_minute
                else greatest(known_since, last_minute - interval '14 days')
           end as known_since,
           nullif(extract(epoch from case when is_back then longest_gap else greatest(
               longest_gap,
               first_minute - noted_until,
               longest_gap_seconds * interval '1 second'
           ) end)::int, 0) as longest_gap_seconds
    from known
), measured as (
    select source_id, event_type_id, last_minute, known_since,
           case when known_since > last_minute - $7::interval
                then longest_gap_seconds
                else coalesce(usual_gap_seconds, longest_gap_seconds)
           end as gap_seconds,
           known_since <= last_minute - $8::interval and usual_gap_seconds is not null as is_sure
    from pair
), judged as (
    select source_id, event_type_id, last_minute, known_since, gap_seconds,
           case
               when $4::timestamptz - last_minute <= greatest(
                   $5::interval, gap_seconds * $6::float8 * interval '1 second'
               ) then 0
               when is_sure then 2
               else 1
           end as state
    from measured
)
select source_id, event_type_id, last_minute, known_since, gap_seconds, state
from judged
where state >= $9
order by state desc, last_minute, source_id, event_type_id
limit $10
