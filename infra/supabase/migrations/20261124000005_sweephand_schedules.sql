-- Schedules: what makes jobs again and again. Python computes the instants (domain/fires.py); here is what a schedule is,
-- how far it has come, and that each of its fires makes exactly one job.
--
-- A plain insert needs a name, cron or every, and a job; an update or a delete works like the API's: triggers do for all
-- of them what a change asks for. The next tick judges what they wrote: it gives the schedule its first fire, or says in
-- `invalid` what is wrong with it.
--
-- Lock order: rows of `schedules` by id, then those of `open` and `leases`. Who holds rows of these two and needs a
-- schedule, as a start does, never waits for it.

create table sweephand.schedules (
  id            uuid primary key default gen_random_uuid(),
  owner         text not null default '',
  name          text not null check (name ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  cron          text,
  every         text,                               -- an ISO 8601 duration, as are misfire_age and jitter
  timezone      text not null default 'UTC',
  job           jsonb not null check (jsonb_typeof(job) = 'object'),  -- type, payload, priority, max_retries, expires_after
  misfire       text not null default 'once' check (misfire in ('skip', 'once', 'all')),
  misfire_limit integer not null default 100 check (misfire_limit between 1 and 1000),
  misfire_age   text not null default 'P7D',
  overlap       text not null default 'skip' check (overlap in ('skip', 'allow')),
  jitter        text not null default 'PT0S',
  start_at      timestamptz check (start_at >= '0001-01-01 00:00:00+00' and start_at < '10000-01-01 00:00:00+00'),
  end_at        timestamptz check (end_at >= '0001-01-01 00:00:00+00' and end_at < '10000-01-01 00:00:00+00'),
  paused        boolean not null default false,
  source        text,                               -- the list whose `apply` made it
  -- What follows is filled by the record.
  revision      integer not null,                   -- counts the changes of what stands above, but source
  created_at    timestamptz not null,
  updated_at    timestamptz not null,
  cursor        timestamptz not null,               -- every fire up to here has been decided
  next_fire     timestamptz,                        -- the first that has not; null: not known, or none
  look_at       timestamptz,                        -- when next_fire can become a job; null: never
  invalid       text,                               -- why it makes no jobs
  last_fire     timestamptz,                        -- the latest that became a job
  made          bigint not null default 0,          -- jobs, by fires
  skipped       jsonb not null default '{}',        -- {reason: fires that made no job, or whose job was not started}
  unique (owner, name),
  check ((cron is null) <> (every is null))
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
comment on table sweephand.schedules is 'What makes jobs again and again, and how far each has come.';
create index schedules_by_look on sweephand.schedules (look_at, id) where look_at is not null;

create table sweephand.fires (
  schedule_id uuid not null,
  fire_at     timestamptz not null,
  job         uuid not null,
  primary key (schedule_id, fire_at)
);
comment on table sweephand.fires is 'The fires that became jobs, for as long as a backfill may reach, whatever became of the jobs.';

create index jobs_by_schedule on sweephand.jobs (schedule_id, created_at, id) where schedule_id is not null;
create index open_by_schedule on sweephand.open (schedule_id, attempt) where schedule_id is not null;
create index leases_by_schedule on sweephand.leases (schedule_id) where schedule_id is not null;

alter table sweephand.schedules enable row level security;
alter table sweephand.fires enable row level security;
revoke all on sweephand.schedules, sweephand.fires from public, anon, authenticated;

-- How long fires are remembered: backfill reaches 366 days back (MAX_REACH of the use case), and takes its time.
create function sweephand.remember_fires() returns interval language sql immutable as $$ select interval '400 days' $$;

-- Deletes the jobs of a schedule that were made ahead: not due yet, and never started. Takes their mutex as a cancel
-- does, so none of them is under way. Answers the earliest of their fires, null without any, and how many they were.
create function sweephand.delete_ahead(schedule uuid, out earliest timestamptz, out deleted bigint)
language plpgsql as $$
declare
  moment timestamptz := sweephand.clock();
  ahead uuid[] := array(
    select o.id from sweephand.open o
    where o.schedule_id = schedule and o.attempt = 0 and o.run_at > moment order by o.id for update);
begin
  ahead := sweephand.hold(ahead, gen_random_uuid());
  with gone as (
    delete from sweephand.fires f using sweephand.jobs j
    where j.id = any (ahead) and f.schedule_id = j.schedule_id and f.fire_at = j.fire_at and f.job = j.id
    returning f.fire_at)
  select min(g.fire_at), count(*) into earliest, deleted from gone g;
  delete from sweephand.jobs j where j.id = any (ahead);
end $$;

create function sweephand.fill_schedule() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.revision := 1;
  new.created_at := sweephand.clock();
  new.updated_at := new.created_at;
  new.cursor := new.created_at;
  new.next_fire := null;
  new.look_at := case when not new.paused then new.created_at end;
  new.invalid := null;
  new.last_fire := null;
  new.made := 0;
  new.skipped := '{}';
  return new;
end $$;
create trigger fill before insert on sweephand.schedules for each row execute function sweephand.fill_schedule();

-- What another body asks for: jobs made ahead by the old one go, and the cursor goes back to before their fires. It
-- never goes on, so that what was missed is still decided; but who resumes begins anew at once.
create function sweephand.change_schedule() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := sweephand.clock();
  ahead record;
begin
  select * into ahead from sweephand.delete_ahead(old.id);
  new.revision := old.revision + 1;
  new.updated_at := moment;
  new.cursor := case when old.paused then moment
                else least(old.cursor, moment, ahead.earliest - interval '1 microsecond') end;
  new.next_fire := null;
  new.look_at := case when not new.paused then moment end;
  new.invalid := null;
  new.made := old.made - ahead.deleted;
  return new;
end $$;
create trigger change before update on sweephand.schedules for each row
  when ((old.name, old.cron, old.every, old.timezone, old.job::text, old.misfire, old.misfire_limit, old.misfire_age,
         old.overlap, old.jitter, old.start_at, old.end_at, old.paused)
        is distinct from
        (new.name, new.cron, new.every, new.timezone, new.job::text, new.misfire, new.misfire_limit, new.misfire_age,
         new.overlap, new.jitter, new.start_at, new.end_at, new.paused))
  execute function sweephand.change_schedule();

-- A schedule that is deleted leaves the jobs that are due, run, or have ended.
create function sweephand.forget_schedule() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform sweephand.delete_ahead(old.id);
  delete from sweephand.fires f where f.schedule_id = old.id;
  return old;
end $$;
create trigger forget before delete on sweephand.schedules
  for each row execute function sweephand.forget_schedule();

-- Adds two {reason: count}.
create function sweephand.add_counts(a jsonb, b jsonb) returns jsonb language sql immutable as $$
  select coalesce(jsonb_object_agg(c.reason, c.total), '{}')
  from (select x.key as reason, sum(x.value::bigint) as total
        from (select * from jsonb_each_text(a) union all select * from jsonb_each_text(b)) x group by x.key) c
$$;

-- A schedule as it is asked for, with times as JSON has them; without its payload where that is not wanted.
create function sweephand.schedule_body(s sweephand.schedules, payload boolean) returns jsonb language sql stable as $$
  select jsonb_build_object(
    'name', s.name, 'cron', s.cron, 'every', s.every, 'timezone', s.timezone,
    'job', case when payload or jsonb_typeof(s.job -> 'payload') <> 'object' then s.job
           else s.job || '{"payload": {}}' end,
    'misfire', s.misfire, 'misfire_limit', s.misfire_limit, 'misfire_age', s.misfire_age, 'overlap', s.overlap,
    'jitter', s.jitter, 'start_at', s.start_at, 'end_at', s.end_at, 'paused', s.paused)
$$;

-- A schedule, as the functions below answer it. `now` is the record's clock.
create function sweephand.schedule_full(s sweephand.schedules, payload boolean) returns jsonb language sql stable as $$
  select jsonb_build_object(
    'id', s.id, 'body', sweephand.schedule_body(s, payload), 'source', s.source, 'revision', s.revision,
    'created_at', s.created_at, 'updated_at', s.updated_at, 'last_fire', s.last_fire, 'invalid', s.invalid,
    'made', s.made, 'skipped', s.skipped, 'now', sweephand.clock())
$$;

-- What a page tells of schedules that have a fire to make, or a change to judge, at `moment`: {now, due: [{id, revision,
-- cursor, next_fire, bytes: of its template, schedule}]}. At most 100, those that have waited longest; of one that is to be judged it has the
-- payload too, as long as those take less than 4 MB.
create function sweephand.due_schedules(moment timestamptz) returns jsonb language plpgsql stable as $$
begin
  return (
    with due as materialized (
      select s.id, s.look_at,
             sum(case when s.next_fire is null then octet_length(s.job::text) else 0 end)
               over (order by s.look_at, s.id rows unbounded preceding) as bytes
      from (select * from sweephand.schedules x where x.look_at <= moment order by x.look_at, x.id limit 100) s)
    select jsonb_build_object('now', moment, 'due', coalesce(jsonb_agg(jsonb_build_object(
             'id', s.id, 'revision', s.revision, 'cursor', s.cursor, 'next_fire', s.next_fire,
             'bytes', octet_length(s.job::text), 'schedule', sweephand.schedule_body(s, s.next_fire is null)) order by d.look_at, d.id), '[]'))
    from due d join sweephand.schedules s on s.id = d.id
    where d.bytes <= 4194304 or d.id = (select x.id from due x order by x.look_at, x.id limit 1));
end $$;

-- Carries out plans as sweephand_make_fires_v1 takes them. Answers for how many schedules it did.
create function sweephand.make_fires(plans jsonb) returns bigint language plpgsql as $$
declare
  moment timestamptz := sweephand.clock();
  mine uuid[] := array(
    select s.id
    from jsonb_to_recordset(plans) as p(id uuid, revision integer, cursor timestamptz)
    join sweephand.schedules s on s.id = p.id and s.revision = p.revision and s.cursor = p.cursor and not s.paused
    order by s.id for update of s skip locked);
begin
  if cardinality(mine) = 0 then
    return 0;
  end if;
  with plan as materialized (
    select p.* from jsonb_to_recordset(plans) as p(
      id uuid, fires jsonb, skipped jsonb, decided timestamptz, next_fire timestamptz, look_at timestamptz, invalid text)
    where p.id = any (mine))
  , fire as materialized (
    select p.id, (f ->> 0)::timestamptz as fire_at, (f ->> 1)::timestamptz as due_at, (f ->> 2)::timestamptz as expires_at
    from plan p cross join jsonb_array_elements(p.fires) as a(f))
  , fired as (
    insert into sweephand.fires (schedule_id, fire_at, job)
    select f.id, f.fire_at, gen_random_uuid() from fire f order by f.id, f.fire_at
    on conflict (schedule_id, fire_at) do nothing
    returning schedule_id, fire_at, job)
  , created as (
    insert into sweephand.jobs (id, type, payload, priority, max_retries, scheduled_at, expires_at,
                                schedule, schedule_id, fire_at, skip_overlap)
    select d.job, s.job ->> 'type', s.job -> 'payload', coalesce((s.job ->> 'priority')::smallint, 0),
           coalesce((s.job ->> 'max_retries')::smallint, 3), f.due_at, f.expires_at,
           s.name, s.id, d.fire_at, case when s.overlap = 'skip' then true end
    from fired d
    join fire f on f.id = d.schedule_id and f.fire_at = d.fire_at
    join sweephand.schedules s on s.id = d.schedule_id
    returning schedule_id, fire_at)
  , gone as (
    delete from sweephand.fires f using plan p
    where f.schedule_id = p.id and f.fire_at < moment - sweephand.remember_fires() returning 1)
  update sweephand.schedules s
  set cursor = p.decided, next_fire = p.next_fire, invalid = p.invalid,
      look_at = case when p.invalid is null then p.look_at else moment + interval '5 minutes' end,
      last_fire = coalesce(greatest(s.last_fire, c.last_fire), s.last_fire), made = s.made + coalesce(c.made, 0),
      skipped = case when p.skipped = '{}' then s.skipped else sweephand.add_counts(s.skipped, p.skipped) end
  from plan p
  left join (select x.schedule_id, count(*) as made, max(x.fire_at) as last_fire from created x group by x.schedule_id) c
    on c.schedule_id = p.id
  where s.id = p.id;
  return cardinality(mine);
end $$;

-- Takes [{id, revision, cursor: what the caller planned from, fires: [[fire_at, due_at, expires_at]], skipped: {reason:
-- count}, decided: the cursor from now on, next_fire, look_at, invalid}]. Makes a job of each fire that has none, and
-- notes the rest. Does nothing for a schedule whose revision or cursor has changed, that is paused, or that another
-- transaction holds: a later page names it again. `invalid` says why a schedule makes no jobs; it is judged again after
-- five minutes, for another function may take it.
-- A schedule that fails the statement is tried by itself, and its `invalid` becomes the error.
-- Answers {done: of how many schedules it did what the caller planned, or noted why it cannot}.
create function public.sweephand_make_fires_v1(plans jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
  plan jsonb;
  done bigint := 0;
begin
  begin
    return jsonb_build_object('done', sweephand.make_fires(plans));
  exception when others then null;
  end;
  for plan in select a.p from jsonb_array_elements(plans) as a(p) loop
    begin
      done := done + sweephand.make_fires(jsonb_build_array(plan));
    exception
      when lock_not_available or deadlock_detected then null;
      when others then
        update sweephand.schedules s
        set invalid = left(sqlerrm, 500), look_at = sweephand.clock() + interval '5 minutes'
        where s.id = any (array(
          select x.id from sweephand.schedules x
          where x.id = (plan ->> 'id')::uuid and x.revision = (plan ->> 'revision')::integer
          for update skip locked));
        done := done + 1;
    end;
  end loop;
  return jsonb_build_object('done', done);
end $$;

-- What a start asks before it runs jobs with an overlap mark that it has just leased with `token`, for the first time:
-- whether another job of the same schedule runs or waits for a retry. Those of which one does end, cancelled; of two
-- that are leased by this call the first due runs. The schedule's row is the lock. A start whose schedule another call
-- holds at this moment is `contended`: its lease is given back. A schedule that was deleted needs no lock any more: it
-- makes no further job.
create function sweephand.skip_overlaps(ids uuid[], token uuid, out contended uuid[]) language plpgsql as $$
declare
  moment timestamptz := sweephand.clock();
  held uuid[];
  over uuid[];
begin
  held := array(
    select s.id from sweephand.schedules s
    where s.id in (select l.schedule_id from sweephand.leases l
                   where l.id = any (ids) and l.token = $2 and l.schedule_id is not null)
    order by s.id for no key update skip locked);
  with mine as materialized (
    select o.id, o.schedule_id, o.run_at, o.schedule_id = any (held) or not exists (
             select from sweephand.schedules s where s.id = o.schedule_id) as judged
    from sweephand.leases l
    join sweephand.open o on o.id = l.id and o.created_at = l.created_at
    where l.id = any (ids) and l.token = $2 and l.schedule_id is not null and o.attempt = 0 and o.run_at <= moment
      and (o.expires_at > moment or o.expires_at is null))
  , overlapping as (
    select m.id
    from (select x.*, row_number() over (partition by x.schedule_id order by x.run_at, x.id) as turn
          from mine x where x.judged) m
    where m.turn > 1
      or exists (select from sweephand.leases l join sweephand.open o on o.id = l.id and o.created_at = l.created_at
                 where l.schedule_id = m.schedule_id and l.token <> $2)
      or exists (select from sweephand.open o
                 where o.schedule_id = m.schedule_id and o.attempt > 0 and o.skip_overlap and o.id <> m.id))
  select coalesce((select array_agg(m.id) from mine m where not m.judged), '{}'),
         (select array_agg(v.id order by v.id) from overlapping v)
  into contended, over;
  if over is not null then
    update sweephand.schedules s set skipped = sweephand.add_counts(s.skipped, jsonb_build_object('overlap', c.jobs))
    from (select o.schedule_id, count(*) as jobs from sweephand.open o where o.id = any (over)
          group by o.schedule_id) c
    where s.id = c.schedule_id;
    perform sweephand.finish(array(
      select row(o.id, o.created_at, $2, 'cancelled', 0, 0, 0, null, null, o.token,
                 format('overlap: another job of schedule %s was running or waiting for a retry', j.schedule),
                 null, null, null)::sweephand.ending
      from sweephand.open o join sweephand.jobs j on j.id = o.id where o.id = any (over)));
  end if;
  if contended <> '{}' then
    perform sweephand.release(contended, array_fill($2, array[cardinality(contended)]));
  end if;
end $$;

-- Takes a schedule as it is asked for (`paused` left out or null: as it was), whose it is, the list that it stands in,
-- and, where the caller has read the schedule before, its revision then.
-- Answers {outcome: created | replaced | unchanged; or changed, where the revision is another now; or gone, where there
-- is none of that name any more; schedule}.
create function public.sweephand_put_schedule_v1(
  schedule jsonb, owner text default '', source text default null, revision integer default null
) returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  asked sweephand.schedules := jsonb_populate_record(null::sweephand.schedules, schedule);
  old sweephand.schedules;
  new sweephand.schedules;
begin
  select * into old from sweephand.schedules s where s.owner = $2 and s.name = asked.name for update;
  if not found then
    if $4 is not null then
      return jsonb_build_object('outcome', 'gone');
    end if;
    insert into sweephand.schedules as s (
      owner, name, cron, every, timezone, job, misfire, misfire_limit, misfire_age, overlap, jitter, start_at, end_at,
      paused, source)
    values ($2, asked.name, asked.cron, asked.every, asked.timezone, asked.job, asked.misfire, asked.misfire_limit,
            asked.misfire_age, asked.overlap, asked.jitter, asked.start_at, asked.end_at,
            coalesce(asked.paused, false), $3)
    on conflict on constraint schedules_owner_name_key do nothing
    returning * into new;
    if not found then  -- another call has just made it
      return public.sweephand_put_schedule_v1(schedule, owner, source, revision);
    end if;
    return jsonb_build_object('outcome', 'created', 'schedule', sweephand.schedule_full(new, true));
  end if;
  if $4 <> old.revision then
    return jsonb_build_object('outcome', 'changed', 'schedule', sweephand.schedule_full(old, true));
  end if;
  update sweephand.schedules s
  set cron = asked.cron, every = asked.every, timezone = asked.timezone, job = asked.job, misfire = asked.misfire,
      misfire_limit = asked.misfire_limit, misfire_age = asked.misfire_age, overlap = asked.overlap,
      jitter = asked.jitter, start_at = asked.start_at, end_at = asked.end_at,
      paused = coalesce(asked.paused, s.paused), source = coalesce($3, s.source)
  where s.id = old.id returning * into new;
  return jsonb_build_object(
    'outcome', case when new.revision = old.revision then 'unchanged' else 'replaced' end,
    'schedule', sweephand.schedule_full(new, true));
end $$;

-- Answers the schedule, or null.
create function public.sweephand_get_schedule_v1(name text, owner text default '') returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select sweephand.schedule_full(s, true) from sweephand.schedules s where s.owner = $2 and s.name = $1
$$;

-- Answers {schedules: [schedule without its payload]} by name, after a name where one is given, of one list where one is
-- given.
create function public.sweephand_list_schedules_v1(
  owner text default '', after text default '', max_rows integer default 50, source text default null
) returns jsonb language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('schedules', coalesce(
    jsonb_agg(sweephand.schedule_full(s, false) order by s.name collate "C"), '[]'))
  from (select * from sweephand.schedules x
        where x.owner = $1 and x.name collate "C" > $2 and ($4 is null or x.source = $4)
        order by x.name collate "C" limit $3) s
$$;

-- Deletes a schedule, and its jobs that were made ahead. With `cancel` it cancels the others that have not started: at
-- most max_rows in a call, and deletes the schedule only when none is left.
-- Answers {found, cancelled, left: whether to call again}.
create function public.sweephand_delete_schedule_v1(
  name text, owner text default '', cancel boolean default false, max_rows integer default 1000
) returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  one uuid;
  mine uuid := gen_random_uuid();
  waiting uuid[] := '{}';
  ended uuid[] := '{}';
begin
  select s.id into one from sweephand.schedules s where s.owner = $2 and s.name = $1 for update;
  if not found then
    return jsonb_build_object('found', false, 'cancelled', 0, 'left', false);
  end if;
  if cancel then
    update sweephand.schedules s set paused = true where s.id = one;
    waiting := array(
      select o.id from sweephand.open o
      where o.schedule_id = one
        and not exists (select from sweephand.leases l where l.id = o.id and l.created_at = o.created_at)
      order by o.id limit max_rows for update of o);
    perform sweephand.drop_orphans(waiting);
    ended := sweephand.hold(waiting, mine);
    ended := sweephand.finish(array(
      select row(o.id, o.created_at, mine, 'cancelled', 0, 0, 0, null, null, o.token, null, null, null, null)::sweephand.ending
      from sweephand.open o where o.id = any (ended)));
    if cardinality(waiting) = max_rows then
      return jsonb_build_object('found', true, 'cancelled', cardinality(ended), 'left', true);
    end if;
  end if;
  delete from sweephand.schedules s where s.id = one;
  return jsonb_build_object('found', true, 'cancelled', cardinality(ended), 'left', false);
end $$;

-- Makes a job of a schedule now, beside its fires, under the id that the caller chose: asked again, it makes no other.
-- Takes in how many ms the job expires, null for never. Answers {created, installation, asked_ms, job: the job in full +
-- wait_ms}, or null where there is no such schedule.
create function public.sweephand_run_schedule_v1(
  name text, id uuid, owner text default '', expires_ms bigint default null
) returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  created boolean;
begin
  insert into sweephand.jobs (id, type, payload, priority, max_retries, expires_at, schedule, schedule_id, skip_overlap)
  select $2, s.job ->> 'type', s.job -> 'payload', coalesce((s.job ->> 'priority')::smallint, 0),
         coalesce((s.job ->> 'max_retries')::smallint, 3), sweephand.clock() + $4 * interval '1 ms',
         s.name, s.id, case when s.overlap = 'skip' then true end
  from sweephand.schedules s where s.owner = $3 and s.name = $1
  on conflict on constraint jobs_pkey do nothing;
  created := found;
  return (
    select jsonb_build_object(
      'created', created, 'installation', (select i.id from sweephand.installation i),
      'asked_ms', (select -sweephand.ms_from_now(t.at) from sweephand.ticks t),
      'job', sweephand.job_full(s) || jsonb_build_object('wait_ms', sweephand.ms_until(s.run_at)))
    from sweephand.job_state s where s.id = $2 and s.schedule = $1);
end $$;

-- Makes jobs of past fires, [[fire_at, expires_at]], due at once, of a schedule that still has this revision; those that
-- were made before are left as they are. They carry no overlap mark: they run side by side, and skip no later fire.
-- Answers {made: how many}, or null where the schedule has changed.
create function public.sweephand_backfill_v1(id uuid, revision integer, fires jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  one sweephand.schedules;
  filled bigint;
begin
  select * into one from sweephand.schedules s where s.id = $1 and s.revision = $2 for no key update;
  if not found then
    return null;
  end if;
  with fire as materialized (
    select (f ->> 0)::timestamptz as fire_at, (f ->> 1)::timestamptz as expires_at
    from jsonb_array_elements(fires) as a(f))
  , fired as (
    insert into sweephand.fires (schedule_id, fire_at, job)
    select one.id, f.fire_at, gen_random_uuid() from fire f order by f.fire_at
    on conflict (schedule_id, fire_at) do nothing returning fire_at, job)
  , created as (
    insert into sweephand.jobs (id, type, payload, priority, max_retries, scheduled_at, expires_at,
                                schedule, schedule_id, fire_at)
    select d.job, one.job ->> 'type', one.job -> 'payload', coalesce((one.job ->> 'priority')::smallint, 0),
           coalesce((one.job ->> 'max_retries')::smallint, 3), d.fire_at, f.expires_at, one.name, one.id, d.fire_at
    from fired d join fire f on f.fire_at = d.fire_at
    returning 1)
  select count(*) into filled from created;
  update sweephand.schedules s set made = s.made + filled where s.id = one.id;
  return jsonb_build_object('made', filled);
end $$;

-- Answers {jobs: [summary + position]} of what a schedule made, latest created first, after the position (`at`, `job`)
-- when one is given; or null where there is no such schedule.
create function public.sweephand_list_schedule_jobs_v1(
  name text, owner text default '', max_rows integer default 50, at bigint default null, job uuid default null
) returns jsonb language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  before_at timestamptz := case when $4 is null then 'infinity'
                           else 'epoch'::timestamptz + $4 * interval '1 microsecond' end;
  before_id uuid := coalesce($5, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  one uuid;
  page uuid[];
begin
  select s.id into one from sweephand.schedules s where s.owner = $2 and s.name = $1;
  if not found then
    return null;
  end if;
  page := array(
    select j.id from sweephand.jobs j
    where j.schedule_id = one and (j.created_at, j.id) < (before_at, before_id)
    order by j.created_at desc, j.id desc limit $3);
  return jsonb_build_object('jobs', (
    select coalesce(jsonb_agg(sweephand.job_summary(s) || jsonb_build_object(
             'position', (extract(epoch from s.created_at) * 1000000)::bigint) order by u.n), '[]')
    from unnest(page) with ordinality as u(id, n) join sweephand.job_state s on s.id = u.id));
end $$;

call sweephand.seal();
