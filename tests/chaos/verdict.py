"""The verdict on a chaos run: the handlers' ledger held against the record's own history."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from tests.chaos.load import Asked

ENDS = {
    "quick": "completed", "brief": "completed", "grind": "completed", "dawdle": "completed",
    "slow": "completed", "thread": "completed", "process": "completed", "flaky": "completed",
    "later": "completed", "newer": "completed", "hopeless": "failed", "hang": "failed", "stuck": "failed",
    "exits": "failed", "memory": "failed", "base": "failed", "nojson": "failed", "big": "failed",
    "secretive": "failed", "poison": "failed",
}  # fmt: skip
"""How each type's jobs end where nothing befalls them."""


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    words: str
    sql: str
    forbidden: bool = True


FIGURES = (
    Figure("accepted", "jobs accepted", "select count(*) from accepted", forbidden=False),
    Figure("lost", "lost: not terminal at the end",
           """select count(*) from accepted a
              where not exists (select from sweephand.finished f where f.id = a.id)"""),
    Figure("unasked", "made twice, or never asked for",
           "select count(*) from sweephand.jobs j where not exists (select from accepted a where a.id = j.id)"),
    Figure("fired_twice", "a fire twice",
           """select count(*) from (select from sweephand.jobs j where j.fire_at is not null
              group by j.schedule_id, j.fire_at having count(*) > 1) twice"""),
    Figure("fired_never", "a fire lost: neither made nor counted as skipped",
           """select coalesce(sum(abs(
                (select count(*) from generate_series(
                   to_timestamp(ceil(extract(epoch from s.created_at) / b.beat) * b.beat), s.end_at,
                   b.beat * interval '1 s') g(at) where g.at > s.created_at)
                - (select count(*) from sweephand.jobs j where j.schedule_id = s.id and j.fire_at is not null)
                - (select coalesce(sum(k.value::bigint), 0) from jsonb_each_text(s.skipped) k
                   where k.key <> 'overlap')
              )), 0)
              from sweephand.schedules s cross join lateral (
                select extract(epoch from s.every::interval)::int as beat) b"""),
    Figure("fires", "jobs made by fires", "select count(*) from sweephand.jobs where fire_at is not null",
           forbidden=False),
    Figure("entered_again", "entered again without a settled retry or an expired lease",
           """select (select count(*) from (select from entries group by id, attempt having count(*) > 1) twice)
              + (select count(*) from entries e where e.attempt > 1 and not exists (
                   select from sweephand.errors r
                   where r.id = e.id and r.attempt = e.attempt - 1 and r.at <= e.at))"""),
    Figure("too_often", "started more often than promise 5 allows",
           """select count(*) from sweephand.finished f join sweephand.jobs j using (id)
              cross join lateral (select coalesce((to_jsonb(f) ->> 'lost')::int, 0) as lost) l
              where f.attempt > j.max_retries + 1 + 3 + 2 or f.attempt - f.crashes - l.lost > j.max_retries + 1
                 or f.crashes > 4 or l.lost > 2
                 or (select count(*) from entries e where e.id = f.id) > j.max_retries + 1 + 3 + 2"""),
    Figure("unnoted", "crashes counted for a job not entered, before its third loss",
           """select count(*) from (
                select r.kind, count(*) over (partition by r.id order by r.attempt) as nth
                from sweephand.errors r
                where r.kind = 'lost' or r.kind = 'crash' and not exists (
                  select from entries e where e.id = r.id and e.attempt = r.attempt)) losses
              where kind = 'crash' and nth < 3"""),
    Figure("unentered", "failed without having been entered",
           """select count(*) from sweephand.finished f where f.status = 'failed'
              and f.reason not like 'expired:%' and f.reason <> 'its payload was refused'
              and not exists (select from entries e where e.id = f.id)"""),
    Figure("uncompleted", "completed without having been entered",
           """select count(*) from sweephand.finished f where f.status = 'completed'
              and not exists (select from entries e where e.id = f.id and e.attempt = f.attempt)"""),
    Figure("other_life", "ended by another life of their id, or with its result",
           """select (select count(*) from sweephand.finished f join sweephand.jobs j using (id)
                      where f.created_at <> j.created_at
                         or f.status = 'completed' and j.type in ('quick', 'brief', 'dawdle')
                            and f.result -> 'n' is distinct from j.payload -> 'n')
              + (select count(*) from sweephand.errors r join lives using (id)
                 where r.kind in ('raised', 'retry', 'gave_up', 'timeout') and not exists (
                   select from entries e where e.id = r.id and e.attempt = r.attempt))"""),
    Figure("after_cancel", "entered after a confirmed cancel",
           "select count(*) from entries e join cancelled c using (id) where e.at > c.at"),
    Figure("cancel_undone", "confirmed cancelled, ended otherwise",
           """select count(*) from cancelled c join sweephand.finished f using (id)
              where f.status <> 'cancelled'"""),
    Figure("misexplained", "explained as ended, and ended otherwise",
           """select count(*) from explained x left join sweephand.finished f using (id)
              where f.status is distinct from x.status"""),
    Figure("early", "entered before due",
           """select count(*) from entries e join sweephand.jobs j using (id)
              left join sweephand.finished f on f.id = e.id and f.attempt = e.attempt
                and f.status <> 'cancelled' and coalesce(f.reason, '') not like 'expired:%'
              where e.at < j.run_at or e.at < f.run_at"""),
    Figure("outlived", "entered after the lease of that start had expired",
           """select count(*) from entries e join sweephand.errors r
              on r.id = e.id and r.attempt = e.attempt and r.kind in ('crash', 'lost') and r.at < e.at"""),
    Figure("otherwise", "ended otherwise than its handler says",
           """select count(*) from sweephand.finished f join ends x using (type)
              where f.status <> x.status and f.status <> 'cancelled'
                and not (f.status = 'failed' and (f.reason like 'its function was lost%'
                         or f.reason like 'expired:%' or f.reason = 'its payload was refused'))"""),
    Figure("leftovers", "rows left in open or leases",
           "select (select count(*) from sweephand.open) + (select count(*) from sweephand.leases)"),
    Figure("orphans", "rows of jobs that were deleted",
           """select count(*) from (select id from sweephand.finished union all select id from sweephand.errors
                union all select id from sweephand.open union all select id from sweephand.leases) x
              where not exists (select from sweephand.jobs j where j.id = x.id)"""),
    Figure("entries", "entries in the ledger", "select count(*) from entries", forbidden=False),
    Figure("completed", "completed", "select count(*) from sweephand.finished where status = 'completed'",
           forbidden=False),
    Figure("failed", "failed, each with its reason",
           "select count(*) from sweephand.finished where status = 'failed'", forbidden=False),
    Figure("cancelled", "cancelled", "select count(*) from sweephand.finished where status = 'cancelled'",
           forbidden=False),
    Figure("crashes", "starts lost with their function",
           "select count(*) from sweephand.errors where kind in ('crash', 'lost')", forbidden=False),
    Figure("crashed_out", "failed as lost too often, poison aside",
           """select count(*) from sweephand.finished where status = 'failed' and type <> 'poison'
              and reason like 'its function was lost%'""", forbidden=False),
    Figure("retries", "attempts that failed and were settled",
           "select count(*) from sweephand.errors where kind not in ('crash', 'lost')", forbidden=False),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    id: str
    attempt: int
    at: float
    n: int
    """Of the payload: it tells the lives of an id apart."""


def entries_in(ledger: Path) -> list[Entry]:
    """Return the ledger."""
    rows = (line.split() for line in ledger.read_text().splitlines())
    return [Entry(job, int(attempt), float(at), int(n)) for job, attempt, at, _pid, n in rows]


def is_former(entry: Entry, asked: Asked) -> bool:
    """Tell whether an entry was of a job that a user deleted, be there another under its id or not."""
    return entry.id in asked.deleted or entry.n != asked.lives.get(entry.id, entry.n)


def judge(database_url: str, asked: Asked, entries: Sequence[Entry]) -> dict[str, int]:
    """Return each figure by its name."""
    with psycopg.connect(database_url) as sql, sql.cursor() as cursor:
        cursor.execute(
            """create temp table accepted (id uuid) on commit drop;
            create temp table lives (id uuid) on commit drop;
            create temp table entries (id uuid, attempt int, at timestamptz) on commit drop;
            create temp table cancelled (id uuid, at timestamptz) on commit drop;
            create temp table explained (id uuid, status text) on commit drop;
            create temp table ends (type text, status text) on commit drop"""
        )
        gone = {*asked.deleted, *asked.lives}  # what was said of the first life does not hold for the second
        tables: dict[str, Iterable[Sequence[object]]] = {
            "accepted": ((job,) for job in asked.accepted if job not in asked.deleted),
            "lives": ((job,) for job in asked.lives),
            "entries": ((e.id, e.attempt, _stamp(e.at)) for e in entries if not is_former(e, asked)),
            "cancelled": ((job, _stamp(at)) for job, at in asked.cancelled.items() if job not in gone),
            "explained": (said for said in asked.explained.items() if said[0] not in gone),
            "ends": ENDS.items(),
        }
        for name, rows in tables.items():
            with cursor.copy(f"copy {name} from stdin".encode()) as copy:
                for values in rows:
                    copy.write_row(values)
        cursor.execute("insert into accepted select j.id from sweephand.jobs j where j.schedule_id is not null")
        cursor.execute(
            "create index on accepted (id); create index on entries (id); create index on cancelled (id)"
        )
        cursor.execute("delete from entries e where not exists (select from accepted a where a.id = e.id)")
        cursor.execute("analyze accepted; analyze entries; analyze cancelled; analyze ends; analyze lives")
        found = {}
        for figure in FIGURES:
            cursor.execute(figure.sql.encode())
            row = cursor.fetchone()
            assert row is not None
            found[figure.name] = int(row[0])
        return found


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
