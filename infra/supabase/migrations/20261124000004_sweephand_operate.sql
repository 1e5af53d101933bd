-- What operators ask for on the command line: why a job is where it is, and the deletion of old jobs, which ticks ask
-- for too. Pausing a type needs no function: insert a row into sweephand.paused.

-- Takes a job's id. Answers what the record knows of why the job is where it is, or null for an unknown id. Times are
-- in ms from now; times past are negative.
--   {id, type, status, priority, attempt, crashes, max_retries, reason, installation, schedule: its name, fire_ms,
--    due_ms, expires_ms, lease_ms: until the lease ends, null without one, ended_ms,
--    error: of the attempt before, or null, paused: whether its type is, ahead: pending jobs of its type and priority
--    that are due before it, at most 1000, tick_ms: when a tick last looked, null for never,
--    known: whether that tick could run the type, aside: {ms, error} where its row failed a statement and ticks pass
--    over it for so long, or null}
create function public.sweephand_explain_v1(id uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', s.id, 'type', s.type, 'status', s.status, 'priority', s.priority, 'attempt', s.attempt, 'crashes', s.crashes,
    'max_retries', s.max_retries, 'reason', s.reason, 'schedule', s.schedule, 'fire_ms', sweephand.ms_from_now(s.fire_at),
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
              from sweephand.aside a where a.id = s.id and a.until > sweephand.clock()))
  from sweephand.job_state s where s.id = $1
$$;

-- Deletes what is finished for long enough: called by ticks where RETENTION_DAYS is set, and by `sweephand prune`.
-- What is old is found along finished_by_status, which begins with the jobs created first in each status and type: an
-- index on finished_at would cost every settle, and a BRIN one would be worthless once new rows fill the gaps of old.

-- Takes for how many seconds finished jobs are kept, how many rows to look at, and the position {status, type,
-- created_at (microseconds since 1970), id} after which to go on.
-- Looks at finished jobs that were created longer ago than that, in each status and type the first created first, and
-- deletes those of them that also ended longer ago.
-- Answers {deleted, next: position or null when all have been looked at}.
create function public.sweephand_prune_v1(
  keep_s bigint, max_rows integer default 1000, after jsonb default null
) returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  before timestamptz := sweephand.clock() - keep_s * interval '1 second';
  at_status text := coalesce(after ->> 'status', '');
  at_type text := coalesce(after ->> 'type', '');
  at_created timestamptz := coalesce(
    'epoch'::timestamptz + (after ->> 'created_at')::bigint * interval '1 microsecond', '-infinity');
  at_id uuid := coalesce((after ->> 'id')::uuid, '00000000-0000-0000-0000-000000000000');
  capacity integer := max_rows;
  deleted bigint := 0;
  step record;
begin
  loop
    with old as materialized (
      select f.id, f.created_at, f.finished_at from sweephand.finished f
      where f.status = at_status and f.type = at_type and f.created_at < before
        and (f.created_at, f.id) > (at_created, at_id)
      order by f.created_at, f.id limit capacity)
    , gone as (
      delete from sweephand.jobs j where j.id = any (array(select o.id from old o where o.finished_at < before))
      returning 1)
    select (select count(*) from old) as looked, (select count(*) from gone) as gone, l.created_at, l.id into step
    from (select 1) one
    left join lateral (select o.created_at, o.id from old o order by o.created_at desc, o.id desc limit 1) l on true;
    deleted := deleted + step.gone;
    capacity := capacity - step.looked;
    if capacity <= 0 then
      return jsonb_build_object('deleted', deleted, 'next', jsonb_build_object(
        'status', at_status, 'type', at_type, 'id', step.id,
        'created_at', (extract(epoch from step.created_at) * 1000000)::bigint));
    end if;
    select f.status, f.type into at_status, at_type from sweephand.finished f
    where (f.status, f.type) > (at_status, at_type) order by f.status, f.type limit 1;
    exit when not found;
    at_created := '-infinity';
    at_id := '00000000-0000-0000-0000-000000000000';
  end loop;
  return jsonb_build_object('deleted', deleted, 'next', null);
end $$;

call sweephand.seal();
