-- Shape "leases": an open job is a narrow row that no start touches; a start inserts a lease beside it.
create table open (
  id uuid primary key, type text not null, priority smallint not null default 0,
  run_at timestamptz not null default now(), created_at timestamptz not null default now(),
  attempt smallint not null default 0);
create index on open (type, run_at, id);
create index on open (created_at, id);
create table leases (id uuid primary key, token uuid not null, until timestamptz not null);
create index on leases (until);

create function fill(n int, base text) returns void language sql as $$
  insert into jobs (id, type, payload) select md5(base || i)::uuid, 'noop', payload() from generate_series(1, n) i;
  insert into open (id, type) select md5(base || i)::uuid, 'noop' from generate_series(1, n) i $$;

create function start(ids uuid[], tok uuid) returns jsonb language plpgsql as $$
declare answer jsonb;
begin
  insert into leases select j.id, tok, now() + interval '1 min' from open j join unnest(ids) u(id) on j.id = u.id
    where run_at <= now() on conflict do nothing;
  select jsonb_agg(jsonb_build_array(j.id, j.type, attempt, payload)) into answer
    from leases l join open j using (id) join jobs b using (id) where l.id = any (ids) and l.token = tok;
  return answer;
end $$;

create function settle(outcomes jsonb) returns bigint language sql as $$
  with o as materialized (select * from jsonb_to_recordset(outcomes) o(id uuid, token uuid, result jsonb)),
  l as (delete from leases x using o where x.id = o.id and x.token = o.token returning x.id, x.token, o.result),
  d as (delete from open j using l where j.id = l.id
        returning j.id, j.type, j.created_at, j.attempt, l.token, l.result),
  f as (insert into finished (id, type, status, created_at, attempt, token, result)
    select id, type, 'completed', created_at, attempt, token, result from d returning 1)
  select count(*) from f $$;

create function page() returns bigint language sql as $$
  select count(*) from (select id from open j where type = 'noop' and run_at <= now() + interval '5 min'
    and not exists (select from leases l where l.id = j.id)
    order by run_at, id limit 1000) p $$;
