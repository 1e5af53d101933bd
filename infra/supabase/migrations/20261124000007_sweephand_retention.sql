-- Deletes what is finished for long enough: called by ticks where RETENTION_DAYS is set, and by `sweephand prune`.
-- What is old is found along finished_by_status, which begins with the jobs created first in each status and type: an
-- index on finished_at would cost every settle, and a BRIN one would be worthless once new rows fill the gaps of old.

alter table sweephand.jobs set (autovacuum_vacuum_scale_factor = 0.05);
alter table sweephand.finished set (autovacuum_vacuum_scale_factor = 0.05);

-- Takes for how many seconds finished jobs are kept, how many rows to look at, and the position {status, type,
-- created_at (microseconds since 1970), id} after which to go on.
-- Looks at finished jobs that were created longer ago than that, in each status and type the first created first, and
-- deletes those of them that also ended longer ago.
-- Answers {deleted, next: position or null when all have been looked at}.
create function public.sweephand_prune_v1(
  keep_s bigint, max_rows integer default 1000, after jsonb default null
) returns jsonb language plpgsql security definer set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  before timestamptz := now() - keep_s * interval '1 second';
  at_status text := coalesce(after ->> 'status', '');
  at_type text := coalesce(after ->> 'type', '');
  at_created timestamptz := coalesce(
    'epoch'::timestamptz + (after ->> 'created_at')::bigint * interval '1 microsecond', '-infinity');
  at_id uuid := coalesce((after ->> 'id')::uuid, '00000000-0000-0000-0000-000000000000');
  room integer := max_rows;
  deleted bigint := 0;
  step record;
begin
  loop
    with old as materialized (
      select f.id, f.created_at, f.finished_at from sweephand.finished f
      where f.status = at_status and f.type = at_type and f.created_at < before
        and (f.created_at, f.id) > (at_created, at_id)
      order by f.created_at, f.id limit room)
    , gone as (
      delete from sweephand.jobs j where j.id = any (array(select o.id from old o where o.finished_at < before))
      returning 1)
    select (select count(*) from old) as looked, (select count(*) from gone) as gone, l.created_at, l.id into step
    from (select 1) one
    left join lateral (select o.created_at, o.id from old o order by o.created_at desc, o.id desc limit 1) l on true;
    deleted := deleted + step.gone;
    room := room - step.looked;
    if room <= 0 then
      return jsonb_build_object('deleted', deleted, 'next', jsonb_build_object(
        'status', at_status, 'type', at_type, 'id', step.id,
        'created_at', (extract(epoch from step.created_at) * 1000000)::bigint));
    end if;
    select f.status, f.type into at_status, at_type from sweephand.finished f
    where (f.status, f.type) > (at_status, at_type) order by f.status, f.type limit 1;
    exit when not found;
    at_created := '-infinity';
    at_id := '00000000-0000-0000-0000-000000000000';
  end loop;
  return jsonb_build_object('deleted', deleted, 'next', null);
end $$;

revoke all on function public.sweephand_prune_v1(bigint, integer, jsonb) from public, anon, authenticated;
grant execute on function public.sweephand_prune_v1(bigint, integer, jsonb) to service_role;
