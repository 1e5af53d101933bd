"""A deployment of the tick on the real services, with handlers that misbehave on request."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from infra.local.services.services import Services
from sweephand import app
from sweephand.adapters.clock import SystemClock
from sweephand.domain.job import NewJob
from sweephand.handlers import registry
from sweephand.usecases.tick.report import Report

ROOT = Path(__file__).parents[2]


class Deployment:
    """What a test does with the tick: create jobs, run ticks, look at rows, ledger and index."""

    def __init__(self, stack: Services, ledger: Path) -> None:
        self.stack = stack
        self.ledger = ledger
        self.redis = redis.Redis.from_url(stack.valkey.url)
        self.sql = psycopg.connect(stack.database_url, autocommit=True)

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()
        self.sql.close()

    def create(self, type_: str, payload: Mapping[str, Any] | None = None, **fields: Any) -> str:
        """Create a job as the API does, index included, and return its id."""
        body = {"type": type_, "payload": payload or {}, **fields}
        return str(app.creator()(body, "tests")[0]["id"])

    def insert(self, type_: str, count: int = 1, payload: str = "{}", **fields: Any) -> list[str]:
        """Insert jobs into the record alone."""
        jobs = [NewJob(SystemClock().job_id(), type_, json.loads(payload), **fields) for _ in range(count)]
        return [str(job["id"]) for job in app.record().create(jobs).jobs]

    def tick(self, budget: float | None = None, linger: float = 0) -> Report:
        """Run one tick in this process."""
        return app.run(app.tick(budget, linger))

    def spawn(self, *options: str) -> "subprocess.Popen[str]":
        """Start `sweephand tick` as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "sweephand", "--verbose", "tick", *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def job(self, job: str) -> Mapping[str, Any]:
        """Return a job, whole."""
        found = app.record().get(uuid.UUID(job))
        assert found is not None
        return found

    def statuses(self) -> Counter[str]:
        """Return how many jobs stand where."""
        rows = self.sql.execute("select status, count(*) from sweephand.job_state group by 1").fetchall()
        return Counter(dict(rows))

    def entries(self) -> Counter[str]:
        """Return how often each job was entered."""
        return Counter(line.split()[0] for line in self.ledger.read_text().splitlines())

    def order(self) -> list[str]:
        """Return the jobs in the order in which they were entered."""
        return [line.split()[0] for line in self.ledger.read_text().splitlines()]

    def times(self) -> dict[str, float]:
        """Return when each job was last entered, in Unix time."""
        return {job: float(at) for job, _, at in map(str.split, self.ledger.read_text().splitlines())}

    def make_due(self) -> None:
        """Let every wait have passed, and the index forget it."""
        self.sql.execute("update sweephand.open set run_at = now()")
        self.redis.flushall()

    def lapse(self) -> None:
        """Let every lease have expired."""
        self.sql.execute(
            "update sweephand.leases set started_at = now() - interval '2 h', until = now() - interval '1 h'"
        )

    def wait_for_entry(self, count: int = 1) -> None:
        """Wait until so many entries stand in the ledger; pytest's time limit ends a vain wait."""
        while len(self.ledger.read_bytes().splitlines()) < count:
            time.sleep(0.005)  # the jobs need the processor


@pytest.fixture
def deployment(clean: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """Yield a deployment whose settings are this process's and its children's environment."""
    ledger = tmp_path / "ledger"
    ledger.touch()
    for name, value in {**clean.env, "HANDLERS": "tests.tick.workers", "LEDGER": str(ledger)}.items():
        monkeypatch.setenv(name, value)
    forget()
    made = Deployment(clean, ledger)
    yield made
    made.close()
    app.close()
    forget()


def forget() -> None:
    """Forget what the composition root made from another environment, and the handlers that tests have added."""
    for name in dir(app):
        if hasattr(cached := getattr(app, name), "cache_clear"):
            cached.cache_clear()
    for name, handler in list(registry._registered.items()):
        if handler.run.__module__.startswith("tests."):
            del registry._registered[name]
            sys.modules.pop(handler.run.__module__, None)


def environment() -> dict[str, str]:
    """Return this process's environment."""
    return dict(os.environ)
