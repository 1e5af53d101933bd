-- What the HTTP functions call: create, get, list, cancel, health.
-- Each answers with one jsonb. Times go out in UTC with Z and milliseconds.
-- What joins tables is planned anew for each call, as 20261124000004_sweephand_tick.sql says.

-- The small functions of the schema sweephand have no search_path of their own, as PostgreSQL would not inline them
-- then: a list would take seven times as long. They name what they use by its schema, and who calls them has one.
create function sweephand.to_rfc3339(at timestamptz) returns text language sql stable as $$
  select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

create function sweephand.ms_until(at timestamptz) returns bigint language sql stable as $$
  select case when at is not null then greatest(0, ceil(extract(epoch from at - now()) * 1000))::bigint end
$$;

-- Like ms_until, but negative for what is past.
create function sweephand.ms_from_now(at timestamptz) returns bigint language sql stable as $$
  select ceil(extract(epoch from at - now()) * 1000)::bigint
$$;

-- Every job with where it stands. A lapsed lease counts as in progress until a tick has found it.
create view sweephand.job_state with (security_invoker = true) as
select j.id, j.type, j.payload, j.priority, j.max_retries, j.scheduled_at, j.expires_at, j.created_at,
       coalesce(f.status, case when l.id is not null then 'in_progress' else 'pending' end) as status,
       coalesce(f.attempt, o.attempt + (l.id is not null)::int, 0)::int as attempt,
       coalesce(f.crashes, o.crashes, 0)::int as crashes,
       coalesce(f.run_at, o.run_at, j.run_at) as run_at,
       coalesce(f.started_at, l.started_at) as started_at,
       f.finished_at, f.reason, f.result
from sweephand.jobs j
left join sweephand.open o on o.id = j.id
left join sweephand.leases l on l.id = o.id and l.created_at = o.created_at
left join sweephand.finished f on f.id = j.id;

-- A job as a list shows it: without payload, result and errors.
create function sweephand.job_summary(s sweephand.job_state) returns jsonb language sql stable as $$
  select jsonb_build_object(
    'id', s.id, 'type', s.type, 'status', s.status, 'priority', s.priority, 'max_retries', s.max_retries,
    'attempt', s.attempt, 'crashes', s.crashes, 'scheduled_at', sweephand.to_rfc3339(s.scheduled_at),
    'run_at', sweephand.to_rfc3339(s.run_at), 'expires_at', sweephand.to_rfc3339(s.expires_at),
    'created_at', sweephand.to_rfc3339(s.created_at), 'started_at', sweephand.to_rfc3339(s.started_at),
    'finished_at', sweephand.to_rfc3339(s.finished_at), 'reason', s.reason)
$$;

-- The first 20 and the last 20 errors of a job, oldest first.
create function sweephand.job_errors(job uuid) returns jsonb language sql stable as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'attempt', attempt, 'at', sweephand.to_rfc3339(at), 'kind', kind, 'error', error) order by attempt), '[]')
  from (select *, row_number() over (order by attempt) as n, count(*) over () as total
        from sweephand.errors where id = job) e
  where n <= 20 or n > total - 20
$$;

-- The whole job.
create function sweephand.job_full(s sweephand.job_state) returns jsonb language sql stable as $$
  select sweephand.job_summary(s) || jsonb_build_object(
    'payload', s.payload, 'result', s.result, 'errors', sweephand.job_errors(s.id))
$$;

-- Jobs that are there, as create answers them.
create function sweephand.render_jobs(ids uuid[], summary boolean) returns jsonb language plpgsql stable set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  return (
    select coalesce(jsonb_agg(
             case when summary then sweephand.job_summary(s) else sweephand.job_full(s) end
             || jsonb_build_object('wait_ms', sweephand.ms_until(s.run_at)) order by u.n), '[]')
    from unnest(ids) with ordinality as u(id, n) join sweephand.job_state s on s.id = u.id);
end $$;

-- Takes [{id, type, payload, priority?, max_retries?, scheduled_at?, expires_at?}]; where the caller named an
-- idempotency key, its owner, the key and a hash of the request; and whether whole jobs are asked for, or cards.
-- Answers {outcome: created | replayed | mismatch, installation, created_at, jobs, asked_ms: how long ago a tick last
-- asked for work, null for never}. Where all are new, jobs is null and
-- created_at is theirs, in microseconds since 1970; else it is [job + wait_ms] in the order given.
-- A job whose id is there already is left as it is: asking again after a lost answer is safe.
create function public.sweephand_create_v1(
  jobs jsonb, owner text default null, key text default null, request text default null, summary boolean default false
) returns jsonb language plpgsql security definer set search_path = '' as $$
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
    on conflict (owner, key) do update set request = excluded.request, ids = excluded.ids, created_at = now()
      where i.created_at < now() - interval '24 hours' or (i.request = excluded.request and i.ids = excluded.ids)
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
             coalesce(j.scheduled_at, now()), j.expires_at
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
    'created_at', (extract(epoch from now()) * 1000000)::bigint, 'jobs', answer,
    'asked_ms', (select -sweephand.ms_from_now(t.at) from sweephand.ticks t));
end $$;

-- Answers the whole job, or null.
create function public.sweephand_get_v1(id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select sweephand.job_full(s) from sweephand.job_state s where s.id = $1
$$;

-- The types that have jobs, by hopping over the index from one to the next.
create function sweephand.types_of_jobs() returns setof text
language sql stable set search_path = '' set enable_seqscan = off as $$
  with recursive hop as (
    (select j.type from sweephand.jobs j order by j.type limit 1)
    union all
    select (select j.type from sweephand.jobs j where j.type > hop.type order by j.type limit 1)
    from hop where hop.type is not null)
  select type from hop where type is not null
$$;

-- Answers {jobs: [card + position]}, latest created first, after the position (`at`, `id`) when one is given.
-- `position` is created_at in microseconds since 1970: exact where the card shows milliseconds.
-- Each type is read along an index of its own and the streams are merged, so the cost is that of the page.
create function public.sweephand_list_v1(
  status text default null, type text default null, max_rows integer default 50,
  at bigint default null, id uuid default null
) returns jsonb language plpgsql stable security definer set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
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

-- Deletes leases of these ids whose job is gone: they count for no other job under the id.
-- What has no row in open of the lease's created_at never gets one again, so a plain read is enough.
create function sweephand.drop_orphans(ids uuid[]) returns void language plpgsql set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  delete from sweephand.leases l
  where l.id = any (array(
    select x.id from sweephand.leases x
    where x.id = any (ids)
      and not exists (select from sweephand.open o where o.id = x.id and o.created_at = x.created_at)
    order by x.id for update skip locked))
    and not exists (select from sweephand.open o where o.id = l.id and o.created_at = l.created_at);
end $$;

-- Answers {cancelled: boolean, job: whole job}, or null for an unknown id.
-- A cancel takes the job's mutex as a start does, by inserting its lease: one of the two wins.
create function public.sweephand_cancel_v1(id uuid) returns jsonb
language plpgsql security definer set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  perform from sweephand.open o where o.id = $1 for update;
  if found then
    perform sweephand.drop_orphans(array[$1]);
    insert into sweephand.leases (id, token, created_at, started_at, until)
    select o.id, gen_random_uuid(), o.created_at, now(), now() + interval '1 second'
    from sweephand.open o where o.id = $1
    on conflict on constraint leases_pkey do nothing;
    if found then
      with gone as (delete from sweephand.open o where o.id = $1 returning *)
      insert into sweephand.finished (id, type, status, created_at, run_at, attempt, crashes, lost, token)
      select g.id, g.type, 'cancelled', g.created_at, g.run_at, g.attempt, g.crashes, g.lost, g.token from gone g;
      delete from sweephand.leases l where l.id = $1;
    end if;
  end if;
  return (select jsonb_build_object('cancelled', s.status = 'cancelled', 'job', sweephand.job_full(s))
          from sweephand.job_state s where s.id = $1);
end $$;

-- Answers {schema: the newest function version the caller may rely on, now}.
create function public.sweephand_health_v1() returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('schema', 1, 'installation', (select i.id from sweephand.installation i),
                            'now', sweephand.to_rfc3339(now()))
$$;

revoke all on all functions in schema sweephand from public, anon, authenticated;
revoke all on function
  public.sweephand_create_v1(jsonb, text, text, text, boolean), public.sweephand_get_v1(uuid),
  public.sweephand_list_v1(text, text, integer, bigint, uuid), public.sweephand_cancel_v1(uuid),
  public.sweephand_health_v1()
from public, anon, authenticated;
grant execute on function
  public.sweephand_create_v1(jsonb, text, text, text, boolean), public.sweephand_get_v1(uuid),
  public.sweephand_list_v1(text, text, integer, bigint, uuid), public.sweephand_cancel_v1(uuid),
  public.sweephand_health_v1()
to service_role;
