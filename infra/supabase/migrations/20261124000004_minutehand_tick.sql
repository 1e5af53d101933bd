-- What a tick calls: page, start, settle. All of them take and answer batches.
-- A start answers with json, as a jsonb would be built before it is written, and a settle tells of exceptions alone.
-- Plans are held to index scans and made anew for each call, which takes half a millisecond: the tables' statistics
-- lag behind a queue that fills and empties in seconds, and a plan that a session made while a table was empty, and
-- kept, reads a full one from end to end.

-- Ends, inside a statement of the caller's, jobs that are not to be started again: see minutehand_page_v1.
create function minutehand.lapse(max_rows integer, out lapsed integer, out failed integer)
language plpgsql set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  lost uuid[];
begin
  with gone as (
    -- By an array: joined, the planner may read all of the table, whose dead rows its statistics do not know.
    delete from minutehand.leases l where l.id = any (array(
      select old.id from minutehand.leases old where old.until < now() order by old.until
      limit max_rows for update skip locked))
    returning l.id, l.started_at)
  , noted as (
    insert into minutehand.errors (id, attempt, kind, error)
    select g.id, o.attempt + 1, 'crash', 'the function that ran this attempt was lost: it was not settled in time'
    from gone g join minutehand.open o on o.id = g.id)
  , again as (
    update minutehand.open o set attempt = o.attempt + 1, crashes = o.crashes + 1, token = null
    from gone g where o.id = g.id and o.crashes < 3)
  , dead as (
    delete from minutehand.open o using gone g where o.id = g.id and o.crashes >= 3
    returning o.*, g.started_at)
  , ended as (
    insert into minutehand.finished
      (id, type, status, created_at, run_at, started_at, attempt, crashes, reason)
    select d.id, d.type, 'failed', d.created_at, d.run_at, d.started_at, d.attempt + 1, d.crashes + 1,
           format('its function was lost %s times', d.crashes + 1)
    from dead d returning 1)
  select (select count(*) from gone), (select count(*) from ended) into lapsed, failed;
end $$;

-- Takes the types that the caller can run, how far ahead to look, how many rows at most, and the position
-- {future, priority, run_at (microseconds since 1970), id} after which to go on.
-- First turns expired leases back to pending (crashes + 1; more than 3 end the job) and forgets idempotency keys of
-- more than 24 hours, a bounded number of each. Then reads jobs that are pending and due within the horizon: what is
-- due now before what is not, the highest priority first, the oldest first.
-- Answers {installation, paused: [type], unknown: {type: oldest due age in s}, lapsed, failed,
--   oldest: {priority: oldest due age in s}, next: position or null,
--   jobs: [[id, type, priority, wait_ms]]}.
create function public.minutehand_page_v1(
  types text[], horizon_ms bigint, max_rows integer default 500, after jsonb default null
) returns jsonb language plpgsql security definer set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  until timestamptz := now() + horizon_ms * interval '1 ms';
  after_future boolean := coalesce((after ->> 'future')::boolean, false);
  after_priority integer := coalesce((after ->> 'priority')::integer, 10);
  after_at timestamptz := coalesce('epoch'::timestamptz + (after ->> 'run_at')::bigint * interval '1 microsecond', '-infinity');
  after_id uuid := coalesce((after ->> 'id')::uuid, '00000000-0000-0000-0000-000000000000');
  forgotten timestamptz := now() - interval '24 hours';  -- a plan without a parameter would be kept
  ended record;
  answer jsonb;
begin
  if not exists (select from minutehand.ticks t where t.at > now() - interval '5 s') then
    insert into minutehand.ticks (at, types) values (now(), types)
    on conflict (one) do update set at = excluded.at, types = excluded.types;
  end if;
  select * into ended from minutehand.lapse(1000);
  delete from minutehand.idempotency i using (
    select o.owner, o.key from minutehand.idempotency o where o.created_at < forgotten
    limit 1000 for update skip locked) old
  where i.owner = old.owner and i.key = old.key;

  -- (type, priority) pairs that have an open job, by hopping over the index from the first of one to that of the next.
  -- Until they are vacuumed, the rows of what has just run stand before it: this passes them, and nothing below does.
  with recursive groups as materialized (
    (select o.type, o.priority, o.run_at, o.id from minutehand.open o
     order by o.type, o.priority, o.run_at, o.id limit 1)
    union all
    select n.type, n.priority, n.run_at, n.id from groups g
    cross join lateral (
      select o.type, o.priority, o.run_at, o.id from minutehand.open o
      where (o.type, o.priority) > (g.type, g.priority)
      order by o.type, o.priority, o.run_at, o.id limit 1) n)
  , ages as materialized (
    select g.type, g.priority, g.type = any (types) and p.type is null as ours, p.type is not null as paused,
           old.run_at as oldest, extract(epoch from now() - old.run_at) as age
    from groups g left join minutehand.paused p on p.type = g.type
    left join lateral (
      select o.run_at from minutehand.open o
      where o.type = g.type and o.priority = g.priority and (o.run_at, o.id) >= (g.run_at, g.id) and o.run_at <= now()
        and not exists (select from minutehand.leases l where l.id = o.id)
      order by o.run_at, o.id limit 1) old on true)
  , bounds as materialized (  -- where each group goes on after the position
    -- What lies before the oldest is running, or dead rows of what has run: not to be passed a second time.
    select a.type, a.priority, case
        when a.priority = after_priority then after_at
        when a.priority < after_priority and not after_future then coalesce(a.oldest - interval '1 microsecond', now())
        when a.priority > after_priority and after_future then 'infinity'
        else now() end as from_at,
      case when a.priority = after_priority then after_id else 'ffffffff-ffff-ffff-ffff-ffffffffffff' end as from_id
    from ages a where a.ours)
  , page as materialized (
    select d.id, b.type, b.priority, d.run_at, d.run_at > now() as future
    from bounds b
    cross join lateral (
      select o.id, o.run_at from minutehand.open o
      where o.type = b.type and o.priority = b.priority and o.run_at <= until
        and (o.run_at, o.id) > (b.from_at, b.from_id)
        and not exists (select from minutehand.leases l where l.id = o.id)
      order by o.run_at, o.id limit max_rows) d
    order by d.run_at > now(), b.priority desc, d.run_at, d.id limit max_rows)
  select jsonb_build_object(
    'installation', (select i.id from minutehand.installation i),
    'paused', (select coalesce(jsonb_agg(p.type), '[]') from minutehand.paused p where p.type = any (types)),
    'unknown', (select coalesce(jsonb_object_agg(u.type, u.age), '{}') from (
                  select a.type, round(max(a.age), 3) as age from ages a
                  where not a.ours and not a.paused and a.age is not null group by a.type) u),
    'lapsed', ended.lapsed, 'failed', ended.failed,
    'oldest', (select coalesce(jsonb_object_agg(u.priority, u.age), '{}') from (
                 select a.priority, round(max(a.age), 3) as age from ages a
                 where a.ours and a.age is not null group by a.priority) u),
    'next', (select jsonb_build_object('future', p.future, 'priority', p.priority, 'id', p.id,
                      'run_at', (extract(epoch from p.run_at) * 1000000)::bigint)
             from page p where (select count(*) from page) = max_rows
             order by p.future desc, p.priority, p.run_at desc, p.id desc limit 1),
    'jobs', (select coalesce(jsonb_agg(jsonb_build_array(p.id, p.type, p.priority, minutehand.ms_until(p.run_at))
                      order by p.future, p.priority desc, p.run_at, p.id), '[]') from page p))
  into answer;
  return answer;
end $$;

-- Takes ids in the order to start them, a token made for this call, {type: lease in ms}, whether the jobs will have
-- the function to themselves, and about how many bytes of payload the caller can hold.
-- Answers {verdicts: [[id, verdict, wait_ms]] of all that did not start,
--   started: [[id, type, attempt, crashes, max_retries, late_ms, payload]]}. The verdicts:
--   started  the lease is the caller's            already  it was already, from an earlier call with this token
--   early    not due for wait_ms                  leased   another start has it, for wait_ms
--   final    the job is finished                  unknown  there is no such job
--   alone    it was lost with a function before: ask again with alone, for it and no other
--   full     the payloads before it filled max_bytes
-- A job that is past its expires_at ends here, failed, without a start.
create function public.minutehand_start_v1(
  ids uuid[], token uuid, lease_ms jsonb, alone boolean default false, max_bytes bigint default 16777216
) returns json language plpgsql security definer set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  taken bigint;
  entered bigint;
  started json;
  verdicts json := '[]';
begin
  -- The mutex of every job that may start, in id order so that two calls never wait for each other in a ring.
  with lease as (
    insert into minutehand.leases (id, token, started_at, until)
    select c.id, $2, now(), now() + c.lease * interval '1 ms'
    from (
      select o.id, o.bytes, coalesce((lease_ms ->> o.type)::bigint, 1000) as lease,
             sum(o.bytes) over (order by w.n) as filled
      from unnest(ids) with ordinality as w(id, n)
      join minutehand.open o on o.id = w.id
      where o.run_at <= now() and (o.expires_at <= now() or (o.crashes = 0 or alone) and lease_ms ? o.type)
        and o.token is distinct from $2) c
    where c.filled - c.bytes < max_bytes
    order by c.id
    on conflict (id) do nothing
    returning 1)
  select count(*) from lease into taken;

  -- A new snapshot: while the insert waited, another start may have run and settled a job of which it knew nothing.
  -- What was cancelled or finished is gone from open; what is to be tried again may not be due.
  -- Where all leases are this call's, none needs to be looked up.
  select count(*), coalesce(json_agg(json_build_array(
           o.id, o.type, o.attempt + 1, o.crashes, o.max_retries,
           greatest(0, extract(epoch from now() - o.run_at) * 1000)::bigint, j.payload) order by w.n), '[]')
  into entered, started
  from unnest(ids) with ordinality as w(id, n)
  join minutehand.open o on o.id = w.id and o.run_at <= now() and (o.crashes = 0 or alone)
    and (o.expires_at > now() or o.expires_at is null)
  join minutehand.jobs j on j.id = w.id
  where taken = cardinality(ids) or exists (select from minutehand.leases l where l.id = w.id and l.token = $2);

  if taken < cardinality(ids) or entered < cardinality(ids) then
    perform minutehand.let_go(ids, $2, alone);
    select coalesce(json_agg(json_build_array(w.id, case
             when l.token = $2 then 'already'
             when l.id is not null then 'leased'
             when o.id is null then case when exists (select from minutehand.finished f where f.id = w.id)
                                    then 'final' else 'unknown' end
             when o.run_at > now() or o.token = $2 or not lease_ms ? o.type then 'early'
             when o.crashes > 0 and not alone then 'alone'
             else 'full' end, case
             when l.id is not null then minutehand.ms_until(l.until)
             when not lease_ms ? o.type then 60000
             when o.id is not null then greatest(minutehand.ms_until(o.run_at), (o.token = $2)::int * 1000)
             end) order by w.n), '[]')
    into verdicts
    from unnest(ids) with ordinality as w(id, n)
    left join minutehand.open o on o.id = w.id
    left join minutehand.leases l on l.id = w.id
    where l.token is distinct from $2 or l.started_at < now();
  end if;
  return json_build_object('started', started, 'verdicts', verdicts);
end $$;

-- Gives back the leases of this token on jobs that are not to run: finished, tried or lost meanwhile, or past their
-- expires_at.
create function minutehand.let_go(ids uuid[], token uuid, alone boolean) returns void
language plpgsql set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  with dead as (
    delete from minutehand.open o using unnest(ids) w(id), minutehand.leases l
    where o.id = w.id and l.id = w.id and l.token = $2 and o.expires_at <= now()
    returning o.*)
  insert into minutehand.finished (id, type, status, created_at, run_at, attempt, crashes, token, reason)
  select d.id, d.type, 'failed', d.created_at, d.run_at, d.attempt, d.crashes, d.token,
         'expired: it was not started before its expires_at'
  from dead d;
  delete from minutehand.leases l using unnest(ids) w(id)
  where l.id = w.id and l.token = $2 and not exists (
    select from minutehand.open o where o.id = w.id and o.run_at <= now() and (o.crashes = 0 or alone));
end $$;

-- Takes [{id, token, "to": completed | failed | pending | unstarted, result, reason, kind, error, delay_ms}]: what
-- became of each start. `kind` and `error` record the attempt's error, `reason` ends a failed job, `delay_ms` delays
-- a pending one's next attempt; an unstarted one was never entered, gives its lease back and counts nothing.
-- Answers {told: [[id, verdict, wait_ms]]} of those that are not simply finished now: settled, with wait_ms until it
-- is due again; lost: the lease was no longer this token's, nothing was changed. Asked again it answers the same.
create function public.minutehand_settle_v1(outcomes jsonb) returns jsonb
language plpgsql security definer set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  settled uuid[];
  verdicts jsonb;
begin
  with o as materialized (
    select * from jsonb_to_recordset(outcomes) as o(
      id uuid, token uuid, "to" text, result jsonb, reason text, kind text, error text, delay_ms bigint))
  , gone as (
    delete from minutehand.leases l using o where l.id = o.id and l.token = o.token
    returning l.id, l.started_at, o.token, o."to", o.result, o.reason, o.kind, o.error,
              coalesce(o.delay_ms, 0) as delay_ms)
  , noted as (
    insert into minutehand.errors (id, attempt, kind, error)
    select g.id, x.attempt + 1, g.kind, g.error
    from gone g join minutehand.open x on x.id = g.id where g.kind is not null)
  , again as (
    update minutehand.open x
    set attempt = x.attempt + 1, token = g.token, run_at = now() + g.delay_ms * interval '1 ms'
    from gone g where x.id = g.id and g."to" = 'pending')
  , done as (
    delete from minutehand.open x using gone g where x.id = g.id and g."to" in ('completed', 'failed')
    returning x.id, x.type, x.created_at, x.run_at, x.attempt + 1 as attempt, x.crashes,
              g.token, g.started_at, g."to", g.reason, g.result)
  , ended as (
    insert into minutehand.finished
      (id, type, status, created_at, run_at, started_at, attempt, crashes, token, reason, result)
    select id, type, "to", created_at, run_at, started_at, attempt, crashes, token, reason, result from done)
  select coalesce(array_agg(g.id), '{}'),
         coalesce(jsonb_agg(jsonb_build_array(
             g.id, 'settled', case g."to" when 'pending' then g.delay_ms else 0 end)) filter (where g."to" in ('pending', 'unstarted')), '[]')
  from gone g into settled, verdicts;
  if cardinality(settled) = jsonb_array_length(outcomes) then
    return jsonb_build_object('told', verdicts);
  end if;

  -- Some leases were not there to settle: see, in a new snapshot, whether these tokens had settled them before.
  return jsonb_build_object('told', verdicts || (
    select coalesce(jsonb_agg(jsonb_build_array(w.id,
             case when o.id is not null then 'settled' else 'lost' end, minutehand.ms_until(o.run_at))), '[]')
    from (select (e ->> 'id')::uuid as id, (e ->> 'token')::uuid as token
          from jsonb_array_elements(outcomes) as a(e)) w
    left join minutehand.finished f on f.id = w.id and f.token = w.token
    left join minutehand.open o on o.id = w.id and o.token = w.token
    where f.id is null and w.id <> all (settled)));
end $$;

revoke all on all functions in schema minutehand from public, anon, authenticated;
revoke all on function
  public.minutehand_page_v1(text[], bigint, integer, jsonb),
  public.minutehand_start_v1(uuid[], uuid, jsonb, boolean, bigint), public.minutehand_settle_v1(jsonb)
from public, anon, authenticated;
grant execute on function
  public.minutehand_page_v1(text[], bigint, integer, jsonb),
  public.minutehand_start_v1(uuid[], uuid, jsonb, boolean, bigint), public.minutehand_settle_v1(jsonb)
to service_role;
