"""The record with ten million rows: what calls cost then, and how its tables fare in an hour of churn."""

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx

from sweephand.adapters import direct as direct_rpc
from sweephand.adapters.clock import SystemClock
from sweephand.domain.job import NewJob
from sweephand.domain.retry_policy import Complete
from sweephand.ports.record import Record, Settlement
from tests.benchmarks.harness import KEY, TYPES, Bed, finished, percentile
from tests.record.test_scale import costs

ROWS = 10_000_000
PENDING = 10
"""One job in so many is pending, the others are finished."""
CHUNK = 500_000
DRAINED = 300_000
CALLS = 60
RATE = 500
"""Jobs created a second while the tables churn."""
SAMPLE = 10.0
"""Seconds between two looks at the tables."""
TABLES = ("jobs", "open", "leases", "finished")
LEASES = dict.fromkeys(TYPES, 60_000)

Figures = Iterator[tuple[str, Mapping[str, Any]]]


# Finished jobs of every type end one after the other, the first `keep` before now; pending ones come due one a
# second. The ids are in the order of their creation, as UUIDv7 are. Without triggers: they would open all of it.
FILL = """
with n as materialized (
  select n, n %% {pending} = 0 as pending,
         case when n %% {pending} = 0 then 'noop' else (array[{types}])[n %% {kinds} + 1] end as type,
         now() + interval '1 minute' + n * interval '1 s' / {pending} as due,
         now() - interval '{keep} s' + n * interval '1 s' / {rate} as ended,
         (lpad(to_hex((extract(epoch from now() - interval '400 days') * 1000)::bigint + n), 12, '0')
          || '7' || lpad(to_hex(n), 19, '0'))::uuid as id
  from generate_series(%s::int, %s::int) n)
, card as (
  insert into sweephand.jobs (id, type, payload, scheduled_at, run_at, created_at, bytes)
  select id, type, '{{}}', at, at, ended - interval '1 minute', 2
  from (select *, case when pending then due else ended end as at from n) n)
, opened as (
  insert into sweephand.open (id, type, priority, run_at, created_at, max_retries, bytes)
  select id, type, 0, due, ended - interval '1 minute', 3, 2 from n where pending)
insert into sweephand.finished
  (id, type, status, created_at, run_at, started_at, finished_at, attempt, crashes, reason)
select id, type, case when n %% 97 = 0 then 'failed' when n %% 89 = 0 then 'cancelled' else 'completed' end,
       ended - interval '1 minute', ended, ended, ended, 1, 0, case when n %% 97 = 0 then 'it was refused' end
from n where not pending
"""


def fill(bed: Bed, count: int, *, keep: timedelta = timedelta(days=365)) -> None:
    """Insert jobs, of which nine in ten are finished: the first `keep` ago, and RATE a second after it."""
    types = ", ".join(f"'{type_}'" for type_ in TYPES)
    statement = FILL.format(
        types=types, kinds=len(TYPES), pending=PENDING, keep=keep.total_seconds(), rate=RATE
    ).encode()
    bed.sql.execute("set session_replication_role = replica")
    for begin in range(1, count + 1, CHUNK):
        bed.sql.execute(statement, (begin, min(count, begin + CHUNK - 1)))
        print(f"    {min(count, begin + CHUNK - 1):,} of {count:,} rows", flush=True)
    bed.sql.execute("reset session_replication_role")
    for table in TABLES:
        bed.sql.execute(f"vacuum (freeze, analyze) sweephand.{table}".encode())
    bed.sql.execute("checkpoint")


def rows(bed: Bed) -> Figures:
    """Measure what calls take with 100,000 rows, with 10 million, and after 300,000 more were drained."""
    few, many, drained = bed.scaled(ROWS // 100, least=20_000), bed.scaled(ROWS), bed.scaled(DRAINED)
    rpc = direct_rpc.connect(bed.stack.database_url)
    record = Record(rpc)
    found: dict[str, dict[str, float]] = {}

    def note(name: str) -> None:
        _insert_due(bed, 100)
        for call, pages in costs(bed.sql).items():  # which deletes 2,000 old jobs, among others
            found.setdefault(f"{call}, pages", {})[name] = pages
        for call, ms in _costs(bed, record).items():
            found.setdefault(f"{call}, ms", {})[name] = ms

    bed.clear()
    fill(bed, few)
    note(f"{few:,}")
    bed.clear()
    fill(bed, many)
    note(f"{many:,}")
    for table in TABLES:
        bed.sql.execute(f"alter table sweephand.{table} set (autovacuum_enabled = off)".encode())
    _insert_due(bed, drained)
    report = finished(bed.spawn(STORE="direct"))
    note("drained, not vacuumed")
    for table in TABLES:
        bed.sql.execute(f"alter table sweephand.{table} reset (autovacuum_enabled)".encode())
    rpc.close()
    for call, each in found.items():
        first, *others = each.values()
        yield call, {**each, "ratio": max(others) / first}
    yield (
        f"drain {drained:,} in a record of {many:,}, direct",
        {"rate": report["completed"] / (report["duration_ms"] / 1000), "done": report["completed"]},
    )


def _insert_due(bed: Bed, count: int) -> None:
    bed.sql.execute("insert into sweephand.jobs (type) select 'noop' from generate_series(1, %s)", (count,))


def _costs(bed: Bed, record: Record) -> dict[str, float]:
    """Return the median ms of each call of the record."""
    ids = [id_ for (id_,) in bed.sql.execute("select id from sweephand.finished limit %s", (CALLS,)).fetchall()]
    later = datetime.now(UTC) + timedelta(days=1)
    types = list(TYPES)

    def create(_n: int) -> None:
        record.create([NewJob(SystemClock().job_id(), "noop", {})])

    def cancel(_n: int) -> None:
        job = NewJob(SystemClock().job_id(), "noop", {}, scheduled_at=later)
        record.create([job])
        record.cancel(job.id)

    def start(_n: int) -> None:
        jobs = [NewJob(SystemClock().job_id(), "noop", {}) for _ in range(100)]
        record.create(jobs, summary=True)
        token = str(uuid4())
        starts = record.start([str(job.id) for job in jobs], token, LEASES, exclusive=False, max_bytes=10**8).starts
        record.settle([Settlement(one.id, token, Complete(None)) for one in starts])

    calls: dict[str, Callable[[int], object]] = {
        "create": create,
        "create and cancel": cancel,
        "create, start and settle 100": start,
        "get": lambda n: record.get(UUID(str(ids[n % len(ids)]))),
        "page of what is due soon": lambda _n: record.restore(types, 300_000, 500),
        **{f"list {status or 'all'}": _list(record, status) for status in (None, "pending", "completed", "failed")},
        "list of a type": lambda _n: record.list(None, "noop", 50, None),
    }
    return {name: _median_ms(call) for name, call in calls.items()}


def _list(record: Record, status: str | None) -> Callable[[int], object]:
    return lambda _n: record.list(status, None, 50, None)


def _median_ms(call: Callable[[int], object]) -> float:
    took = []
    for n in range(CALLS):
        began = time.perf_counter()
        call(n)
        took.append(time.perf_counter() - began)
    return percentile(took[CALLS // 6 :], 0.5) * 1000


# ---------------------------------------------------------------------- churn


def churn(bed: Bed) -> Figures:
    """Measure the tables in CHURN_MINUTES (60) of work: a tick a minute, retention, and 10 million rows."""
    # Half of what is created is due at once and half within two minutes; one in fifty fails at first. Retention
    # deletes as many as are created.
    minutes = float(os.environ.get("CHURN_MINUTES", "60"))
    bed.clear()
    fill(bed, bed.scaled(ROWS), keep=timedelta(days=1))
    bed.sql.execute("alter system set track_functions = 'pl'")
    bed.sql.execute("select pg_reload_conf()")
    ticks: list[dict[str, Any]] = []
    waiting: list[threading.Thread] = []
    with bed.gateway(STORE="direct") as url:
        creator = _Creator(url)
        sampler = _Sampler(bed)
        began, creating = time.monotonic(), threading.Thread(target=creator.run, args=(minutes * 60,))
        creating.start()
        while creating.is_alive():
            if time.monotonic() >= began + 60 * len(waiting):
                waiting.append(_tick(bed, ticks))
            time.sleep(SAMPLE)
            sampler.look()
            if len(sampler.samples) % 6 == 0:
                print(f"    {sampler.told()}", flush=True)
        for thread in waiting:
            thread.join()
    ticks.append(finished(_spawn(bed, linger="150", budget="300")))
    open_ = bed.sql.execute("select count(*) from sweephand.open where run_at <= now()").fetchone()
    samples = sampler.samples
    settle = [sample["settle"] for sample in samples if sample["settle"]]
    sixth = max(1, len(settle) // 6)
    yield (
        f"{minutes:g} minutes of {RATE} jobs/s in a record of {bed.scaled(ROWS):,} jobs",
        {
            "created": creator.created,
            "completed": sum(tick["completed"] for tick in ticks),
            "retried": sum(tick["retried"] for tick in ticks),
            "deleted": sum(tick["pruned"] for tick in ticks),
            "left_due": open_[0] if open_ else -1,
            "late_p50": _median_late(ticks, "p50"),
            "late_p99": _median_late(ticks, "p99"),
            "settle_us_first_sixth": statistics.median(settle[:sixth]),
            "settle_us_last_sixth": statistics.median(settle[-sixth:]),
            **{
                f"{table}_{what}_{when}": pick(sample[f"{table} {what}"] for sample in samples)
                for table in TABLES
                for what in ("dead", "mb")
                for when, pick in (("most", max), ("last", _last))
            },
            "samples": samples,
            "ticks": ticks,
        },
    )


def _median_late(ticks: Sequence[Mapping[str, Any]], which: str) -> float:
    return statistics.median(float(tick["lateness_ms"][which]) for tick in ticks if tick["started"])


def _last(values: Iterable[float]) -> float:
    return list(values)[-1]


class _Creator:
    """Creates RATE jobs a second over HTTP, as a person's program would."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.created = 0

    def run(self, seconds: float) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=self._url, headers=headers, timeout=60) as client:
            began = time.monotonic()
            for second in range(round(seconds)):
                time.sleep(max(0.0, began + second - time.monotonic()))
                client.post("/jobs/batch", json={"jobs": _batch(second)}).raise_for_status()
                self.created += RATE


def _batch(second: int) -> Sequence[Mapping[str, Any]]:
    soon = datetime.now(UTC)
    return [
        {
            "type": "fails_once" if n % 50 == 0 else "noop",
            "payload": {},
            **({"scheduled_at": (soon + timedelta(seconds=(n + second) % 120)).isoformat()} if n % 2 else {}),
        }
        for n in range(RATE)
    ]


def _tick(bed: Bed, reports: list[dict[str, Any]]) -> threading.Thread:
    """Start what the schedule starts each minute."""
    process = _spawn(bed, linger="70", budget="110", RETENTION_DAYS="1")
    thread = threading.Thread(target=lambda: reports.append(finished(process)))
    thread.start()
    return thread


def _spawn(bed: Bed, *, linger: str, budget: str, **env: str) -> "subprocess.Popen[str]":
    return bed.spawn("--linger", linger, STORE="direct", LINGER_SECONDS=linger, TICK_BUDGET_SECONDS=budget, **env)


_STATS = """
select relname, n_dead_tup, pg_total_relation_size(relid) / 1048576.0
from pg_stat_user_tables where schemaname = 'sweephand' and relname = any (%s)
"""
_SPENT = """
select sum(f.total_time) filter (where f.funcname = 'sweephand_start_v1'),
       sum(f.total_time) filter (where f.funcname = 'sweephand_settle_v1'),
       (select n_tup_ins from pg_stat_user_tables where schemaname = 'sweephand' and relname = 'leases')
from pg_stat_user_functions f where f.schemaname = 'public'
"""


class _Sampler:
    """Looks at the tables: dead rows and MB of each, and what start and settle took since the look before."""

    def __init__(self, bed: Bed) -> None:
        self._sql = bed.sql
        self._began = time.monotonic()
        self._before = self._spent()
        self.samples: list[dict[str, float]] = []

    def look(self) -> None:
        """Take a sample: `minute`, `start` and `settle` in us a job, `<table> dead`, `<table> mb`."""
        sample = {"minute": (time.monotonic() - self._began) / 60}
        for table, dead, mb in self._sql.execute(_STATS, (list(TABLES),)).fetchall():
            sample |= {f"{table} dead": float(dead), f"{table} mb": float(mb)}
        spent = self._spent()
        start, settle, jobs = (now - before for now, before in zip(spent, self._before, strict=True))
        self._before = spent
        self.samples.append(
            {**sample, "start": start * 1000 / max(jobs, 1), "settle": settle * 1000 / max(jobs, 1)}
        )

    def told(self) -> str:
        """Tell of the last sample in a line."""
        last = self.samples[-1]
        parts = [f"{table} {last[f'{table} dead']:,.0f} dead, {last[f'{table} mb']:,.0f} MB" for table in TABLES]
        return f"minute {last['minute']:.0f}: settle {last['settle']:.0f} us a job; " + "; ".join(parts)

    def _spent(self) -> list[float]:
        return [float(value or 0) for value in self._sql.execute(_SPENT).fetchone() or ()]


def picture(title: str, samples: Sequence[Mapping[str, float]]) -> str:
    """Return a chart of the tables' dead rows and sizes, and of PostgreSQL's time for each job."""

    def series(names: Iterable[str], suffix: str = "") -> dict[str, list[float]]:
        return {name: [sample[f"{name}{suffix}"] for sample in samples] for name in names}

    hot, cold = ("open", "leases"), ("jobs", "finished")
    panels = [
        ("Dead rows in the tables that every job passes through", series(hot, " dead")),
        ("Size of these tables with their indexes, in MB", series(hot, " mb")),
        ("Dead rows in the tables that keep a job until retention deletes it", series(cold, " dead")),
        ("Size of these tables with their indexes, in MB", series(cold, " mb")),
        ("PostgreSQL's time for each job, in µs", series(("start", "settle"))),
    ]
    # A child's peak memory includes its parent's at the fork, and this library is large.
    from tests.benchmarks import chart  # noqa: PLC0415

    return chart.lines(title, panels, [sample["minute"] for sample in samples])
