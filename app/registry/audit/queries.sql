-- The audit trail of keys, sources and registry. Nothing ever updates or deletes a line of it.

-- name: list_changes
-- One page, newest first; a subject includes what is below it ("/" to "0", its successor).
select id, changed_at, actor, action, subject, reason, before, after
from registry_change
where tenant_id = $1
  and (changed_at, id) < ($2, $3)
  and changed_at >= $4
  and changed_at < $5
  and ($6::text is null
       or subject collate "C" = $6
       or (subject collate "C" >= $6 || '/' and subject collate "C" < $6 || '0'))
  and ($7::text is null or action = $7)
  and ($8::text is null or actor = $8)
  and ($9 or not starts_with(subject, 'key '))
order by changed_at desc, id desc
limit $10
