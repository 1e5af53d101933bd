-- What an operator asks of one job: why is it where it is?

-- Answers what the record knows, or null for an unknown id. Times are in ms from now; those past are negative.
--   {id, type, status, priority, attempt, crashes, max_retries, reason, installation,
--    due_ms, expires_ms, lease_ms: until the lease ends, null without one, ended_ms,
--    error: of the attempt before, or null, paused: whether its type is, ahead: pending jobs of its type and priority
--    that are due before it, at most 1000, tick_ms: when a tick last looked, null for never,
--    known: whether that tick could run the type, aside: {ms, error} where its row failed a statement and is left alone
--    for so long, or null}
create function public.sweephand_explain_v1(id uuid) returns jsonb
language sql stable security definer set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
  select jsonb_build_object(
    'id', s.id, 'type', s.type, 'status', s.status, 'priority', s.priority, 'attempt', s.attempt, 'crashes', s.crashes,
    'max_retries', s.max_retries, 'reason', s.reason,
    'installation', (select i.id from sweephand.installation i),
    'due_ms', sweephand.ms_from_now(s.run_at), 'expires_ms', sweephand.ms_from_now(s.expires_at),
    'lease_ms', (select sweephand.ms_from_now(l.until) from sweephand.leases l
                 where l.id = s.id and l.created_at = s.created_at),
    'ended_ms', sweephand.ms_from_now(s.finished_at),
    'error', (select e.kind || ': ' || split_part(e.error, chr(10), 1) from sweephand.errors e
              where e.id = s.id order by e.attempt desc limit 1),
    'paused', exists (select from sweephand.paused p where p.type = s.type),
    'ahead', (select count(*) from (
                select from sweephand.open o
                where o.type = s.type and o.priority = s.priority and (o.run_at, o.id) < (s.run_at, s.id)
                  and not exists (select from sweephand.leases l where l.id = o.id and l.created_at = o.created_at)
                limit 1000) o),
    'tick_ms', (select sweephand.ms_from_now(t.at) from sweephand.ticks t),
    'known', coalesce((select s.type = any (t.types) from sweephand.ticks t), false),
    'aside', (select jsonb_build_object('ms', sweephand.ms_from_now(a.until), 'error', a.error)
              from sweephand.aside a where a.id = s.id and a.until > now()))
  from sweephand.job_state s where s.id = $1
$$;

revoke all on function public.sweephand_explain_v1(uuid)
from public, anon, authenticated;
grant execute on function public.sweephand_explain_v1(uuid) to service_role;
