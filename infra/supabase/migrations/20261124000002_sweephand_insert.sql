-- How a job comes in: by an INSERT into sweephand.jobs, the API's own or anybody's.

-- Fills what only the record decides. What the caller put into these columns does not count.
-- Refuses what jsonb holds and the readers of JSON do not: a tick that cannot read one payload of a batch could start
-- none of it. A payload of less than 1,000 bytes is too small for either.
create function sweephand.fill_job() returns trigger language plpgsql set search_path = '' as $$
begin
  new.created_at := now();
  new.scheduled_at := coalesce(new.scheduled_at, now());
  new.run_at := greatest(new.scheduled_at, now());
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
create function sweephand.open_jobs() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into sweephand.open (id, type, priority, run_at, created_at, expires_at, max_retries, bytes)
  select id, type, priority, run_at, created_at, expires_at, max_retries, bytes from inserted;
  return null;
end $$;
create trigger open after insert on sweephand.jobs referencing new table as inserted
  for each statement execute function sweephand.open_jobs();

create function sweephand.refuse_update() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception 'a job''s card is never changed: cancel the job and insert another'
    using errcode = 'object_not_in_prerequisite_state';
end $$;
create trigger immutable before update on sweephand.jobs for each statement execute function sweephand.refuse_update();

-- Deleting a card deletes all of the job: in place of foreign keys, which would cost each insert a lookup and a lock.
create function sweephand.forget_jobs() returns trigger language plpgsql security definer set search_path = ''
set jit = off set plan_cache_mode = force_custom_plan set enable_seqscan = off as $$
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

create function sweephand.forget_all() returns trigger language plpgsql security definer set search_path = '' as $$
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

-- For people who enqueue in SQL, in their own transaction; returns the job's id.
create function sweephand.enqueue(
  type text,
  payload jsonb default '{}',
  run_at timestamptz default now(),
  priority integer default 0,
  max_retries integer default 3,
  expires_at timestamptz default null
) returns uuid language sql set search_path = '' as $$
  insert into sweephand.jobs (type, payload, scheduled_at, priority, max_retries, expires_at)
  values ($1, $2, $3, $4, $5, $6) returning id
$$;
revoke all on all functions in schema sweephand from public, anon, authenticated;
