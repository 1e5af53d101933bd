-- How a job comes in, by an INSERT into sweephand.jobs, whoever makes it; and what the HTTP functions call: create,
-- get, list, cancel, health. Each of these answers with one jsonb. Times go out in UTC with Z and milliseconds.

-- Fills what only the record decides. What the caller put into these columns does not count.
-- Refuses what jsonb holds and the readers of JSON do not: a tick that cannot read one payload of a batch could start
-- none of it. A payload of less than 1,000 bytes is too small for either.
create function sweephand.fill_job() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.created_at := sweephand.clock();
  new.scheduled_at := coalesce(new.scheduled_at, new.created_at);
  new.run_at := greatest(new.scheduled_at, new.created_at);
  new.bytes := octet_length(new.payload::text);
  if new.bytes >= 1000 and (
    jsonb_path_exists(new.payload, 'strict $.**{64}')
    or jsonb_path_exists(new.payload, 'strict $.** ? (@.type() == "number" && (@ >= 1.8e308 || @ <= -1.8e308))')
  ) then
    raise exception 'a payload has at most 64 levels, and no number beyond a double''s range'
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger fill before insert on sweephand.jobs for each row execute function sweephand.fill_job();

-- Opens what was inserted, a statement at a time: cheap for one job, cheaper for a thousand.
create function sweephand.open_jobs() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into sweephand.open
    (id, type, priority, run_at, created_at, expires_at, max_retries, bytes, schedule_id, skip_overlap)
  select id, type, priority, run_at, created_at, expires_at, max_retries, bytes, schedule_id, skip_overlap from inserted;
  return null;
end $$;
create trigger open after insert on sweephand.jobs referencing new table as inserted
  for each statement execute function sweephand.open_jobs();

create function sweephand.refuse_update() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception 'a job''s row is never changed: cancel the job and insert another'
    using errcode = 'object_not_in_prerequisite_state';
end $$;
create trigger immutable before update on sweephand.jobs for each statement execute function sweephand.refuse_update();

-- Deleting a row of `jobs` deletes all of the job. Foreign keys would do the same, and cost each insert a lookup and a
-- lock.
create function sweephand.forget_jobs() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  gone uuid[] := (select array_agg(d.id order by d.id) from deleted d);  -- the lock order: open rows by id, then leases
begin
  if gone is not null then
    delete from sweephand.open x where x.id = any (gone);
    delete from sweephand.leases x where x.id = any (gone);
    delete from sweephand.finished x where x.id = any (gone);
    delete from sweephand.errors x where x.id = any (gone);
    delete from sweephand.aside x where x.id = any (gone);
  end if;
  return null;
end $$;
create trigger forget after delete on sweephand.jobs referencing old table as deleted
  for each statement execute function sweephand.forget_jobs();

create function sweephand.forget_all() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  t text;
begin
  foreach t in array array['open', 'leases', 'finished', 'errors', 'aside'] loop
    begin
      execute format('truncate sweephand.%I', t);
    exception when object_in_use then  -- the same statement truncates it too
      execute format('delete from sweephand.%I', t);
    end;
  end loop;
  return null;
end $$;
create trigger forget_all before truncate on sweephand.jobs
  for each statement execute function sweephand.forget_all();

-- Inserts a job in the caller's own transaction and returns its id. Without `run_at` the job is due at once.
-- Raises check_violation for a value that the table refuses.
-- A role that may do nothing else here can be let in:
--   grant usage on schema sweephand to app; grant execute on function sweephand.enqueue to app;
-- Such a role reads no table, and neither chooses an id nor changes or cancels a job, its own included.
create function sweephand.enqueue(
  type text,
  payload jsonb default '{}',
  run_at timestamptz default null,
  priority integer default 0,
  max_retries integer default 3,
  expires_at timestamptz default null
) returns uuid language sql security definer set search_path = pg_catalog, pg_temp as $$
  insert into sweephand.jobs (type, payload, scheduled_at, priority, max_retries, expires_at)
  values ($1, $2, $3, $4, $5, $6) returning id
$$;

-- A function of the schema sweephand that only ours call has no search_path of its own. It runs under its caller's, and
-- PostgreSQL inlines the small ones: with a search_path, which prevents that, a list would take seven times as long.

-- A time in UTC, with milliseconds and Z.
create function sweephand.to_rfc3339(at timestamptz) returns text language sql stable as $$
  select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- Milliseconds until a time: 0 for what is past, null for null.
create function sweephand.ms_until(at timestamptz) returns bigint language sql stable as $$
  select case when at is not null then greatest(0, ceil(extract(epoch from at - sweephand.clock()) * 1000))::bigint end
$$;

-- Like ms_until, but negative for what is past.
create function sweephand.ms_from_now(at timestamptz) returns bigint language sql stable as $$
  select ceil(extract(epoch from at - sweephand.clock()) * 1000)::bigint
$$;

-- Every job with where it stands. A lapsed lease counts as in progress until a tick has found it.
create view sweephand.job_state with (security_invoker = true) as
select j.id, j.type, j.payload, j.priority, j.max_retries, j.scheduled_at, j.expires_at, j.created_at,
       coalesce(f.status, case when l.id is not null then 'in_progress' else 'pending' end) as status,
       coalesce(f.attempt, o.attempt + (l.id is not null)::int, 0)::int as attempt,
       coalesce(f.crashes, o.crashes, 0)::int as crashes,
       coalesce(f.run_at, o.run_at, j.run_at) as run_at,
       coalesce(f.started_at, l.started_at) as started_at,
       f.finished_at, f.reason, f.result, j.schedule, j.fire_at
from sweephand.jobs j
left join sweephand.open o on o.id = j.id
left join sweephand.leases l on l.id = o.id and l.created_at = o.created_at
left join sweephand.finished f on f.id = j.id;

-- A job as a list shows it: without payload, result and errors.
-- Python renders a new job by itself (domain/request.py); a test holds the two together.
create function sweephand.job_summary(s sweephand.job_state) returns jsonb language sql stable as $$
  select jsonb_build_object(
    'id', s.id, 'type', s.type, 'status', s.status, 'priority', s.priority, 'max_retries', s.max_retries,
    'attempt', s.attempt, 'crashes', s.crashes, 'scheduled_at', sweephand.to_rfc3339(s.scheduled_at),
    'run_at', sweephand.to_rfc3339(s.run_at), 'expires_at', sweephand.to_rfc3339(s.expires_at),
    'created_at', sweephand.to_rfc3339(s.created_at), 'started_at', sweephand.to_rfc3339(s.started_at),
    'finished_at', sweephand.to_rfc3339(s.finished_at), 'reason', s.reason,
    'schedule', s.schedule, 'fire_at', sweephand.to_rfc3339(s.fire_at))
$$;

-- The first 20 and the last 20 errors of a job, oldest first.
create function sweephand.job_errors(job uuid) returns jsonb language sql stable as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'attempt', attempt, 'at', sweephand.to_rfc3339(at), 'kind', kind, 'error', error) order by attempt), '[]')
  from (select *, row_number() over (order by attempt) as n, count(*) over () as total
        from sweephand.errors where id = job) e
  where n <= 20 or n > total - 20
$$;

-- A job in full.
create function sweephand.job_full(s sweephand.job_state) returns jsonb language sql stable as $$
  select sweephand.job_summary(s) || jsonb_build_object(
    'payload', s.payload, 'result', s.result, 'errors', sweephand.job_errors(s.id))
$$;

-- Jobs that are there, as create answers them.
create function sweephand.render_jobs(ids uuid[], summary boolean) returns jsonb language plpgsql stable as $$
begin
  return (
    select coalesce(jsonb_agg(
             case when summary then sweephand.job_summary(s) else sweephand.job_full(s) end
             || jsonb_build_object('wait_ms', sweephand.ms_until(s.run_at)) order by u.n), '[]')
    from unnest(ids) with ordinality as u(id, n) join sweephand.job_state s on s.id = u.id);
end $$;

-- Takes [{id, type, payload, priority?, max_retries?, scheduled_at?, expires_at?}]; where the caller named an
-- idempotency key, its owner, the key and a hash of the request; and whether to answer with summaries, or in full.
-- Answers {outcome: created | replayed | mismatch, installation, created_at, jobs, asked_ms: how long ago a tick last
-- asked for work, null for never}. Where all are new, jobs is null and
-- created_at is theirs, in microseconds since 1970; else it is [job + wait_ms] in the order given.
-- A job whose id is there already is left as it is: asking again after a lost answer is safe.
create function public.sweephand_create_v1(
  jobs jsonb, owner text default null, key text default null, request text default null, summary boolean default false
) returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  made uuid[];
  seen sweephand.idempotency;
  outcome text := 'created';
  fresh bigint := 0;
  answer jsonb;
begin
  select array_agg((j ->> 'id')::uuid order by n) into made
  from jsonb_array_elements(jobs) with ordinality as a(j, n);

  if sweephand_create_v1.key is not null then
    insert into sweephand.idempotency as i (owner, key, request, ids)
    values (sweephand_create_v1.owner, sweephand_create_v1.key, sweephand_create_v1.request, made)
    on conflict (owner, key) do update
      set request = excluded.request, ids = excluded.ids, created_at = sweephand.clock()
      where i.created_at < sweephand.clock() - interval '24 hours'
        or (i.request = excluded.request and i.ids = excluded.ids)
    returning * into seen;
    if seen is null then
      select * into seen from sweephand.idempotency i
      where i.owner = sweephand_create_v1.owner and i.key = sweephand_create_v1.key;
      if not found then  -- a tick has just forgotten it, as old enough
        return public.sweephand_create_v1(jobs, owner, key, request, summary);
      end if;
      if seen.request <> sweephand_create_v1.request then
        return jsonb_build_object('outcome', 'mismatch');
      end if;
      outcome := 'replayed';
      made := seen.ids;
    end if;
  end if;

  if outcome = 'created' then
    with made as (
      insert into sweephand.jobs (id, type, payload, priority, max_retries, scheduled_at, expires_at)
      select j.id, j.type, coalesce(j.payload, '{}'), coalesce(j.priority, 0), coalesce(j.max_retries, 3),
             coalesce(j.scheduled_at, sweephand.clock()), j.expires_at
      from jsonb_to_recordset(jobs) as j(
        id uuid, type text, payload jsonb, priority smallint, max_retries smallint,
        scheduled_at timestamptz, expires_at timestamptz)
      on conflict (id) do nothing
      returning 1)
    select count(*) into fresh from made;
  end if;
  -- Of a new job the caller knows all but when it was made: rendering a thousand of them took half of the call.
  if fresh < cardinality(made) then
    answer := sweephand.render_jobs(made, summary);
  end if;
  return jsonb_build_object(
    'outcome', outcome, 'installation', (select i.id from sweephand.installation i),
    'created_at', (extract(epoch from sweephand.clock()) * 1000000)::bigint, 'jobs', answer,
    'asked_ms', (select -sweephand.ms_from_now(t.at) from sweephand.ticks t));
end $$;

-- Takes a job's id. Answers the job in full, or null.
create function public.sweephand_get_v1(id uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select sweephand.job_full(s) from sweephand.job_state s where s.id = $1
$$;

-- The types that have jobs, by hopping over the index from one to the next.
create function sweephand.types_of_jobs() returns setof text
language sql stable as $$
  with recursive hop as (
    (select j.type from sweephand.jobs j order by j.type limit 1)
    union all
    select (select j.type from sweephand.jobs j where j.type > hop.type order by j.type limit 1)
    from hop where hop.type is not null)
  select type from hop where type is not null
$$;

-- Takes a status and a type, each null for all, and how many jobs to list.
-- Answers {jobs: [summary + position]}, latest created first, after the position (`at`, `id`) when one is given.
-- `position` is created_at in microseconds since 1970: exact where the summary shows milliseconds.
-- Each type is read along an index of its own and the streams are merged, so the cost is that of the page.
create function public.sweephand_list_v1(
  status text default null, type text default null, max_rows integer default 50,
  at bigint default null, id uuid default null
) returns jsonb language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  before_at timestamptz := case when $4 is null then 'infinity'
                           else 'epoch'::timestamptz + $4 * interval '1 microsecond' end;
  before_id uuid := coalesce($5, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  page uuid[];
begin
  if $1 is null then
    select array_agg(p.id order by p.created_at desc, p.id desc) into page from (
      select j.id, j.created_at
      from (select t from sweephand.types_of_jobs() t where $2 is null or t = $2) known
      cross join lateral (
        select j.id, j.created_at from sweephand.jobs j
        where j.type = known.t and (j.created_at, j.id) < (before_at, before_id)
        order by j.created_at desc, j.id desc limit $3) j
      order by j.created_at desc, j.id desc limit $3) p;
  elsif $1 = 'pending' then
    select array_agg(p.id order by p.created_at desc, p.id desc) into page from (
      select o.id, o.created_at
      from (select t from sweephand.types_of_jobs() t where $2 is null or t = $2) known
      cross join lateral (
        select o.id, o.created_at from sweephand.open o
        where o.type = known.t and (o.created_at, o.id) < (before_at, before_id)
          and not exists (select from sweephand.leases l where l.id = o.id and l.created_at = o.created_at)
        order by o.created_at desc, o.id desc limit $3) o
      order by o.created_at desc, o.id desc limit $3) p;
  elsif $1 = 'in_progress' then
    with running as materialized (  -- they are few; the open jobs that are not running may be millions
      select l.id, l.created_at from sweephand.leases l)
    select array_agg(p.id order by p.created_at desc, p.id desc) into page from (
      select o.id, o.created_at
      from running l join sweephand.open o on o.id = l.id and o.created_at = l.created_at
      where ($2 is null or o.type = $2) and (o.created_at, o.id) < (before_at, before_id)
      order by o.created_at desc, o.id desc limit $3) p;
  else
    select array_agg(p.id order by p.created_at desc, p.id desc) into page from (
      select f.id, f.created_at
      from (select t from sweephand.types_of_jobs() t where $2 is null or t = $2) known
      cross join lateral (
        select f.id, f.created_at from sweephand.finished f
        where f.status = $1 and f.type = known.t and (f.created_at, f.id) < (before_at, before_id)
        order by f.created_at desc, f.id desc limit $3) f
      order by f.created_at desc, f.id desc limit $3) p;
  end if;
  return jsonb_build_object('jobs', (
    select coalesce(jsonb_agg(sweephand.job_summary(s) || jsonb_build_object(
             'position', (extract(epoch from s.created_at) * 1000000)::bigint) order by u.n), '[]')
    from unnest(page) with ordinality as u(id, n) join sweephand.job_state s on s.id = u.id));
end $$;

-- What moves a job from one state to another: finish, retry, release; and, built on them, expire, and rescue, which the
-- next migration has. Who calls finish or retry holds the job's mutex, the lease whose token `ending` names.

-- What becomes of a job when a lease on it ends.
create type sweephand.ending as (
  id         uuid,
  created_at timestamptz,  -- the job's life: created_at of its row in open
  lease      uuid,         -- the token of the lease that ends
  status     text,         -- completed, failed or cancelled for finish, pending for retry
  attempts   smallint,     -- starts that end with it: 1, or 0 where none began
  crashes    smallint,     -- of those, the ones that were lost with their function
  lost       smallint,     -- of those, the ones that were lost and not known to have been entered
  started_at timestamptz,
  run_at     timestamptz,  -- for retry: when the job is due again, null: as it was
  token      uuid,         -- of the start that was settled last
  reason     text,         -- of a failed job
  result     jsonb,        -- of a completed job
  kind       text,         -- of the attempt's error; null: it has none
  error      text
);
revoke all on type sweephand.ending from public;

-- Ends jobs and their leases. What an ending says is written for the row that was deleted, and for no other: a job that
-- is not open, or is another life, is left alone. Answers the ids of those that it ended.
-- Raises SH001 where another call has ended a lease meanwhile.
create function sweephand.finish(endings sweephand.ending[], out finished uuid[]) language plpgsql as $$
declare
  leases bigint;
begin
  with gone as (
    delete from sweephand.open o using unnest(endings) as e
    where o.id = e.id and o.created_at = e.created_at
    returning o.id, o.type, o.created_at, o.run_at, o.attempt + e.attempts as attempt, o.crashes + e.crashes as crashes,
              o.lost + e.lost as lost, e.status, e.started_at, e.lease, e.token, e.reason, e.result, e.kind, e.error)
  , ended as (
    delete from sweephand.leases l using gone g where l.id = g.id and l.token = g.lease returning 1)
  , noted as (
    insert into sweephand.errors as e (id, attempt, kind, error)
    select g.id, g.attempt, g.kind, g.error from gone g where g.kind is not null
    on conflict (id, attempt) do update set at = excluded.at, kind = excluded.kind, error = excluded.error)
  , kept as (
    insert into sweephand.finished
      (id, type, status, created_at, run_at, started_at, attempt, crashes, lost, token, reason, result)
    select g.id, g.type, g.status, g.created_at, g.run_at, g.started_at, g.attempt, g.crashes, g.lost, g.token,
           g.reason, g.result
    from gone g returning id)
  select coalesce(array_agg(k.id), '{}'), (select count(*) from ended) into finished, leases from kept k;
  if leases <> cardinality(finished) then
    raise exception 'a lease was ended meanwhile' using errcode = 'SH001';
  end if;
end $$;

-- Makes jobs pending again, for a further attempt, and ends their leases. Answers and raises as finish does.
create function sweephand.retry(endings sweephand.ending[], out retried uuid[]) language plpgsql as $$
declare
  leases bigint;
begin
  with again as (
    update sweephand.open o
    set attempt = o.attempt + e.attempts, crashes = o.crashes + e.crashes, lost = o.lost + e.lost, token = e.token,
        run_at = coalesce(e.run_at, o.run_at)
    from unnest(endings) as e where o.id = e.id and o.created_at = e.created_at
    returning o.id, o.attempt, e.lease, e.kind, e.error)
  , ended as (
    delete from sweephand.leases l using again a where l.id = a.id and l.token = a.lease returning 1)
  , noted as (
    insert into sweephand.errors as e (id, attempt, kind, error)
    select a.id, a.attempt, a.kind, a.error from again a where a.kind is not null
    on conflict (id, attempt) do update set at = excluded.at, kind = excluded.kind, error = excluded.error)
  select coalesce(array_agg(a.id), '{}'), (select count(*) from ended) into retried, leases from again a;
  if leases <> cardinality(retried) then
    raise exception 'a lease was ended meanwhile' using errcode = 'SH001';
  end if;
end $$;

-- Gives leases back whose jobs were not run: nothing is counted, and the rows in open stay as they are.
-- Answers the ids of those that it gave back.
create function sweephand.release(ids uuid[], tokens uuid[], out released uuid[]) language plpgsql as $$
begin
  with gone as (
    delete from sweephand.leases l using unnest(ids, tokens) as w(id, token)
    where l.id = w.id and l.token = w.token
    returning l.id)
  select coalesce(array_agg(g.id), '{}') into released from gone g;
end $$;

-- Takes the mutex of open jobs that the caller does not mean to start. Who calls it has locked their rows in open.
-- Answers the ids of those that it got; the others are running, or a start is under way.
create function sweephand.hold(ids uuid[], token uuid, out held uuid[]) language plpgsql as $$
begin
  with lease as (
    insert into sweephand.leases (id, token, created_at, started_at, until)
    select o.id, $2, o.created_at, sweephand.clock(), sweephand.clock() + interval '1 second'
    from sweephand.open o where o.id = any (ids)
    order by o.id
    on conflict on constraint leases_pkey do nothing
    returning leases.id)
  select coalesce(array_agg(l.id), '{}') into held from lease l;
end $$;

-- Deletes leases of these ids whose job is gone: they count for no other job under the id.
-- What has no row in open of the lease's created_at never gets one again, so a plain read is enough.
create function sweephand.drop_orphans(ids uuid[]) returns void language plpgsql as $$
begin
  delete from sweephand.leases l
  where l.id = any (array(
    select x.id from sweephand.leases x
    where x.id = any (ids)
      and not exists (select from sweephand.open o where o.id = x.id and o.created_at = x.created_at)
    order by x.id for update skip locked))
    and not exists (select from sweephand.open o where o.id = l.id and o.created_at = l.created_at);
end $$;

-- Takes a job's id. Answers {cancelled: boolean, job: the job in full}, or null for an unknown id.
-- A cancel takes the job's mutex as a start does, by inserting its lease: one of the two wins.
create function public.sweephand_cancel_v1(id uuid) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  mine uuid := gen_random_uuid();
begin
  perform from sweephand.open o where o.id = $1 for update;
  if found then
    perform sweephand.drop_orphans(array[$1]);
    if cardinality(sweephand.hold(array[$1], mine)) > 0 then
      perform sweephand.finish(array(
        select row(o.id, o.created_at, mine, 'cancelled', 0, 0, 0, null, null, o.token, null, null, null, null
                   )::sweephand.ending
        from sweephand.open o where o.id = $1));
    end if;
  end if;
  return (select jsonb_build_object('cancelled', s.status = 'cancelled', 'job', sweephand.job_full(s))
          from sweephand.job_state s where s.id = $1);
end $$;

-- Answers {schema: the newest function version that a caller may rely on, installation, now: the record's clock}.
create function public.sweephand_health_v1() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('schema', 1, 'installation', (select i.id from sweephand.installation i),
                            'now', sweephand.to_rfc3339(sweephand.clock()))
$$;

call sweephand.seal();
