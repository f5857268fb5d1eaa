-- Sums of counters by hour and day. Every statement may be executed again: it says the whole sum.

-- name: start_progress
-- Tenants whose first events have come. Their roll-up begins a little before: a flush of an earlier
-- minute may still be under way, and what is before the beginning is never summed up.
insert into ingest_stat_progress (bucket, tenant_id, rolled_until, days_until)
select 0, t.id, first.day, first.day
from tenant t
cross join lateral (
    select date_trunc('day', s.minute - interval '1 hour') as day
    from ingest_stat s
    where s.bucket = 0 and s.tenant_id = t.id
    order by s.minute
    limit 1
) as first
where not exists (
    select 1 from ingest_stat_progress p where p.bucket = 0 and p.tenant_id = t.id
)
on conflict do nothing

-- name: pull_back
-- Where the clock was ahead, and was set right: what was summed up of times to come is summed up
-- again, and so is today.
-- $1  now
-- $2  the day to begin with
with ahead as (
    update ingest_stat_progress
    set rolled_until = $2, days_until = least(days_until, $2)
    where bucket = 0 and rolled_until > $1
    returning tenant_id
), hours as (
    delete from ingest_stat_hour h
    using ahead
    where h.bucket = 0 and h.tenant_id = ahead.tenant_id and h.hour >= $2
)
delete from ingest_stat_day d
using ahead
where d.bucket = 0 and d.tenant_id = ahead.tenant_id and d.day >= $2

-- name: claim_due
-- A tenant with minutes to be summed up; others are left to the worker that has them.
-- $2  those that are passed over
select tenant_id, rolled_until, days_until
from ingest_stat_progress
where bucket = 0 and rolled_until < $1 and tenant_id <> all ($2::bigint[])
order by rolled_until, tenant_id
limit 1
for update skip locked

-- name: next_hour
-- The next hour in which anything was counted: idle months cost nothing.
select date_trunc('hour', s.minute)
from ingest_stat s
where s.bucket = 0 and s.tenant_id = $1 and s.minute >= $2
order by s.minute
limit 1

-- name: roll_hour
-- An hour, or as much of the running one as nobody can count into any more.
with counted as (
    select source_id, event_type_id, outcome, reason, sum(events) as events,
           sum(case quarter when 0 then events else 0 end) as q0,
           sum(case quarter when 1 then events else 0 end) as q1,
           sum(case quarter when 2 then events else 0 end) as q2,
           sum(case quarter when 3 then events else 0 end) as q3
    from (
        select *, extract(minute from minute)::int / 15 as quarter
        from ingest_stat
        where bucket = 0 and tenant_id = $1
          and minute >= $2::timestamptz and minute < $3
        order by bucket, tenant_id, minute
    ) as minutes
    group by source_id, event_type_id, outcome, reason
)
insert into ingest_stat_hour (bucket, tenant_id, source_id, event_type_id, hour, outcome, reason,
                              events, quarters)
select 0, $1, m.source_id, m.event_type_id, $2, c.outcome, c.reason,
       sum(c.events), array[sum(q0), sum(q1), sum(q2), sum(q3)]::bigint[]
from counted c
cross join lateral (
    values (c.source_id, c.event_type_id), (c.source_id, -1), (-1, c.event_type_id), (-1, -1)
) as m (source_id, event_type_id)
group by m.source_id, m.event_type_id, c.outcome, c.reason
on conflict (bucket, tenant_id, source_id, event_type_id, hour, outcome, reason)
do update set events = excluded.events, quarters = excluded.quarters

-- name: note_last_minutes
-- Of each source and type with accepted events in this stretch: the last one, and the longest gap
-- before one. Minutes that were noted are left out: done again, it changes nothing. Who comes back
-- after a fortnight is new.
with minutes as (
    select source_id, event_type_id, minute
    from ingest_stat
    where bucket = 0 and tenant_id = $1 and outcome = 1
      and minute >= $2::timestamptz and minute < $3
    order by bucket, tenant_id, minute
), unnoted as (
    select m.source_id, m.event_type_id, m.minute,
           m.minute - lag(m.minute, 1, f.last_minute) over (
               partition by m.source_id, m.event_type_id order by m.minute
           ) as gap
    from minutes m
    left join ingest_freshness f
        on f.bucket = 0 and f.tenant_id = $1
       and f.source_id = m.source_id and f.event_type_id = m.event_type_id
    where f.last_minute is null or m.minute > f.last_minute
)
insert into ingest_freshness as f (bucket, tenant_id, source_id, event_type_id, last_minute,
                                   known_since, longest_gap_seconds)
select 0, $1, source_id, event_type_id, max(minute), min(minute),
       nullif(extract(epoch from max(gap) filter (where gap <= interval '14 days'))::int, 0)
from unnoted
group by source_id, event_type_id
on conflict (bucket, tenant_id, source_id, event_type_id)
do update set
    last_minute = excluded.last_minute,
    known_since = case when excluded.known_since > f.last_minute + interval '14 days'
                       then excluded.known_since else f.known_since end,
    longest_gap_seconds = case when excluded.known_since > f.last_minute + interval '14 days'
                               then excluded.longest_gap_seconds
                               else greatest(f.longest_gap_seconds, excluded.longest_gap_seconds)
                          end

-- name: note_usual_gaps
-- The usual gap is the one that a moment of the last 14 days falls into, in nine of ten: shops close
-- at night, and one outage is no habit. A few pairs at a time, of those with events since the last.
-- What was before those 14 days is not known any more.
with due as (
    select bucket, tenant_id, source_id, event_type_id, last_minute
    from ingest_freshness
    where bucket = 0 and gap_noted_at < $1 and last_minute >= gap_noted_at
    order by gap_noted_at
    limit $2
    for update skip locked
)
update ingest_freshness f
set usual_gap_seconds = usual.gap, known_since = greatest(f.known_since, usual.since),
    gap_noted_at = $3
from due
cross join lateral (
    select min(gap) filter (where gaps >= 3 and until_here >= 0.9 * whole)::int as gap,
           min(at) as since
    from (
        select at, gap, sum(gap) over (order by gap) as until_here, sum(gap) over () as whole,
               count(gap) over () as gaps
        from (
            select at, extract(epoch from at - lag(at) over (order by at)) as gap
            from (
                select h.hour + part.number * interval '15 minutes' as at
                from ingest_stat_hour h
                cross join generate_series(0, 3) as part (number)
                where h.bucket = 0 and h.tenant_id = due.tenant_id
                  and h.source_id = due.source_id and h.event_type_id = due.event_type_id
                  and h.hour > due.last_minute - interval '14 days' and h.hour <= due.last_minute
                  and h.outcome = 1 and h.quarters[part.number + 1] > 0
            ) as quarters
        ) as measured
    ) as ranked
) as usual
where f.bucket = due.bucket and f.tenant_id = due.tenant_id
  and f.source_id = due.source_id and f.event_type_id = due.event_type_id

-- name: roll_day
insert into ingest_stat_day (bucket, tenant_id, source_id, event_type_id, day, outcome, reason,
                             events)
select 0, $1, source_id, event_type_id, $2, outcome, reason, sum(events)
from ingest_stat_hour
where bucket = 0 and tenant_id = $1 and hour >= $2::timestamptz and hour < $2::timestamptz + interval '1 day'
group by source_id, event_type_id, outcome, reason
on conflict (bucket, tenant_id, source_id, event_type_id, day, outcome, reason)
do update set events = excluded.events

-- name: advance
update ingest_stat_progress
set rolled_until = $2, days_until = $3
where bucket = 0 and tenant_id = $1
