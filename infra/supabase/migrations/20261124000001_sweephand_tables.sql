-- Sweephand's tables, in a schema of their own that PostgREST does not expose.
--
-- A job is a card in `jobs`, written once and never changed, and one row that says where it stands:
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

create table sweephand.jobs (
  id           uuid primary key default gen_random_uuid(),
  type         text not null check (type ~ '^[a-z][a-z0-9_.-]{0,63}$'),
  payload      jsonb not null default '{}' check (jsonb_typeof(payload) = 'object'),
  priority     smallint not null default 0 check (priority between 0 and 9),
  max_retries  smallint not null default 3 check (max_retries between 0 and 100),
  -- RFC 3339 has the years 1 to 9999, and every reader of a job gets its times in that form.
  scheduled_at timestamptz not null default now()
    check (scheduled_at >= '0001-01-01 00:00:00+00' and scheduled_at < '10000-01-01 00:00:00+00'),
  expires_at   timestamptz
    check (expires_at >= '0001-01-01 00:00:00+00' and expires_at < '10000-01-01 00:00:00+00'),
  run_at       timestamptz not null,  -- first due: greatest(scheduled_at, created_at); filled by a trigger
  created_at   timestamptz not null,  -- filled by a trigger
  bytes        integer not null check (bytes <= 1048576)  -- of the payload as text; filled by a trigger
);
comment on table sweephand.jobs is 'What was asked for: one card a job, never changed after its insert.';
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
  check (crashes between 0 and 3),
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
  finished_at timestamptz not null default now(),
  attempt     smallint not null,
  crashes     smallint not null,
  lost        smallint not null default 0,
  token       uuid,                  -- of the start that was settled last
  reason      text,
  result      jsonb,
  check (status <> 'completed' or (attempt > 0 and started_at is not null)),
  check ((status = 'failed') = (reason is not null)),
  check (status = 'completed' or result is null)
) with (autovacuum_vacuum_insert_scale_factor = 0.1);
comment on table sweephand.finished is 'How each finished job ended.';
create index finished_by_status on sweephand.finished (status, type, created_at, id);

create table sweephand.errors (
  id      uuid not null,
  attempt smallint not null,
  at      timestamptz not null default now(),
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
  created_at timestamptz not null default now(),
  primary key (owner, key)
);
comment on table sweephand.idempotency is 'Idempotency-Key headers of the last 24 hours.';
create index idempotency_by_age on sweephand.idempotency (created_at);

create table sweephand.paused (
  type  text primary key,
  since timestamptz not null default now()
);
comment on table sweephand.paused is 'Job types that no tick starts: insert a row to pause, delete it to resume.';

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
comment on table sweephand.aside is 'Jobs whose rows failed the statement that was to start or settle them, until they are tried again.';

create table sweephand.installation (
  one boolean primary key default true check (one),
  id  text not null default substr(md5(gen_random_uuid()::text), 1, 12)
);
comment on table sweephand.installation is 'Names this installation in Redis keys, so that two may share a Redis.';
insert into sweephand.installation default values;

-- Nobody but the owner reads or writes these tables; the functions below are the only way in from outside.
do $$
declare t text;
begin
  for t in select tablename from pg_catalog.pg_tables where schemaname = 'sweephand' loop
    execute format('alter table sweephand.%I enable row level security', t);
  end loop;
end $$;
revoke all on schema sweephand from public, anon, authenticated;
revoke all on all tables in schema sweephand from public, anon, authenticated;
alter default privileges in schema sweephand revoke all on tables from public, anon, authenticated;
alter default privileges in schema sweephand revoke all on sequences from public, anon, authenticated;
alter default privileges in schema sweephand revoke all on functions from public, anon, authenticated;
