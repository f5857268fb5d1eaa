-- Replays of quarantined items: what was asked for, how far it is, what came of it.

-- name: start_replay
-- None when the tenant has one under way. What is ahead of it is counted up to a limit, in the key.
insert into quarantine_replay (replay_id, tenant_id, public_id, filter, dry_run, state, started_at,
                               after_at, after_id, total)
select $2, $1, $3, $4, $5, 'RUNNING', $6, $7, $8, case when items <= $10 then items end
from (
    select count(*) as items
    from (
        select from quarantine q
        where q.tenant_id = $1 and q.received_at >= $7 and q.received_at < $9
        limit $10::bigint + 1
    ) as ahead
) as counted
on conflict (tenant_id) where state = 'RUNNING' do nothing
returning replay_id

-- name: is_under_way
-- For a decision that a replay would cross.
select exists (select from quarantine_replay where tenant_id = $1 and state = 'RUNNING')

-- name: claim_replay
-- One that no other worker is at, the one with the fewest items behind it: tenants take turns. The
-- lock is held for a step, so a worker that dies lets go.
select tenant_id, replay_id, public_id, filter, dry_run, started_at, after_at, after_id
from quarantine_replay
where state = 'RUNNING'
order by scanned, started_at
limit 1
for update skip locked

-- name: advance
update quarantine_replay
set after_at = $3, after_id = $4, scanned = scanned + $5, accepted = accepted + $6,
    duplicate = duplicate + $7, conflict = conflict + $8, rejected = rejected + $9,
    failed = failed + $10
where tenant_id = $1 and replay_id = $2

-- name: finish
update quarantine_replay
set state = $3, reason = $4, finished_at = $5
where tenant_id = $1 and replay_id = $2 and state = 'RUNNING'
returning replay_id

-- name: list_replays
-- Newest first; a page continues before the last row of the one before.
select replay_id, public_id, dry_run, state, reason, started_at, finished_at, after_at, total,
       scanned, accepted, duplicate, conflict, rejected, failed
from quarantine_replay
where tenant_id = $1 and (started_at, replay_id) < ($2, $3)
order by started_at desc, replay_id desc
limit $4

-- name: find_replay
select replay_id, public_id, dry_run, state, reason, started_at, finished_at, after_at, total,
       scanned, accepted, duplicate, conflict, rejected, failed
from quarantine_replay
where tenant_id = $1 and replay_id = $2
