-- Shape "one": every job one row in one table, a partial index on what is due.
-- The naive shape: each change of status leaves the partial index, so no update is HOT.
create table jobs (
  id uuid primary key, type text not null, priority smallint not null default 0, payload jsonb not null,
  status text not null default 'pending', run_at timestamptz not null default now(),
  created_at timestamptz not null default now(), attempt smallint not null default 0,
  token uuid, lease_until timestamptz, finished_at timestamptz, result jsonb);
create index on jobs (created_at, id);
create index on jobs (type, created_at, id);
create index on jobs (status, type, created_at, id);
create index on jobs (type, run_at, id) where status = 'pending';
create index on jobs (lease_until) where status = 'in_progress';

create function fill(n int, base text) returns void language sql as $$
  insert into jobs (id, type, payload) select md5(base || i)::uuid, 'noop', payload() from generate_series(1, n) i $$;

create function start(ids uuid[], tok uuid) returns jsonb language sql as $$
  with s as (update jobs j set status = 'in_progress', token = tok, lease_until = now() + interval '1 min', attempt = attempt + 1
    from unnest(ids) u(id) where j.id = u.id and status = 'pending' and run_at <= now() returning j.id, type, attempt, payload)
  select jsonb_agg(jsonb_build_array(id, type, attempt, payload)) from s $$;

create function settle(outcomes jsonb) returns bigint language sql as $$
  with s as (update jobs j set status = 'completed', lease_until = null, finished_at = now(), result = o.result
    from jsonb_to_recordset(outcomes) o(id uuid, token uuid, result jsonb)
    where j.id = o.id and j.token = o.token and status = 'in_progress' returning 1) select count(*) from s $$;

create function page() returns bigint language sql as $$
  select count(*) from (select id from jobs where type = 'noop' and status = 'pending' and run_at <= now() + interval '5 min'
    order by run_at, id limit 1000) p $$;
