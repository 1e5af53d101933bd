-- What the split shapes share: immutable cards, and finished rows that are only ever inserted.
create table jobs (
  id uuid primary key, type text not null, priority smallint not null default 0, payload jsonb not null,
  created_at timestamptz not null default now());
create index on jobs (created_at, id);
create index on jobs (type, created_at, id);
create table finished (
  id uuid primary key, type text not null, status text not null, created_at timestamptz not null,
  attempt smallint not null, token uuid, finished_at timestamptz not null default now(), result jsonb);
create index on finished (status, type, created_at, id);
