"""The services that benchmarks run on, and what every section does with them."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import psycopg
import redis
from psycopg.rows import tuple_row

from infra.local.services.processes import children
from infra.local.services.service import Service
from infra.local.services.services import Services
from infra.local.serving import serverless_yml
from infra.local.serving.function_server import Functions, FunctionServer
from sweephand.layout import ROOT

KEY = "benchmark"
TABLES = "jobs, open, leases, finished, errors, idempotency"
SERVER = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
"""As the peers' harness sets PostgreSQL; fsync and synchronous_commit stay on."""
TYPES = ("noop", "io_10_ms", "email_notification", "resize_image", "generate_pdf")


class Bed:
    """A stack with fresh tables and an empty index whenever asked, and processes that run ticks on it."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.scale = scale
        self.folder = folder
        self.stack = Services(folder / "stack")
        self.stack.postgres.settings = {**self.stack.postgres.settings, **SERVER}

    def __enter__(self) -> Self:
        """Start the services."""
        self.stack.start()
        self.sql = psycopg.connect(self.stack.superuser_url, autocommit=True, row_factory=tuple_row)
        self.redis = redis.Redis.from_url(self.stack.valkey.url)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them."""
        self.sql.close()
        self.redis.close()
        self.stack.stop()

    def scaled(self, count: int, least: int = 100) -> int:
        """Return a number of jobs as SCALE has it."""
        return max(least, round(count * self.scale))

    def env(self, **more: str) -> dict[str, str]:
        """Return the functions' settings."""
        return {
            **self.stack.env,
            "SWEEPHAND_API_KEYS": KEY,
            "HANDLERS": "tests.benchmarks.handlers",
            "MAIL_FROM": "sweephand@example.com",
            "TICK_BUDGET_SECONDS": "600",
            "LINGER_SECONDS": "0",
            **more,
        }

    def clear(self) -> None:
        """Forget all jobs."""
        names = ", ".join(f"sweephand.{name}" for name in TABLES.split(", "))
        self.sql.execute(f"truncate {names}".encode())
        self.redis.flushall()

    def fill(self, type_: str, count: int, payload: str = "{}", when: str = "now()") -> None:
        """Insert jobs, and leave the tables vacuumed, as the peers' are before a drain."""
        self.sql.execute(
            "insert into sweephand.jobs (type, payload, scheduled_at)"
            f" select %s, replace(%s, '$N', n::text)::jsonb, {when} from generate_series(1, %s) n".encode(),
            (type_, payload, count),
        )
        self._settle_tables()

    def fill_types(self, types: Sequence[str], count: int) -> None:
        """Insert jobs of these types in turns, and leave the tables as `fill` does."""
        self.sql.execute(
            "insert into sweephand.jobs (type) select (%s::text[])[1 + n %% %s] from generate_series(1, %s) n",
            (list(types), len(types), count),
        )
        self._settle_tables()

    def _settle_tables(self) -> None:
        for table in ("jobs", "open"):
            self.sql.execute(f"vacuum analyze sweephand.{table}".encode())
        self.sql.execute("checkpoint")

    def wait_until_asleep(self) -> None:
        """Wait until no tick is active (`sync_and_claim.lua`)."""
        while any(self.redis.scan_iter("*:active")):
            time.sleep(0.05)

    def index(self, **env: str) -> None:
        """Put what is due soon into the index, as creating it by the API does."""
        self.run("-m", "sweephand", "sync", "--json", **env)

    def run(self, *words: str, **env: str) -> str:
        """Run Python and return what it printed."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, **self.env(**env)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr[-2000:]}")
        return done.stdout

    def ticks(self, count: int, *options: str, **env: str) -> list[dict[str, Any]]:
        """Run so many ticks side by side; return their reports, as `finished` does."""
        processes = [self.spawn(*options, **env) for _ in range(count)]
        return [finished(process) for process in processes]

    def spawn(self, *options: str, **env: str) -> "subprocess.Popen[str]":
        """Start a tick."""
        return subprocess.Popen(
            [sys.executable, "-m", "sweephand", "tick", *options],
            cwd=ROOT,
            env={**os.environ, **self.env(**env)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def spent(self) -> dict[str, float]:
        """Return the CPU that the services have used so far in us, and the bytes of WAL that were written."""
        stack = self.stack
        row = self.sql.execute("select pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row is not None
        return {
            "record_us": _cpu_us(stack.postgres),
            "rest_us": _cpu_us(stack.postgrest) + _cpu_us(stack.supabase_gateway),
            "index_us": _cpu_us(stack.valkey),
            "wal_bytes": float(row[0]),
        }

    def drained(self) -> tuple[int, float]:
        """Return how many jobs were completed, and the seconds from the first start to the last settle."""
        row = self.sql.execute(
            "select count(*), extract(epoch from max(finished_at) - min(started_at))"
            " from sweephand.finished where status = 'completed'"
        ).fetchone()
        assert row is not None
        return int(row[0]), float(row[1] or 0)

    def lateness(self, type_: str = "%") -> dict[str, float]:
        """Return p50, p99 and max of start minus due of the jobs of a type, in ms."""
        row = self.sql.execute(
            "select percentile_cont(array[0.5, 0.99, 1]) within group"
            " (order by extract(epoch from started_at - run_at) * 1000)"
            " from sweephand.finished where type like %s",
            (type_,),
        ).fetchone()
        p50, p99, most = row[0] if row and row[0] else (0, 0, 0)
        return {"p50": float(p50), "p99": float(p99), "max": float(most)}

    @contextlib.contextmanager
    def gateway(self, **env: str) -> Iterator[str]:
        """Serve the HTTP functions behind their routes, and yield where."""
        functions = Functions(str(ROOT / "main.py"), routes=str(serverless_yml.FILE), threads=16)
        with FunctionServer("gateway", functions, env=self.env(**env), log=self.folder / "gateway.log") as server:
            yield server.url

    @contextlib.contextmanager
    def tick_server(self) -> Iterator[str]:
        """Serve the scheduled function, which nobody calls but who wakes it, and yield where."""
        functions = Functions(str(ROOT / "main.py"), function="tick", threads=4)
        env = self.env(LINGER_SECONDS="70", TICK_BUDGET_SECONDS="110")
        with FunctionServer("tick", functions, env=env, log=self.folder / "tick.log") as server:
            yield server.url

    @contextlib.contextmanager
    def receiver(self) -> Iterator[str]:
        """Serve what answers every request, as cheaply as Python can, and yield where."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.receiver"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    @contextlib.contextmanager
    def hello(self) -> Iterator[str]:
        """Serve a function that does nothing, in the same way."""
        source = self.folder / "hello.py"
        source.write_text("def hello(request):\n    return {'hello': request.path}\n")
        functions = Functions(str(source), function="hello", threads=16)
        with FunctionServer("hello", functions, env=self.env(), log=self.folder / "hello.log") as server:
            yield server.url


def _cpu_us(service: Service) -> float:
    """Return the CPU of a service with its processes, also those that have ended; 0 where there is no /proc."""
    pid = service.pid
    assert pid is not None
    ticks = 0
    for each in (pid, *children(pid)):
        with contextlib.suppress(OSError):
            own = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:15]
            ticks += sum(map(int, own if each == pid else own[:2]))
    return ticks * 1e6 / os.sysconf("SC_CLK_TCK")


def finished(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Wait for a tick and return its report with `rss_mb` and `cpu_s`."""
    assert process.stdout is not None
    said = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"a tick ended with {process.returncode}: {said[-500:]}")
    report: dict[str, Any] = json.loads(said.splitlines()[-1])
    return {**report, "rss_mb": usage.ru_maxrss / 1024, "cpu_s": usage.ru_utime + usage.ru_stime}


def medians(times: int, measure: Callable[[], dict[str, float]]) -> dict[str, Any]:
    """Measure so many times; return each figure's median, and all runs."""
    runs = [measure() for _ in range(times)]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]} | {"runs": runs}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def speed() -> float:
    """Return million steps of a plain loop a second: how fast the machine is just now."""
    began, total = time.perf_counter(), 0
    for step in range(1_000_000):
        total += step
    return 1 / (time.perf_counter() - began)
