-- Sweephand's tables, in a schema of their own that PostgREST does not expose.
--
-- A job is a row in `jobs`, written once and never changed, and one row that says where it stands:
--   pending      a row in `open`
--   in_progress  that row and a row in `leases`
--   finished     a row in `finished` instead (completed, failed, cancelled)
-- The primary key of `leases` is the mutex of a job: who inserts its row, and no other, may start, settle or
-- cancel it. A start therefore never touches the row in `open`, and no row is updated twice on the ordinary way.
--
-- An id has more than one life where somebody deletes a job and inserts another under its id. A lease belongs to one
-- life: it carries the created_at of the row in `open` that it was taken for, and counts for no other.
--
-- One lock order everywhere: rows of `open` by id, then those of `leases`, then the rest.
-- The shape was chosen by measurement: tests/benchmarks/table_shapes.py.

create schema sweephand;

-- Our functions read the time here and nowhere else, and a test's database replaces this function. The planner puts
-- its body into each statement that calls it.
create function sweephand.clock() returns timestamptz language sql stable as $$ select now() $$;

-- How many starts of one job may be lost with their functions; one more fails the job. Python's MAX_CRASHES is the
-- same number, which a test compares.
create function sweephand.max_crashes() returns integer language sql immutable as $$ select 3 $$;

create table sweephand.jobs (
  id           uuid primary key default gen_random_uuid(),
  type         text not null check (type ~ '^[a-z][a-z0-9_.-]{0,63}$'),
  payload      jsonb not null default '{}' check (jsonb_typeof(payload) = 'object'),
  priority     smallint not null default 0 check (priority between 0 and 9),
  max_retries  smallint not null default 3 check (max_retries between 0 and 100),
  -- RFC 3339 has the years 1 to 9999, and every reader of a job gets its times in that form.
  scheduled_at timestamptz not null  -- now, unless the insert says otherwise; filled by a trigger
    check (scheduled_at >= '0001-01-01 00:00:00+00' and scheduled_at < '10000-01-01 00:00:00+00'),
  expires_at   timestamptz
    check (expires_at >= '0001-01-01 00:00:00+00' and expires_at < '10000-01-01 00:00:00+00'),
  run_at       timestamptz not null,  -- first due: greatest(scheduled_at, created_at); filled by a trigger
  created_at   timestamptz not null,  -- filled by a trigger
  bytes        integer not null check (bytes <= 1048576), -- of the payload as text; filled by a trigger
  schedule     text,                 -- the name of the schedule that made it
  schedule_id  uuid,
  fire_at      timestamptz,          -- the instant that the schedule names; null: it was run by hand
  skip_overlap boolean               -- it carries an overlap mark: it starts alone among those of its schedule
) with (autovacuum_vacuum_scale_factor = 0.05);
comment on table sweephand.jobs is 'What was asked for: one row a job, never changed after its insert.';
create index jobs_by_type on sweephand.jobs (type, created_at, id);

create table sweephand.open (
  id          uuid primary key,
  type        text not null,
  priority    smallint not null,
  run_at      timestamptz not null,                          -- when next due
  created_at  timestamptz not null,
  expires_at  timestamptz,
  max_retries smallint not null,
  attempt     smallint not null default 0,                   -- starts that have ended
  crashes     smallint not null default 0,                   -- those of them that were lost with their function
  lost        smallint not null default 0,                   -- those that were lost and not known to have been entered
  bytes       integer not null,
  token       uuid,                                          -- of the last settled start
  schedule_id uuid,
  skip_overlap boolean,
  check (crashes between 0 and sweephand.max_crashes()),
  check (lost between 0 and 2),                              -- a third one counts as a crash
  check (attempt between crashes + lost and max_retries + crashes + lost)  -- a further attempt is still allowed
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000, autovacuum_vacuum_cost_delay = 0);
comment on table sweephand.open is 'Jobs that are not finished.';
create index open_by_due on sweephand.open (type, priority, run_at, id);
create index open_by_type on sweephand.open (type, created_at, id);
create index open_by_expiry on sweephand.open (expires_at) where expires_at is not null;

create table sweephand.leases (
  id         uuid primary key,
  token      uuid not null,         -- made by the caller for each start call; the fence
  created_at timestamptz not null,  -- of the row in open that it was taken for
  started_at timestamptz not null,
  until      timestamptz not null,
  entered    boolean not null default false,  -- its handler is known to have been entered
  schedule_id uuid,                 -- of a job with an overlap mark
  check (until > started_at)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000, autovacuum_vacuum_cost_delay = 0);
comment on table sweephand.leases is 'Jobs that are in progress, and until when their start is believed alive.';
create index leases_by_end on sweephand.leases (until);

create table sweephand.finished (
  id          uuid primary key,
  type        text not null,
  status      text not null check (status in ('completed', 'failed', 'cancelled')),
  created_at  timestamptz not null,
  run_at      timestamptz not null,  -- when last due
  started_at  timestamptz,           -- the last start
  finished_at timestamptz not null default sweephand.clock(),
  attempt     smallint not null,
  crashes     smallint not null,
  lost        smallint not null default 0,
  token       uuid,                  -- of the start that was settled last
  reason      text,
  result      jsonb,
  check (status <> 'completed' or (attempt > 0 and started_at is not null)),
  check (status = 'cancelled' or (status = 'failed') = (reason is not null)),
  check (status = 'completed' or result is null)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);
comment on table sweephand.finished is 'How each finished job ended.';
create index finished_by_status on sweephand.finished (status, type, created_at, id);

create table sweephand.errors (
  id      uuid not null,
  attempt smallint not null,
  at      timestamptz not null default sweephand.clock(),
  kind    text not null check (kind in ('raised', 'retry', 'gave_up', 'timeout', 'crash', 'lost', 'refused', 'memory')),
  error   text not null check (octet_length(error) <= 2048),
  primary key (id, attempt)
);
comment on table sweephand.errors is 'Each attempt that did not complete, and why.';

create table sweephand.idempotency (
  owner      text not null,          -- hash of the API key that the caller used
  key        text not null,
  request    text not null,          -- hash of the request as it was sent
  ids        uuid[] not null,
  created_at timestamptz not null default sweephand.clock(),
  primary key (owner, key)
);
comment on table sweephand.idempotency is 'Idempotency-Key headers of the last 24 hours.';
create index idempotency_by_age on sweephand.idempotency (created_at);

create table sweephand.paused (
  type  text primary key,
  since timestamptz not null default sweephand.clock()
);
comment on table sweephand.paused is
  'Job types that no tick starts: insert a row to pause a type, delete it to resume.';

create table sweephand.ticks (
  one            boolean primary key default true check (one),
  at             timestamptz,                   -- null: never
  types          text[] not null default '{}',
  after_type     text not null default '',      -- the last lane of a page that could not show all of them
  after_priority smallint not null default 0,
  looked_at      timestamptz,                   -- when types that no tick knows were last looked for
  unknown        jsonb not null default '{}'    -- what was found: see sweephand_find_unknown_types_v1
);
comment on table sweephand.ticks is 'When a tick last looked for work, within 1 s, and which types it could run.';
insert into sweephand.ticks default values;

create table sweephand.aside (
  id    uuid primary key,
  until timestamptz not null,
  error text not null
);
comment on table sweephand.aside is
  'Jobs whose rows failed a statement that starts or settles, until they are tried again.';

create table sweephand.installation (
  one boolean primary key default true check (one),
  id  text not null default substr(md5(gen_random_uuid()::text), 1, 12)
);
comment on table sweephand.installation is 'Names this installation in Redis keys, so that two may share a Redis.';
insert into sweephand.installation default values;

-- Nobody but the owner reads or writes these tables: the functions of the migrations that follow are the only way in.
do $$
declare t text;
begin
  for t in select tablename from pg_catalog.pg_tables where schemaname = 'sweephand' loop
    execute format('alter table sweephand.%I enable row level security', t);
  end loop;
end $$;
revoke all on schema sweephand from public, anon, authenticated;
revoke all on all tables in schema sweephand from public, anon, authenticated;

-- Each migration ends with `call sweephand.seal()`, a later one too. It closes our functions to everybody but their
-- owner, opens those of `public` to service_role, and holds plans to index scans.
--
-- PostgreSQL lets PUBLIC execute every new function, and `alter default privileges in schema` cannot take that back: it
-- can only for all schemas at once, which would close functions of the project that we share the database with.
-- Supabase grants every new function of `public` to anon and authenticated besides.
--
-- Which functions have planner settings: those that are called from outside and join tables, or delete from them. What
-- they call runs under the same settings, and under the same search_path. Plans are held to index scans and made anew
-- for each call, which takes half a millisecond: the tables' statistics lag behind a queue that fills and empties in
-- seconds, and a plan that a session made while a table was empty, and kept, reads a full one from end to end.
-- The settings are part of the functions: pg_dump keeps them. `create or replace` drops them: seal again.
create procedure sweephand.seal() language plpgsql as $$
declare
  held constant text[] := array[
    'sweephand.forget_jobs', 'sweephand.render_jobs',
    'public.sweephand_list_v1', 'public.sweephand_cancel_v1',
    'public.sweephand_restore_v1', 'public.sweephand_find_unknown_types_v1',
    'public.sweephand_start_v1', 'public.sweephand_settle_v1',
    'public.sweephand_explain_v1', 'public.sweephand_prune_v1',
    'public.sweephand_make_fires_v1', 'public.sweephand_put_schedule_v1', 'public.sweephand_delete_schedule_v1',
    'public.sweephand_run_schedule_v1', 'public.sweephand_backfill_v1',
    'public.sweephand_list_schedules_v1', 'public.sweephand_list_schedule_jobs_v1'];
  setting text;
  ours record;
begin
  revoke all on all routines in schema sweephand from public, anon, authenticated;
  for ours in
    select p.oid::regprocedure as signature, n.nspname || '.' || p.proname as name, n.nspname = 'public' as is_rpc
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'sweephand' or n.nspname = 'public' and starts_with(p.proname, 'sweephand_')
  loop
    if ours.is_rpc then
      execute format('revoke all on function %s from public, anon, authenticated', ours.signature);
      execute format('grant execute on function %s to service_role', ours.signature);
    end if;
    if ours.name = any (held) then
      foreach setting in array array[
        'jit = off', 'plan_cache_mode = force_custom_plan', 'enable_seqscan = off', 'enable_bitmapscan = off',
        'enable_hashjoin = off', 'enable_mergejoin = off']
      loop
        execute format('alter function %s set %s', ours.signature, setting);
      end loop;
    end if;
  end loop;
end $$;

call sweephand.seal();
