"""The verdict on a chaos run: the handlers' ledger held against the record's own history."""

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
              where not exists (select from minutehand.finished f where f.id = a.id)"""),
    Figure("unasked", "made twice, or never asked for",
           "select count(*) from minutehand.jobs j where not exists (select from accepted a where a.id = j.id)"),
    Figure("entered_again", "entered again without a settled retry or an expired lease",
           """select (select count(*) from (select from entries group by id, attempt having count(*) > 1) twice)
              + (select count(*) from entries e where e.attempt > 1 and not exists (
                   select from minutehand.errors r
                   where r.id = e.id and r.attempt = e.attempt - 1 and r.at <= e.at))"""),
    Figure("too_often", "started more often than promise 5 allows",
           """select count(*) from minutehand.finished f join minutehand.jobs j using (id)
              where f.attempt > j.max_retries + 1 + 3 or f.attempt - f.crashes > j.max_retries + 1 or f.crashes > 4
                 or (select count(*) from entries e where e.id = f.id) > j.max_retries + 1 + 3"""),
    Figure("unentered", "failed without having been entered",
           """select count(*) from minutehand.finished f where f.status = 'failed'
              and f.reason not like 'expired:%' and f.reason <> 'its payload was refused'
              and not exists (select from entries e where e.id = f.id)"""),
    Figure("uncompleted", "completed without having been entered",
           """select count(*) from minutehand.finished f where f.status = 'completed'
              and not exists (select from entries e where e.id = f.id and e.attempt = f.attempt)"""),
    Figure("after_cancel", "entered after a confirmed cancel",
           "select count(*) from entries e join cancelled c using (id) where e.at > c.at"),
    Figure("cancel_undone", "confirmed cancelled, ended otherwise",
           """select count(*) from cancelled c join minutehand.finished f using (id)
              where f.status <> 'cancelled'"""),
    Figure("misexplained", "explained as ended, and ended otherwise",
           """select count(*) from explained x left join minutehand.finished f using (id)
              where f.status is distinct from x.status"""),
    Figure("early", "entered before due",
           """select count(*) from entries e join minutehand.jobs j using (id)
              left join minutehand.finished f on f.id = e.id and f.attempt = e.attempt
                and f.status <> 'cancelled' and coalesce(f.reason, '') not like 'expired:%'
              where e.at < j.run_at or e.at < f.run_at"""),
    Figure("outlived", "entered after the lease of that start had expired",
           """select count(*) from entries e join minutehand.errors r
              on r.id = e.id and r.attempt = e.attempt and r.kind = 'crash' and r.at < e.at"""),
    Figure("otherwise", "ended otherwise than its handler says",
           """select count(*) from minutehand.finished f join ends x using (type)
              where f.status <> x.status and f.status <> 'cancelled'
                and not (f.status = 'failed' and (f.reason like 'its function was lost%'
                         or f.reason like 'expired:%' or f.reason = 'its payload was refused'))"""),
    Figure("leftovers", "rows left in open or leases",
           "select (select count(*) from minutehand.open) + (select count(*) from minutehand.leases)"),
    Figure("entries", "entries in the ledger", "select count(*) from entries", forbidden=False),
    Figure("completed", "completed", "select count(*) from minutehand.finished where status = 'completed'",
           forbidden=False),
    Figure("failed", "failed, each with its reason",
           "select count(*) from minutehand.finished where status = 'failed'", forbidden=False),
    Figure("cancelled", "cancelled", "select count(*) from minutehand.finished where status = 'cancelled'",
           forbidden=False),
    Figure("crashes", "starts lost with their function",
           "select count(*) from minutehand.errors where kind = 'crash'", forbidden=False),
    Figure("crashed_out", "failed as lost too often, poison aside",
           """select count(*) from minutehand.finished where status = 'failed' and type <> 'poison'
              and reason like 'its function was lost%'""", forbidden=False),
    Figure("retries", "attempts that failed and were settled",
           "select count(*) from minutehand.errors where kind <> 'crash'", forbidden=False),
)  # fmt: skip


def judge(database_url: str, asked: Asked, ledger: Path) -> dict[str, int]:
    """Return each figure by its name."""
    with psycopg.connect(database_url) as sql, sql.cursor() as cursor:
        cursor.execute(
            """create temp table accepted (id uuid) on commit drop;
            create temp table entries (id uuid, attempt int, at timestamptz) on commit drop;
            create temp table cancelled (id uuid, at timestamptz) on commit drop;
            create temp table explained (id uuid, status text) on commit drop;
            create temp table ends (type text, status text) on commit drop"""
        )
        with cursor.copy("copy accepted from stdin") as copy:
            for job in asked.accepted:
                copy.write_row((job,))
        with cursor.copy("copy cancelled from stdin") as copy:
            for job, at in asked.cancelled.items():
                copy.write_row((job, _stamp(at)))
        with cursor.copy("copy explained from stdin") as copy:
            for explained in asked.explained.items():
                copy.write_row(explained)
        with cursor.copy("copy entries from stdin") as copy:
            for line in ledger.read_text().splitlines():
                job, attempt, entered_at, _ = line.split()
                copy.write_row((job, attempt, _stamp(float(entered_at))))
        with cursor.copy("copy ends from stdin") as copy:
            for end in ENDS.items():
                copy.write_row(end)
        cursor.execute(
            "create index on accepted (id); create index on entries (id); create index on cancelled (id)"
        )
        cursor.execute("delete from entries e where not exists (select from accepted a where a.id = e.id)")
        cursor.execute("analyze accepted; analyze entries; analyze cancelled; analyze ends")
        found = {}
        for figure in FIGURES:
            cursor.execute(figure.sql.encode())
            row = cursor.fetchone()
            assert row is not None
            found[figure.name] = int(row[0])
        return found


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
