-- Shape "hot": an open job is a narrow row, leased by a HOT update, deleted when it finishes.
create table open (
  id uuid primary key, type text not null, priority smallint not null default 0,
  run_at timestamptz not null default now(), created_at timestamptz not null default now(),
  attempt smallint not null default 0, token uuid, lease_until timestamptz) with (fillfactor = 60);
create index on open (type, run_at, id);
create index on open (created_at, id);

create function fill(n int, base text) returns void language sql as $$
  insert into jobs (id, type, payload) select md5(base || i)::uuid, 'noop', payload() from generate_series(1, n) i;
  insert into open (id, type) select md5(base || i)::uuid, 'noop' from generate_series(1, n) i $$;

create function start(ids uuid[], tok uuid) returns jsonb language sql as $$
  with s as (update open j set token = tok, lease_until = now() + interval '1 min', attempt = attempt + 1
    from unnest(ids) u(id) where j.id = u.id and lease_until is null and run_at <= now() returning j.id, j.type, attempt)
  select jsonb_agg(jsonb_build_array(s.id, s.type, attempt, payload)) from s join jobs using (id) $$;

create function settle(outcomes jsonb) returns bigint language sql as $$
  with o as materialized (select * from jsonb_to_recordset(outcomes) o(id uuid, token uuid, result jsonb)),
  d as (delete from open j using o where j.id = o.id and j.token = o.token
        returning j.id, j.type, j.created_at, j.attempt, j.token, o.result),
  f as (insert into finished (id, type, status, created_at, attempt, token, result)
    select id, type, 'completed', created_at, attempt, token, result from d returning 1)
  select count(*) from f $$;

create function page() returns bigint language sql as $$
  select count(*) from (select id from open where type = 'noop' and run_at <= now() + interval '5 min' and lease_until is null
    order by run_at, id limit 1000) p $$;
