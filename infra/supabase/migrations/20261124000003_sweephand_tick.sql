-- What a tick calls: restore, start, settle; and two that it seldom needs, find_unknown_types and set_aside.
-- Restore, start and settle take and answer batches. A start answers with json, as a jsonb would be built before it is
-- written; a settle answers with exceptions only.
--
-- No call waits longer than 50 ms for a lock that somebody else holds: a user's transaction, or another call. That is
-- far below deadlock_timeout, so a user's statement is never the victim of a deadlock with one of these. Start and
-- settle then undo what they did and do it again for the rows that they can lock at once; the others are `busy`.

-- Notes that the handlers of these starts have been entered: {token: [id]}. Leases that are locked are passed over.
create function sweephand.note_entered(entered jsonb) returns void language plpgsql as $$
begin
  update sweephand.leases l set entered = true
  where l.id = any (array(
    select x.id
    from jsonb_each(note_entered.entered) as t(token, ids)
    cross join jsonb_array_elements_text(t.ids) as e(id)
    join sweephand.leases x on x.id = e.id::uuid and x.token = t.token::uuid and not x.entered
    order by x.id for update of x skip locked));
end $$;

-- Why a job failed that was not started in time.
create function sweephand.expired_reason(attempt integer) returns text language sql immutable as $$
  select case when attempt = 0 then 'expired: it was not started before its expires_at'
         else format('expired: attempt %s was not started before its expires_at', attempt + 1) end
$$;

-- Ends the leases of these ids that ran out. A start whose handler is known to have been entered counts as a crash;
-- one that is not counts as nothing twice, then as a crash. A crash beyond max_crashes() fails the job.
-- Answers how many leases it ended, and how many of these jobs failed. It passes over rows that are locked.
create function sweephand.rescue_expired_leases(ids uuid[], out rescued integer, out failed integer) language plpgsql as $$
declare
  moment timestamptz := sweephand.clock();
  free uuid[] := array(select o.id from sweephand.open o where o.id = any (ids) order by o.id for update skip locked);
  dead sweephand.ending[];
  alive sweephand.ending[];
begin
  perform sweephand.drop_orphans(ids);
  with expired as materialized (
    select o.id, o.created_at, l.token, l.started_at, o.crashes, l.entered or o.lost >= 2 as crash
    from sweephand.leases l join sweephand.open o on o.id = l.id and o.created_at = l.created_at
    where l.id = any (free) and l.until < moment
    order by l.id for update of l skip locked)
  , judged as (
    select x.*, x.crash and x.crashes >= sweephand.max_crashes() as fails from expired x)
  , ends as (
    select j.fails, row(
             j.id, j.created_at, j.token, case when j.fails then 'failed' else 'pending' end,
             1, j.crash::int, (not j.crash)::int, j.started_at, null, null,
             case when j.fails then format('its function was lost %s times', j.crashes + 1) end, null,
             case when j.crash then 'crash' else 'lost' end,
             case when j.crash then 'the function that ran this attempt was lost: it was not settled in time'
             else 'the function was lost before this attempt was known to have begun: it counts as no crash' end
           )::sweephand.ending as ending
    from judged j)
  select array_agg(e.ending) filter (where e.fails), array_agg(e.ending) filter (where not e.fails)
  into dead, alive from ends e;
  failed := coalesce(cardinality(sweephand.finish(dead)), 0);
  rescued := failed + coalesce(cardinality(sweephand.retry(alive)), 0);
end $$;

-- Fails the jobs of these ids that are past their expires_at and whose mutex is this token's. Answers how many.
create function sweephand.expire(ids uuid[], token uuid) returns integer language plpgsql as $$
declare
  moment timestamptz := sweephand.clock();
begin
  return cardinality(sweephand.finish(array(
    select row(o.id, o.created_at, $2, 'failed', 0, 0, 0, null, null, o.token, sweephand.expired_reason(o.attempt),
               null, null, null)::sweephand.ending
    from sweephand.open o join sweephand.leases l on l.id = o.id and l.created_at = o.created_at and l.token = $2
    where o.id = any (ids) and o.expires_at <= moment
    order by o.id)));
end $$;

-- Fails the jobs of these ids that are past their expires_at and not running. Answers how many.
-- It takes their mutex, as a cancel does: a start that is under way wins.
create function sweephand.expire_unstarted(ids uuid[]) returns integer language plpgsql as $$
declare
  moment timestamptz := sweephand.clock();
  mine uuid := gen_random_uuid();
  free uuid[] := array(
    select o.id from sweephand.open o where o.id = any (ids) and o.expires_at <= moment
    order by o.id for update skip locked);
begin
  return sweephand.expire(sweephand.hold(free, mine), mine);
end $$;

-- Rescues leases that ran out and fails jobs past their expires_at, whatever their type, a bounded number of each; and
-- forgets what is of no use any more. A row that fails its statement is tried by itself, then set aside for a minute
-- and answered as bad, [[id, error]]: it fails neither the call nor the other rows.
create function sweephand.sweep(out rescued integer, out failed integer, out bad jsonb) language plpgsql as $$
declare
  -- Without a parameter a plan is kept: an idle tick does not plan these again.
  late uuid[] := array(
    select l.id from sweephand.leases l where l.until < sweephand.clock() order by l.until limit 1000);
  old uuid[] := array(
    select o.id from sweephand.open o
    where o.expires_at <= sweephand.clock()
      and not exists (select from sweephand.leases l where l.id = o.id and l.created_at = o.created_at)
      and not exists (select from sweephand.aside a where a.id = o.id and a.until > sweephand.clock())
    order by o.expires_at limit 1000);
  one uuid;
  part record;
begin
  rescued := 0;
  failed := 0;
  bad := '[]';
  if cardinality(late) > 0 then
    begin
      select * into part from sweephand.rescue_expired_leases(late);
      rescued := part.rescued;
      failed := part.failed;
    exception when others then
      foreach one in array late[1:100] loop
        begin
          select * into part from sweephand.rescue_expired_leases(array[one]);
          rescued := rescued + part.rescued;
          failed := failed + part.failed;
        exception when others then
          bad := bad || jsonb_build_array(jsonb_build_array(one, left(sqlerrm, 500)));
          update sweephand.leases l set until = sweephand.clock() + interval '1 minute'
          where l.id = any (array(select x.id from sweephand.leases x where x.id = one for update skip locked));
        end;
      end loop;
    end;
  end if;
  if cardinality(old) > 0 then
    begin
      failed := failed + sweephand.expire_unstarted(old);
    exception when others then
      foreach one in array old[1:100] loop
        begin
          failed := failed + sweephand.expire_unstarted(array[one]);
        exception
          when lock_not_available or deadlock_detected then null;  -- held: the next sweep looks again
          when others then
            bad := bad || jsonb_build_array(jsonb_build_array(one, left(sqlerrm, 500)));
        end;
      end loop;
    end;
  end if;
  if bad <> '[]' then
    perform sweephand.set_aside(bad);
  end if;
  if exists (select from sweephand.idempotency i where i.created_at < sweephand.clock() - interval '24 hours')
    or exists (select from sweephand.aside) then
    perform sweephand.forget_old();
  end if;
end $$;

-- Has pages pass over [[id, error]] for a minute.
create function sweephand.set_aside(bad jsonb) returns void language sql as $$
  insert into sweephand.aside as a (id, until, error)
  select (b ->> 0)::uuid, sweephand.clock() + interval '1 minute', left(b ->> 1, 500)
  from (select distinct on (b ->> 0) b from jsonb_array_elements(bad) as x(b) order by b ->> 0) x
  on conflict (id) do update set until = excluded.until, error = excluded.error
$$;

-- Takes [[id, error]], as sweephand.set_aside does. Answers {}.
create function public.sweephand_set_aside_v1(bad jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
begin
  perform sweephand.set_aside(bad);
  return '{}';
end $$;

-- Forgets what is of no use any more: idempotency keys of more than 24 hours, and rows of `aside`.
create function sweephand.forget_old() returns void language plpgsql as $$
declare
  forgotten timestamptz := sweephand.clock() - interval '24 hours';
begin
  delete from sweephand.idempotency i using (
    select o.owner, o.key from sweephand.idempotency o where o.created_at < forgotten
    limit 1000 for update skip locked) old
  where i.owner = old.owner and i.key = old.key;
  delete from sweephand.aside a where a.id = any (array(
    select x.id from sweephand.aside x where x.until < forgotten limit 1000 for update skip locked));
end $$;

-- Sweeps, then reads a page: jobs that are pending and due within the horizon, of types that the caller knows and that
-- are not paused. A lane is what has one type and one priority; a page deals its rows in turns, first the oldest of
-- each lane, then their second, and so on, so that no lane hides another. Where there are more lanes than rows, a page
-- begins after the last lane that the page before showed.
-- Takes:
--   types       the caller's
--   horizon_ms  how far ahead to look
--   max_rows    how many rows at most
--   after       [[type, priority, run_at in microseconds since 1970, id]]: go on in these lanes alone, after that row
--   strict      the caller starts what it reads, as there is no index: what is due first, the highest priority first,
--               the lanes of one priority in turns
--   skip        ids to pass over: the caller has just had the verdict `busy` on them
--   entered     {token: [id]}: starts of the caller whose handlers have been entered
--   begins      the caller has just begun
-- Unless it goes on in lanes, it sweeps before it reads: see sweephand.sweep, whose answer is a part of this one.
-- Answers {installation, paused: [type], unknown: what sweephand_find_unknown_types_v1 found last, look: whether to
--   call it,
--   rescued, failed, bad: [[id, error]] of rows that could not be ended, oldest: {priority: oldest due age in s},
--   cut: [[type, priority, run_at, id]] the last row shown of each lane that has more, more: whether there are lanes
--   that it did not show at all, jobs: [[id, type, priority, ms until due, negative for what is due]],
--   schedules: null, or those that have a fire to make, as sweephand.due_schedules tells them}.
create function public.sweephand_restore_v1(
  types text[], horizon_ms bigint, max_rows integer default 500, after jsonb default null,
  strict boolean default false, skip uuid[] default '{}', entered jsonb default null, begins boolean default false
) returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
  moment timestamptz := sweephand.clock();
  until timestamptz := moment + horizon_ms * interval '1 ms';
  seen sweephand.ticks;
  swept record;
  paused_types text[] := array(select p.type from sweephand.paused p);
  passed uuid[] := skip || array(select a.id from sweephand.aside a where a.until > sweephand.clock());
  lane_type text[];
  lane_priority smallint[];
  lane_at timestamptz[];
  lane_id uuid[];
  lanes integer;
  per_lane integer;
  look boolean := false;
  schedules jsonb;
  page record;
begin
  select * into seen from sweephand.ticks t;
  if not found then
    insert into sweephand.ticks default values on conflict do nothing returning * into seen;
  end if;
  if begins or seen.at is null or seen.at <= moment - interval '1 s' then
    update sweephand.ticks t
    set at = moment,
        types = case when t.types = sweephand_restore_v1.types then t.types else sweephand_restore_v1.types end
    where t.one = any (array(select x.one from sweephand.ticks x for update skip locked));
  end if;
  if entered is not null then
    perform sweephand.note_entered(entered);
  end if;
  select 0 as rescued, 0 as failed, '[]'::jsonb as bad into swept;
  if after is null then
    if exists (select from sweephand.schedules s where s.look_at <= moment) then
      schedules := sweephand.due_schedules(moment);
    end if;
    select * into swept from sweephand.sweep();
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
    if seen.looked_at is null or seen.looked_at <= moment - interval '55 s' then
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
      select l.type, l.priority, r.id, r.run_at, r.run_at > moment as future,
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
         select r.priority, round(max(extract(epoch from moment - r.run_at)), 3) as age from read r
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
    'unknown', case when seen.looked_at >= moment - interval '150 s' then seen.unknown else '{}' end,
    'look', look,
    'rescued', swept.rescued, 'failed', swept.failed, 'bad', swept.bad,
    'oldest', page.oldest, 'cut', page.cut, 'more', page.more, 'jobs', page.jobs, 'schedules', schedules);
end $$;

-- Looks for types that have a due job and are not among the caller's, nor paused, and keeps what it finds for the pages
-- that follow. It reads one row of each type that exists: 50,000 of them take a quarter of a second, so a tick calls
-- it once a minute, when a page says that there are such types, and does nothing else meanwhile.
-- Answers {types: how many, oldest: the oldest due age in s, named: {type: oldest due age in s} of the 100 oldest},
-- or {} where there are none.
create function public.sweephand_find_unknown_types_v1(types text[]) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
  moment timestamptz := sweephand.clock();
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
    select l.type, max(extract(epoch from moment - old.run_at)) as age
    from lane l
    cross join lateral (
      select o.run_at from sweephand.open o
      where o.type = l.type and o.priority = l.priority and o.run_at <= moment
        and not exists (select from sweephand.leases x where x.id = o.id and x.created_at = o.created_at)
      order by o.run_at, o.id limit 1) old
    where l.type <> all (sweephand_find_unknown_types_v1.types) and l.type <> all (paused_types)
    group by l.type)
  select case when count(*) = 0 then '{}' else jsonb_build_object(
    'types', count(*), 'oldest', round(max(a.age), 3),
    'named', (select jsonb_object_agg(b.type, round(b.age, 3))
              from (select * from aged c order by c.age desc, c.type limit 100) b)) end
  into found_now from aged a;
  update sweephand.ticks t set looked_at = moment, unknown = found_now
  where t.one = any (array(select x.one from sweephand.ticks x for update skip locked));
  return found_now;
end $$;

-- Takes ids in the order to start them, a token made for this call, {type: lease in ms}, whether the start
-- is exclusive (the jobs will have the function to themselves), about how many bytes of payload the caller can hold,
-- and {token: [id]} of earlier starts whose handlers have been entered since.
-- Answers {verdicts: [[id, verdict, wait_ms]] of all that it did not start,
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
) returns json language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
  free uuid[];
  answer json;
begin
  if entered is not null then
    perform sweephand.note_entered(entered);
  end if;
  begin
    return sweephand.lease(ids, token, lease_ms, exclusive, max_bytes);
  exception when lock_not_available or deadlock_detected then
    null;
  end;
  free := array(select o.id from sweephand.open o where o.id = any (ids) order by o.id for update skip locked);
  answer := sweephand.lease(
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

-- Leases those of these ids that may start, and answers as sweephand_start_v1 does. Waits for locks.
create function sweephand.lease(ids uuid[], token uuid, lease_ms jsonb, exclusive boolean, max_bytes bigint)
returns json language plpgsql as $$
declare
  moment timestamptz := sweephand.clock();
  taken bigint;
  entered bigint;
  lives interval;   -- the created_at of the rows that were leased, added up
  started_lives interval;
  looked_up boolean;
  marked boolean;           -- some of them carry an overlap mark
  contended uuid[];         -- those of them whose schedule another call is judging
  started json;
  verdicts json := '[]';
begin
  -- The mutex of every job that may start, in id order so that two calls never wait for each other in a ring.
  with lease as (
    insert into sweephand.leases (id, token, created_at, started_at, until, schedule_id)
    select c.id, $2, c.created_at, moment, moment + c.lease * interval '1 ms', c.schedule_id
    from (
      select o.id, o.created_at, o.bytes, coalesce((lease_ms ->> o.type)::bigint, 1000) as lease,
             case when o.skip_overlap then o.schedule_id end as schedule_id,
             sum(o.bytes) over (order by w.n) as filled
      from unnest(ids) with ordinality as w(id, n)
      join sweephand.open o on o.id = w.id
      where o.run_at <= moment and (o.expires_at <= moment or (o.crashes < 2 or exclusive) and lease_ms ? o.type)
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
             greatest(0, extract(epoch from moment - o.run_at) * 1000)::bigint, j.payload) order by w.n), '[]'),
           bool_or(o.skip_overlap and o.attempt = 0)
    into entered, started_lives, started, marked
    from unnest(ids) with ordinality as w(id, n)
    join sweephand.open o on o.id = w.id and o.run_at <= moment and (o.crashes < 2 or exclusive)
      and (o.expires_at > moment or o.expires_at is null)
    join sweephand.jobs j on j.id = w.id
    where not looked_up
      or exists (select from sweephand.leases l where l.id = w.id and l.token = $2 and l.created_at = o.created_at);
    if marked and contended is null then
      contended := sweephand.skip_overlaps(ids, $2);
      looked_up := true;
      continue;
    end if;
    exit when looked_up or (entered = taken and started_lives is not distinct from lives);
    looked_up := true;
  end loop;

  if taken < cardinality(ids) or entered < cardinality(ids) then
    perform sweephand.expire(ids, $2);
    perform sweephand.release(idle.ids, array_fill($2, array[cardinality(idle.ids)])) from (
      select array_agg(l.id order by l.id) as ids from sweephand.leases l
      where l.id = any (lease.ids) and l.token = $2 and not exists (
        select from sweephand.open o
        where o.id = l.id and o.created_at = l.created_at and o.run_at <= moment and (o.crashes < 2 or exclusive))
    ) idle where idle.ids is not null;  -- finished, tried or deleted while the insert waited
    perform sweephand.drop_orphans(ids);
    select coalesce(json_agg(json_build_array(w.id, case
             when l.token = $2 then 'already'
             when l.id is not null then 'leased'
             when o.id is null then case when exists (select from sweephand.finished f where f.id = w.id)
                                    then 'final' else 'unknown' end
             when o.run_at > moment or o.token = $2 or not lease_ms ? o.type then 'early'
             when o.crashes >= 2 and not exclusive then 'exclusive'
             when w.id = any (contended) then 'busy'
             else 'deferred' end, case
             when w.id = any (contended) then 1000
             when l.id is not null then sweephand.ms_until(l.until)
             when not lease_ms ? o.type then 60000
             when o.id is not null then greatest(sweephand.ms_until(o.run_at), (o.token = $2)::int * 1000)
             end) order by w.n), '[]')
    into verdicts
    from unnest(ids) with ordinality as w(id, n)
    left join sweephand.open o on o.id = w.id
    left join sweephand.leases l on l.id = o.id and l.created_at = o.created_at
    where l.token is distinct from $2 or l.started_at < moment;
  end if;
  return json_build_object('started', started, 'verdicts', verdicts);
end $$;

-- Takes [{id, token, "to": completed | failed | pending | released | lost, result, reason, kind, error, delay_ms}]:
-- what became of each start; and {token: [id]} of other starts whose handlers have been entered.
--   kind, error  of the attempt, where it has an error       reason    why a failed job failed
--   result       of a completed job                          delay_ms  until a pending job's next attempt is due
-- A released start was never entered: its lease ends and it counts nothing. A lost start was ended with its function:
-- it counts as a crash at once.
-- Answers {verdicts: [[id, verdict, wait_ms]]} of those that this call did not simply finish. The verdicts:
--   settled  the job is pending, due after wait_ms; or an earlier call had settled this start
--   lost     the lease is no longer this token's, or its job is gone: nothing was changed
--   busy     another transaction holds the job: nothing was changed, settle it again
-- Asked again it answers the same. Raises what the tables refuse, and then settles none.
create function public.sweephand_settle_v1(outcomes jsonb, entered jsonb default null) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
  moment timestamptz := sweephand.clock();
  asked uuid[];
  part record;
begin
  if entered is not null then
    perform sweephand.note_entered(entered);
  end if;
  if outcomes @> '[{"to": "lost"}]' then
    with gone as (
      update sweephand.leases l
      set entered = true, started_at = least(l.started_at, moment - interval '2 us'), until = moment - interval '1 us'
      from jsonb_to_recordset(outcomes) as o(id uuid, token uuid, "to" text)
      where o."to" = 'lost' and l.id = o.id and l.token = o.token
      returning l.id)
    select array_agg(g.id) into asked from gone g;
    perform sweephand.rescue_expired_leases(asked);
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
    return jsonb_build_object('verdicts', part.verdicts);
  end if;

  -- Some leases were not there to settle: see, in a new snapshot, whether these tokens had settled them before, whether
  -- they are held, or whether their jobs are gone.
  perform sweephand.drop_orphans(array(
    select (e ->> 'id')::uuid from jsonb_array_elements(outcomes) as a(e)
    where (e ->> 'id')::uuid <> all (part.settled)));
  return jsonb_build_object('verdicts', part.verdicts || (
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
-- lives. Answers the ids that it settled, and the verdicts on those of them that are pending now. Waits for locks.
-- Raises SH001 where another call has ended a lease meanwhile.
create function sweephand.settle(outcomes jsonb, "only" uuid[], out settled uuid[], out verdicts jsonb)
language plpgsql as $$
declare
  moment timestamptz := sweephand.clock();
  final sweephand.ending[];
  pending sweephand.ending[];
  unrun uuid[];
  tokens uuid[];
begin
  select array_agg(e.ending) filter (where e."to" in ('completed', 'failed')),
         array_agg(e.ending) filter (where e."to" = 'pending'),
         array_agg(e.id) filter (where e."to" = 'released'), array_agg(e.token) filter (where e."to" = 'released')
  into final, pending, unrun, tokens
  from (
    select o.id, o.token, o."to", row(
             o.id, l.created_at, o.token, o."to", 1, 0, 0, l.started_at,
             moment + coalesce(o.delay_ms, 0) * interval '1 ms', o.token, o.reason, o.result, o.kind, o.error
           )::sweephand.ending as ending
    from jsonb_to_recordset(outcomes) as o(
      id uuid, token uuid, "to" text, result jsonb, reason text, kind text, error text, delay_ms bigint)
    join sweephand.leases l on l.id = o.id and l.token = o.token
    where "only" is null or o.id = any ("only")
    order by o.id) e;
  settled := '{}';
  verdicts := '[]';
  if pending is not null then
    settled := sweephand.retry(pending);
    verdicts := (
      select coalesce(jsonb_agg(jsonb_build_array(e.id, 'settled', sweephand.ms_until(e.run_at))), '[]')
      from unnest(pending) as e where e.id = any (settled));
  end if;
  if final is not null then
    settled := settled || sweephand.finish(final);
  end if;
  if unrun is not null then
    unrun := sweephand.release(unrun, tokens);
    settled := settled || unrun;
    verdicts := verdicts || (
      select coalesce(jsonb_agg(jsonb_build_array(u.id, 'settled', 0)), '[]') from unnest(unrun) as u(id));
  end if;
end $$;

call sweephand.seal();
