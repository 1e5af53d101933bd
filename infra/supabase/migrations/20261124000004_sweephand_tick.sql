-- What a tick calls: page, start, settle, and two that it seldom needs. The first three take and answer batches.
-- A start answers with json, as a jsonb would be built before it is written, and a settle tells of exceptions alone.
-- Plans are held to index scans and made anew for each call, which takes half a millisecond: the tables' statistics
-- lag behind a queue that fills and empties in seconds, and a plan that a session made while a table was empty, and
-- kept, reads a full one from end to end.
--
-- No call waits longer than 50 ms for a lock that somebody else holds: a user's transaction, or another call. That is
-- far below deadlock_timeout, so a user's statement is never the victim of a deadlock with one of these. Start and
-- settle then undo what they did and do it again for the rows that they can lock at once; the others are `busy`.

-- Notes that the handlers of these starts have been entered: {token: [id]}. What cannot be locked is left.
create function sweephand.note_entries(entered jsonb) returns void language plpgsql set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  update sweephand.leases l set entered = true
  where l.id = any (array(
    select x.id
    from jsonb_each(note_entries.entered) as t(token, ids)
    cross join jsonb_array_elements_text(t.ids) as e(id)
    join sweephand.leases x on x.id = e.id::uuid and x.token = t.token::uuid and not x.entered
    order by x.id for update of x skip locked));
end $$;

-- The time that a job had to be started in is over.
create function sweephand.expired_reason(attempt integer) returns text language sql immutable as $$
  select case when attempt = 0 then 'expired: it was not started before its expires_at'
         else format('expired: attempt %s was not started before its expires_at', attempt + 1) end
$$;

-- Ends the leases of these ids that ran out. A start whose handler is known to have been entered counts as a crash;
-- one that is not counts as nothing twice, then as a crash. More than 3 crashes end the job.
create function sweephand.rescue(ids uuid[], out rescued integer, out failed integer)
language plpgsql set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  free uuid[] := array(select o.id from sweephand.open o where o.id = any (ids) order by o.id for update skip locked);
begin
  perform sweephand.drop_orphans(ids);
  with lost as materialized (
    select l.id, l.created_at, l.started_at, l.entered or o.lost >= 2 as crash
    from sweephand.leases l join sweephand.open o on o.id = l.id and o.created_at = l.created_at
    where l.id = any (free) and l.until < now()
    order by l.id for update of l skip locked)
  , again as (
    update sweephand.open o
    set attempt = o.attempt + 1, crashes = o.crashes + l.crash::int, lost = o.lost + (not l.crash)::int, token = null
    from lost l where o.id = l.id and not (l.crash and o.crashes >= 3)
    returning o.id, o.attempt, l.crash)
  , dead as (
    delete from sweephand.open o using lost l where o.id = l.id and l.crash and o.crashes >= 3
    returning o.*, l.started_at)
  , gone as (
    delete from sweephand.leases l
    using (select a.id from again a union all select d.id from dead d) x where l.id = x.id
    returning 1)
  , noted as (
    insert into sweephand.errors as e (id, attempt, kind, error)
    select x.id, x.attempt, case when x.crash then 'crash' else 'lost' end,
           case when x.crash then 'the function that ran this attempt was lost: it was not settled in time'
           else 'the function was lost before this attempt was known to have begun: it counts as no crash' end
    from (select a.id, a.attempt, a.crash from again a union all select d.id, (d.attempt + 1)::smallint, true from dead d) x
    on conflict (id, attempt) do update set at = excluded.at, kind = excluded.kind, error = excluded.error)
  , ended as (
    insert into sweephand.finished
      (id, type, status, created_at, run_at, started_at, attempt, crashes, lost, reason)
    select d.id, d.type, 'failed', d.created_at, d.run_at, d.started_at, d.attempt + 1, d.crashes + 1, d.lost,
           format('its function was lost %s times', d.crashes + 1)
    from dead d returning 1)
  select (select count(*) from gone), (select count(*) from ended) into rescued, failed;
end $$;

-- Ends, as failed, jobs of these ids that are past their expires_at and not running.
-- It takes their mutex, as a cancel does: a start that is under way wins.
create function sweephand.end_expired(ids uuid[]) returns integer language plpgsql set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  mine uuid := gen_random_uuid();
  taken uuid[];
  ended integer;
begin
  with free as materialized (
    select o.id, o.created_at from sweephand.open o
    where o.id = any (ids) and o.expires_at <= now()
    order by o.id for update skip locked)
  , lease as (
    insert into sweephand.leases (id, token, created_at, started_at, until)
    select f.id, mine, f.created_at, now(), now() + interval '1 second' from free f
    on conflict (id) do nothing returning id)
  select array_agg(l.id) into taken from lease l;
  with dead as (
    delete from sweephand.open o where o.id = any (taken) returning o.*)
  , done as (
    insert into sweephand.finished (id, type, status, created_at, run_at, attempt, crashes, lost, token, reason)
    select d.id, d.type, 'failed', d.created_at, d.run_at, d.attempt, d.crashes, d.lost, d.token,
           sweephand.expired_reason(d.attempt)
    from dead d returning 1)
  select count(*) from done into ended;
  delete from sweephand.leases l where l.id = any (taken) and l.token = mine;
  return ended;
end $$;

-- What a page ends beside reading: leases that ran out, and jobs past their expires_at, whatever their type; a bounded
-- number of each. A row that fails its statement is tried by itself, then set aside for a minute and told as bad:
-- it fails neither the page nor the other rows.
create function sweephand.sweep(out rescued integer, out failed integer, out bad jsonb)
language plpgsql set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  late uuid[] := array(select l.id from sweephand.leases l where l.until < now() order by l.until limit 1000);
  old uuid[] := array(
    select o.id from sweephand.open o
    where o.expires_at <= now()
      and not exists (select from sweephand.leases l where l.id = o.id and l.created_at = o.created_at)
      and not exists (select from sweephand.aside a where a.id = o.id and a.until > now())
    order by o.expires_at limit 1000);
  one uuid;
  part record;
begin
  rescued := 0;
  failed := 0;
  bad := '[]';
  if cardinality(late) > 0 then
    begin
      select * into part from sweephand.rescue(late);
      rescued := part.rescued;
      failed := part.failed;
    exception when others then
      foreach one in array late[1:100] loop
        begin
          select * into part from sweephand.rescue(array[one]);
          rescued := rescued + part.rescued;
          failed := failed + part.failed;
        exception when others then
          bad := bad || jsonb_build_array(jsonb_build_array(one, left(sqlerrm, 500)));
          update sweephand.leases l set until = now() + interval '1 minute'
          where l.id = any (array(select x.id from sweephand.leases x where x.id = one for update skip locked));
        end;
      end loop;
    end;
  end if;
  if cardinality(old) > 0 then
    begin
      failed := failed + sweephand.end_expired(old);
    exception when others then
      foreach one in array old[1:100] loop
        begin
          failed := failed + sweephand.end_expired(array[one]);
        exception
          when lock_not_available or deadlock_detected then null;  -- held: the next page looks again
          when others then
            bad := bad || jsonb_build_array(jsonb_build_array(one, left(sqlerrm, 500)));
        end;
      end loop;
    end;
  end if;
  if bad <> '[]' then
    perform sweephand.set_aside(bad);
  end if;
end $$;

-- Leaves [[id, error]] alone for a minute.
create function sweephand.set_aside(bad jsonb) returns void language sql set search_path = '' as $$
  insert into sweephand.aside as a (id, until, error)
  select (b ->> 0)::uuid, now() + interval '1 minute', left(b ->> 1, 500)
  from (select distinct on (b ->> 0) b from jsonb_array_elements(bad) as x(b) order by b ->> 0) x
  on conflict (id) do update set until = excluded.until, error = excluded.error
$$;

-- The same for a tick.
create function public.sweephand_set_aside_v1(bad jsonb) returns jsonb
language plpgsql security definer set search_path = '' set lock_timeout = '50ms' as $$
begin
  perform sweephand.set_aside(bad);
  return '{}';
end $$;

-- Forgets what is of no use any more: idempotency keys of more than 24 hours, and rows of `aside`.
create function sweephand.forget_old() returns void language plpgsql set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  forgotten timestamptz := now() - interval '24 hours';  -- a plan without a parameter would be kept
begin
  delete from sweephand.idempotency i using (
    select o.owner, o.key from sweephand.idempotency o where o.created_at < forgotten
    limit 1000 for update skip locked) old
  where i.owner = old.owner and i.key = old.key;
  delete from sweephand.aside a where a.id = any (array(
    select x.id from sweephand.aside x where x.until < forgotten limit 1000 for update skip locked));
end $$;

-- Reads a page of jobs that are pending and due within the horizon, of the types that the caller knows and that are not
-- paused. A lane is what has one type and one priority; a page deals its rows in turns, first the oldest of each
-- lane, then their second, and so on, so that no lane hides another. Where there are more lanes than rows it goes on
-- after the last lane that a page showed.
--   types       the caller's
--   horizon_ms  how far ahead to look
--   max_rows    how many rows at most
--   after       [[type, priority, run_at in microseconds since 1970, id]]: go on in these lanes alone, after that row
--   strict      the caller starts what it reads, as there is no index: what is due first, the highest priority first,
--               the lanes of one priority in turns
--   skip        ids to pass over: the caller has just been told that they are busy
--   entered     {token: [id]}: starts of the caller whose handlers have been entered
--   begins      the caller has just begun
-- Before that, unless it goes on in lanes, it ends leases that ran out and jobs past their expires_at (sweep).
-- Answers {installation, paused: [type], unknown: what sweephand_find_unknown_types_v1 found last, look: whether to call it,
--   rescued, failed, bad: [[id, error]] of rows that could not be ended, oldest: {priority: oldest due age in s},
--   cut: [[type, priority, run_at, id]] the last row shown of each lane that has more, more: whether there are lanes
--   that it did not show at all, jobs: [[id, type, priority, ms until due, negative for what is due]]}.
create function public.sweephand_restore_v1(
  types text[], horizon_ms bigint, max_rows integer default 500, after jsonb default null,
  strict boolean default false, skip uuid[] default '{}', entered jsonb default null, begins boolean default false
) returns jsonb language plpgsql security definer set search_path = '' set lock_timeout = '50ms'
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  until timestamptz := now() + horizon_ms * interval '1 ms';
  seen sweephand.ticks;
  swept record;
  paused_types text[] := array(select p.type from sweephand.paused p);
  passed uuid[] := skip || array(select a.id from sweephand.aside a where a.until > now());
  lane_type text[];
  lane_priority smallint[];
  lane_at timestamptz[];
  lane_id uuid[];
  lanes integer;
  per_lane integer;
  look boolean := false;
  page record;
begin
  select * into seen from sweephand.ticks t;
  if not found then
    insert into sweephand.ticks default values on conflict do nothing returning * into seen;
  end if;
  if begins or seen.at is null or seen.at <= now() - interval '1 s' then
    update sweephand.ticks t
    set at = now(), types = case when t.types = sweephand_restore_v1.types then t.types else sweephand_restore_v1.types end
    where t.one = any (array(select x.one from sweephand.ticks x for update skip locked));
  end if;
  if entered is not null then
    perform sweephand.note_entries(entered);
  end if;
  select 0 as rescued, 0 as failed, '[]'::jsonb as bad into swept;
  if after is null then
    select * into swept from sweephand.sweep();
    if exists (select from sweephand.idempotency i where i.created_at < now() - interval '24 hours')
      or exists (select from sweephand.aside) then
      perform sweephand.forget_old();
    end if;
    -- By hops over the index, from the highest priority of a type down to the next: from that side there are no rows
    -- of what has just run, which stand where a lane begins until they are vacuumed.
    with recursive lane(type, priority) as (
      select t.type, x.priority
      from unnest(types) as t(type)
      cross join lateral (
        select o.priority from sweephand.open o where o.type = t.type
        order by o.type desc, o.priority desc limit 1) x
      where t.type <> all (paused_types)
      union all
      select l.type, x.priority
      from lane l
      cross join lateral (
        select o.priority from sweephand.open o where o.type = l.type and o.priority < l.priority
        order by o.type desc, o.priority desc limit 1) x
      where l.priority > 0)
    select array_agg(l.type), array_agg(l.priority),
           array_agg('-infinity'::timestamptz), array_agg('00000000-0000-0000-0000-000000000000'::uuid)
    into lane_type, lane_priority, lane_at, lane_id
    from lane l;
    -- Whether some type is nobody's is looked at once a minute: over all types that exist, until one is not known.
    if seen.looked_at is null or seen.looked_at <= now() - interval '55 s' then
      with recursive hop(type) as (
        (select o.type from sweephand.open o order by o.type desc limit 1)
        union all
        select (select o.type from sweephand.open o where o.type < h.type order by o.type desc limit 1)
        from hop h where h.type = any (types))
      select coalesce(bool_or(h.type <> all (types)), false) into look from hop h where h.type is not null;
      look := look or seen.unknown <> '{}';
    end if;
  else
    select array_agg(a ->> 0), array_agg((a ->> 1)::smallint),
           array_agg('epoch'::timestamptz + (a ->> 2)::bigint * interval '1 microsecond'), array_agg((a ->> 3)::uuid)
    into lane_type, lane_priority, lane_at, lane_id
    from jsonb_array_elements(after) as x(a)
    where a ->> 0 = any (types) and a ->> 0 <> all (paused_types);
  end if;

  lanes := coalesce(cardinality(lane_type), 0);
  per_lane := least(max_rows, 4 * max_rows / greatest(lanes, 1) + 1);
  loop
    with read as materialized (
      select l.type, l.priority, r.id, r.run_at, r.run_at > now() as future,
             row_number() over lane as turn,
             count(*) over (partition by l.type, l.priority) as lane_rows,
             (l.type, l.priority) <= (seen.after_type, seen.after_priority) as before
      from unnest(lane_type, lane_priority, lane_at, lane_id) as l(type, priority, at, id)
      cross join lateral (
        select o.id, o.run_at from sweephand.open o
        where o.type = l.type and o.priority = l.priority and o.run_at <= until
          and (o.run_at, o.id) > (l.at, l.id) and o.id <> all (passed)
          and not exists (select from sweephand.leases x where x.id = o.id and x.created_at = o.created_at)
        order by o.run_at, o.id limit per_lane + 1) r
      window lane as (partition by l.type, l.priority order by r.run_at, r.id))
    , dealt as materialized (
      select row_number() over (order by
               strict and r.future, case when strict and not r.future then r.priority end desc nulls last,
               r.turn, r.before, r.type, r.priority desc, r.id) as n, r.*
      from read r where r.turn <= per_lane
      order by n limit max_rows)
    , shown as materialized (  -- of a lane the first rows are shown, without a gap
      select d.*, count(*) over (partition by d.type, d.priority) as shown_rows from dealt d)
    select
      (select count(*) from shown) as rows,
      (select bool_or(r.lane_rows > per_lane) from read r) as short,
      (select count(*) from read r where r.turn = 1) > (select count(*) from shown d where d.turn = 1) as more,
      (select d.type from shown d where d.turn = 1 order by d.n desc limit 1) as last_type,
      (select d.priority from shown d where d.turn = 1 order by d.n desc limit 1) as last_priority,
      (select coalesce(jsonb_object_agg(u.priority, u.age), '{}') from (
         select r.priority, round(max(extract(epoch from now() - r.run_at)), 3) as age from read r
         where r.turn = 1 and not r.future group by r.priority) u) as oldest,
      (select coalesce(jsonb_agg(jsonb_build_array(
                d.type, d.priority, (extract(epoch from d.run_at) * 1000000)::bigint, d.id)), '[]')
       from shown d where d.turn = d.shown_rows and d.shown_rows < d.lane_rows) as cut,
      (select coalesce(jsonb_agg(jsonb_build_array(d.id, d.type, d.priority, sweephand.ms_from_now(d.run_at))
                order by d.n), '[]') from shown d) as jobs
    into page;
    exit when page.rows >= max_rows or page.short is not true or per_lane >= max_rows;
    per_lane := least(max_rows, per_lane * 8);
  end loop;
  if page.more and after is null then
    update sweephand.ticks t set after_type = page.last_type, after_priority = page.last_priority
    where t.one = any (array(select x.one from sweephand.ticks x for update skip locked));
  end if;
  return jsonb_build_object(
    'installation', (select i.id from sweephand.installation i),
    'paused', (select coalesce(jsonb_agg(p), '[]') from unnest(paused_types) as p where p = any (types)),
    'unknown', case when seen.unknown = '{}' or seen.looked_at < now() - interval '150 s' then '{}' else seen.unknown end,
    'look', look,
    'rescued', swept.rescued, 'failed', swept.failed, 'bad', swept.bad,
    'oldest', page.oldest, 'cut', page.cut, 'more', page.more, 'jobs', page.jobs);
end $$;

-- Looks for types that have a due job and are not among the caller's, nor paused, and keeps what it finds for the pages
-- that follow. It reads one row of each type that exists: 50,000 of them take a quarter of a second, so a tick calls
-- it once a minute, when a page says that there are such types, and does nothing else meanwhile.
-- Answers {types: how many, oldest: the oldest due age in s, named: {type: oldest due age in s} of the 100 oldest},
-- or {} where there are none.
create function public.sweephand_find_unknown_types_v1(types text[]) returns jsonb
language plpgsql security definer set search_path = '' set lock_timeout = '50ms'
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  paused_types text[] := array(select p.type from sweephand.paused p);
  found_now jsonb;
begin
  with recursive lane(type, priority) as (
    (select o.type, o.priority from sweephand.open o order by o.type, o.priority limit 1)
    union all
    select n.type, n.priority from lane l
    cross join lateral (
      select o.type, o.priority from sweephand.open o
      where (o.type, o.priority) > (l.type, l.priority)
      order by o.type, o.priority limit 1) n)
  , aged as materialized (
    select l.type, max(extract(epoch from now() - old.run_at)) as age
    from lane l
    cross join lateral (
      select o.run_at from sweephand.open o
      where o.type = l.type and o.priority = l.priority and o.run_at <= now()
        and not exists (select from sweephand.leases x where x.id = o.id and x.created_at = o.created_at)
      order by o.run_at, o.id limit 1) old
    where l.type <> all (sweephand_find_unknown_types_v1.types) and l.type <> all (paused_types)
    group by l.type)
  select case when count(*) = 0 then '{}' else jsonb_build_object(
    'types', count(*), 'oldest', round(max(a.age), 3),
    'named', (select jsonb_object_agg(b.type, round(b.age, 3))
              from (select * from aged c order by c.age desc, c.type limit 100) b)) end
  into found_now from aged a;
  update sweephand.ticks t set looked_at = now(), unknown = found_now
  where t.one = any (array(select x.one from sweephand.ticks x for update skip locked));
  return found_now;
end $$;

-- Takes ids in the order to start them, a token made for this call, {type: lease in ms}, whether the jobs will have
-- the function to themselves, about how many bytes of payload the caller can hold, and {token: [id]} of earlier
-- starts whose handlers have been entered since.
-- Answers {verdicts: [[id, verdict, wait_ms]] of all that did not start,
--   started: [[id, type, attempt, crashes, lost, max_retries, late_ms, payload]]}. The verdicts:
--   started  the lease is the caller's            already  it was already, from an earlier call with this token
--   early    not due for wait_ms                  leased   another start has it, for wait_ms
--   final    the job is finished                  unknown  there is no such job
--   exclusive  it was lost with a function twice: ask again with exclusive, for it and no other
--   deferred the payloads before it filled max_bytes, or it has to be asked for again
--   busy     another transaction holds its row: ask again after wait_ms
-- A job that is past its expires_at ends here, failed, without a start.
create function public.sweephand_start_v1(
  ids uuid[], token uuid, lease_ms jsonb, exclusive boolean default false, max_bytes bigint default 16777216,
  entered jsonb default null
) returns json language plpgsql security definer set search_path = '' set lock_timeout = '50ms'
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  free uuid[];
  answer json;
begin
  if entered is not null then
    perform sweephand.note_entries(entered);
  end if;
  begin
    return sweephand.lease_jobs(ids, token, lease_ms, exclusive, max_bytes);
  exception when lock_not_available or deadlock_detected then
    null;
  end;
  free := array(select o.id from sweephand.open o where o.id = any (ids) order by o.id for update skip locked);
  answer := sweephand.lease_jobs(
    array(select w.id from unnest(ids) with ordinality as w(id, n) where w.id = any (free) order by w.n),
    token, lease_ms, exclusive, max_bytes);
  return json_build_object('started', answer -> 'started', 'verdicts', (
    select coalesce(json_agg(v), '[]') from (
      select v from json_array_elements(answer -> 'verdicts') as a(v)
      union all
      select json_build_array(w.id, case
               when o.id is not null then 'busy'
               when exists (select from sweephand.finished f where f.id = w.id) then 'final' else 'unknown' end,
             case when o.id is not null then 2000 end)
      from unnest(ids) as w(id) left join sweephand.open o on o.id = w.id
      where w.id <> all (free)) x));
end $$;

create function sweephand.lease_jobs(ids uuid[], token uuid, lease_ms jsonb, exclusive boolean, max_bytes bigint)
returns json language plpgsql set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  taken bigint;
  entered bigint;
  lives interval;   -- the created_at of the rows that were leased, added up
  started_lives interval;
  looked_up boolean;
  started json;
  verdicts json := '[]';
begin
  -- The mutex of every job that may start, in id order so that two calls never wait for each other in a ring.
  with lease as (
    insert into sweephand.leases (id, token, created_at, started_at, until)
    select c.id, $2, c.created_at, now(), now() + c.lease * interval '1 ms'
    from (
      select o.id, o.created_at, o.bytes, coalesce((lease_ms ->> o.type)::bigint, 1000) as lease,
             sum(o.bytes) over (order by w.n) as filled
      from unnest(ids) with ordinality as w(id, n)
      join sweephand.open o on o.id = w.id
      where o.run_at <= now() and (o.expires_at <= now() or (o.crashes < 2 or exclusive) and lease_ms ? o.type)
        and o.token is distinct from $2) c
    where c.filled - c.bytes < max_bytes
    order by c.id
    on conflict (id) do nothing
    returning created_at)
  select count(*), sum(l.created_at - timestamptz '2000-01-01 00:00:00+00') from lease l into taken, lives;

  -- A new snapshot: while the insert waited, another start may have run and settled a job of which it knew nothing.
  -- What was cancelled or finished is gone from open; what is to be tried again may not be due; what was deleted may
  -- be another job under the same id, to which the lease does not belong.
  -- Where all leases are this call's and of these lives, none needs to be looked up.
  looked_up := taken < cardinality(ids);
  loop
    select count(*), sum(o.created_at - timestamptz '2000-01-01 00:00:00+00'), coalesce(json_agg(json_build_array(
             o.id, o.type, o.attempt + 1, o.crashes, o.lost, o.max_retries,
             greatest(0, extract(epoch from now() - o.run_at) * 1000)::bigint, j.payload) order by w.n), '[]')
    into entered, started_lives, started
    from unnest(ids) with ordinality as w(id, n)
    join sweephand.open o on o.id = w.id and o.run_at <= now() and (o.crashes < 2 or exclusive)
      and (o.expires_at > now() or o.expires_at is null)
    join sweephand.jobs j on j.id = w.id
    where not looked_up
      or exists (select from sweephand.leases l where l.id = w.id and l.token = $2 and l.created_at = o.created_at);
    exit when looked_up or (entered = taken and started_lives is not distinct from lives);
    looked_up := true;
  end loop;

  if taken < cardinality(ids) or entered < cardinality(ids) then
    perform sweephand.let_go(ids, $2, exclusive);
    perform sweephand.drop_orphans(ids);
    select coalesce(json_agg(json_build_array(w.id, case
             when l.token = $2 then 'already'
             when l.id is not null then 'leased'
             when o.id is null then case when exists (select from sweephand.finished f where f.id = w.id)
                                    then 'final' else 'unknown' end
             when o.run_at > now() or o.token = $2 or not lease_ms ? o.type then 'early'
             when o.crashes >= 2 and not exclusive then 'exclusive'
             else 'deferred' end, case
             when l.id is not null then sweephand.ms_until(l.until)
             when not lease_ms ? o.type then 60000
             when o.id is not null then greatest(sweephand.ms_until(o.run_at), (o.token = $2)::int * 1000)
             end) order by w.n), '[]')
    into verdicts
    from unnest(ids) with ordinality as w(id, n)
    left join sweephand.open o on o.id = w.id
    left join sweephand.leases l on l.id = o.id and l.created_at = o.created_at
    where l.token is distinct from $2 or l.started_at < now();
  end if;
  return json_build_object('started', started, 'verdicts', verdicts);
end $$;

-- Gives back the leases of this token on jobs that are not to run: finished, tried or lost meanwhile, or past their
-- expires_at.
create function sweephand.let_go(ids uuid[], token uuid, exclusive boolean) returns void
language plpgsql set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  with dead as (
    delete from sweephand.open o using unnest(ids) w(id), sweephand.leases l
    where o.id = w.id and l.id = w.id and l.token = $2 and l.created_at = o.created_at and o.expires_at <= now()
    returning o.*)
  insert into sweephand.finished (id, type, status, created_at, run_at, attempt, crashes, lost, token, reason)
  select d.id, d.type, 'failed', d.created_at, d.run_at, d.attempt, d.crashes, d.lost, d.token,
         sweephand.expired_reason(d.attempt)
  from dead d;
  delete from sweephand.leases l using unnest(ids) w(id)
  where l.id = w.id and l.token = $2 and not exists (
    select from sweephand.open o
    where o.id = w.id and o.created_at = l.created_at and o.run_at <= now() and (o.crashes < 2 or exclusive));
end $$;

-- Takes [{id, token, "to": completed | failed | pending | released | lost, result, reason, kind, error, delay_ms}]: what
-- became of each start; and {token: [id]} of other starts whose handlers have been entered. `kind` and `error` record
-- the attempt's error, `reason` ends a failed job, `delay_ms` delays a pending one's next attempt; an unstarted one was
-- never entered, gives its lease back and counts nothing; a lost one was ended with its function, which counts as a
-- crash at once.
-- Answers {verdicts: [[id, verdict, wait_ms]]} of those that are not simply finished now: settled, with wait_ms until it
-- is due again; lost: the lease was no longer this token's, or its job is gone, nothing was changed; busy: another
-- transaction holds the job, ask again. Asked again it answers the same.
create function public.sweephand_settle_v1(outcomes jsonb, entered jsonb default null) returns jsonb
language plpgsql security definer set search_path = '' set lock_timeout = '50ms'
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  asked uuid[];
  part record;
begin
  if entered is not null then
    perform sweephand.note_entries(entered);
  end if;
  if outcomes @> '[{"to": "lost"}]' then
    with gone as (
      update sweephand.leases l
      set entered = true, started_at = least(l.started_at, now() - interval '2 us'), until = now() - interval '1 us'
      from jsonb_to_recordset(outcomes) as o(id uuid, token uuid, "to" text)
      where o."to" = 'lost' and l.id = o.id and l.token = o.token
      returning l.id)
    select array_agg(g.id) into asked from gone g;
    perform sweephand.rescue(asked);
  end if;
  begin
    select * into part from sweephand.settle(outcomes, null);
  exception when lock_not_available or deadlock_detected or sqlstate 'SH001' then
    -- What can be locked at once, in the one lock order.
    asked := array(select (e ->> 'id')::uuid from jsonb_array_elements(outcomes) as a(e));
    asked := array(select o.id from sweephand.open o where o.id = any (asked) order by o.id for update skip locked)
      || array(select (e ->> 'id')::uuid from jsonb_array_elements(outcomes) as a(e) where e ->> 'to' = 'released');
    asked := array(select l.id from sweephand.leases l where l.id = any (asked) order by l.id for update skip locked);
    select * into part from sweephand.settle(outcomes, asked);
  end;
  if cardinality(part.settled) = jsonb_array_length(outcomes) then
    return jsonb_build_object('verdicts', part.told);
  end if;

  -- Some leases were not there to settle: see, in a new snapshot, whether these tokens had settled them before, whether
  -- they are held, or whether their jobs are gone.
  perform sweephand.drop_orphans(array(
    select (e ->> 'id')::uuid from jsonb_array_elements(outcomes) as a(e)
    where (e ->> 'id')::uuid <> all (part.settled)));
  return jsonb_build_object('verdicts', part.told || (
    select coalesce(jsonb_agg(jsonb_build_array(w.id, case
             when o.id is not null then 'settled' when l.id is not null then 'busy' else 'lost' end,
             sweephand.ms_until(o.run_at))), '[]')
    from (select (e ->> 'id')::uuid as id, (e ->> 'token')::uuid as token
          from jsonb_array_elements(outcomes) as a(e)) w
    left join sweephand.finished f on f.id = w.id and f.token = w.token
    left join sweephand.open o on o.id = w.id and o.token = w.token
    left join sweephand.leases l on l.id = w.id and l.token = w.token
    where f.id is null and w.id <> all (part.settled)));
end $$;

-- Settles these outcomes, of the ids in `only` where that is not null, whose leases are there and belong to their jobs'
-- lives. What the ends of an attempt say is written from the row that was changed, and from no other.
-- Raises SH001 where a lease was ended meanwhile by another call.
create function sweephand.settle(outcomes jsonb, "only" uuid[], out settled uuid[], out told jsonb)
language plpgsql set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  changed bigint;
begin
  with o as materialized (
    select o.id, o.token, o."to", o.result, o.reason, o.kind, o.error, coalesce(o.delay_ms, 0) as delay_ms,
           l.ctid as lease, l.created_at, l.started_at
    from jsonb_to_recordset(outcomes) as o(
      id uuid, token uuid, "to" text, result jsonb, reason text, kind text, error text, delay_ms bigint)
    join sweephand.leases l on l.id = o.id and l.token = o.token
    where "only" is null or o.id = any ("only")
    order by o.id)
  , again as (
    update sweephand.open x
    set attempt = x.attempt + 1, token = o.token, run_at = now() + o.delay_ms * interval '1 ms'
    from o where o."to" = 'pending' and x.id = o.id and x.created_at = o.created_at
    returning x.id, x.attempt, o.token, o.lease, o.kind, o.error, o.delay_ms as wait)
  , done as (
    delete from sweephand.open x
    using o where o."to" in ('completed', 'failed') and x.id = o.id and x.created_at = o.created_at
    returning x.id, x.type, x.created_at, x.run_at, (x.attempt + 1)::smallint as attempt, x.crashes, x.lost,
              o.token, o.lease, o.started_at, o."to", o.reason, o.result, o.kind, o.error)
  , mine as (
    select a.id, a.token, a.lease, a.wait from again a
    union all select d.id, d.token, d.lease, null from done d
    union all select o.id, o.token, o.lease, 0 from o where o."to" = 'released')
  , gone as (
    delete from sweephand.leases l using mine m where l.ctid = m.lease and l.id = m.id and l.token = m.token
    returning l.id, m.wait)
  , noted as (
    insert into sweephand.errors as e (id, attempt, kind, error)
    select a.id, a.attempt, a.kind, a.error from again a where a.kind is not null
    union all select d.id, d.attempt, d.kind, d.error from done d where d.kind is not null
    on conflict (id, attempt) do update set at = excluded.at, kind = excluded.kind, error = excluded.error)
  , ended as (
    insert into sweephand.finished
      (id, type, status, created_at, run_at, started_at, attempt, crashes, lost, token, reason, result)
    select id, type, "to", created_at, run_at, started_at, attempt, crashes, lost, token, reason, result from done)
  select coalesce(array_agg(g.id), '{}'),
         coalesce(jsonb_agg(jsonb_build_array(g.id, 'settled', g.wait)) filter (where g.wait is not null), '[]'),
         (select count(*) from again) + (select count(*) from done)
           + (select count(*) from o where o."to" = 'released')
  from gone g into settled, told, changed;
  if changed <> cardinality(settled) then
    raise exception 'a lease was ended meanwhile' using errcode = 'SH001';
  end if;
end $$;

revoke all on all functions in schema sweephand from public, anon, authenticated;
revoke all on function
  public.sweephand_restore_v1(text[], bigint, integer, jsonb, boolean, uuid[], jsonb, boolean),
  public.sweephand_find_unknown_types_v1(text[]), public.sweephand_set_aside_v1(jsonb),
  public.sweephand_start_v1(uuid[], uuid, jsonb, boolean, bigint, jsonb), public.sweephand_settle_v1(jsonb, jsonb)
from public, anon, authenticated;
grant execute on function
  public.sweephand_restore_v1(text[], bigint, integer, jsonb, boolean, uuid[], jsonb, boolean),
  public.sweephand_find_unknown_types_v1(text[]), public.sweephand_set_aside_v1(jsonb),
  public.sweephand_start_v1(uuid[], uuid, jsonb, boolean, bigint, jsonb), public.sweephand_settle_v1(jsonb, jsonb)
to service_role;
