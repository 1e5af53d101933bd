"""The work of a chaos run: jobs by SQL and through the API, and cancels that race with their starts."""

import functools
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import psycopg

from tests.chaos.handlers import SECRET

MIX = {
    "quick": 7800, "brief": 1000, "slow": 200, "thread": 300, "process": 100, "flaky": 200, "later": 100,
    "hopeless": 50, "hang": 40, "exits": 15, "memory": 10, "base": 40, "nojson": 40, "big": 10,
    "secretive": 30, "refused": 30, "late": 30, "newer": 80,
}  # fmt: skip
"""Jobs of each kind in 10,000; poison and stuck come by count."""
Answer = TypeVar("Answer")
SQL = """
insert into sweephand.jobs (id, type, payload, priority, max_retries, scheduled_at, expires_at)
select id, type, payload::jsonb, priority, max_retries, now() + wait * interval '1 s',
       now() + expires * interval '1 s'
from unnest(%s::uuid[], %s::text[], %s::text[], %s::int[], %s::int[], %s::float8[], %s::float8[])
  as j(id, type, payload, priority, max_retries, wait, expires)
on conflict (id) do nothing
"""
SCHEDULES = """
insert into sweephand.schedules (name, every, misfire, misfire_limit, misfire_age, overlap, end_at, job)
select 'chaos-' || n, 'PT' || 1 + n % 3 || 'S', case when n % 2 = 0 then 'all' else 'once' end, 1000, 'P1D',
       case when n % 2 = 0 then 'allow' else 'skip' end, now() + %s * interval '1 s',
       jsonb_build_object('type', case when n % 3 = 0 then 'slow' else 'quick' end, 'payload', '{"n": 1}'::jsonb)
from generate_series(1, 6) n
on conflict (owner, name) do nothing
"""


@dataclass
class Asked:
    """What was accepted, and what was confirmed cancelled, with the real time of the confirmation."""

    accepted: list[str] = field(default_factory=list)
    cancelled: dict[str, float] = field(default_factory=dict)
    explained: dict[str, str] = field(default_factory=dict)
    """Status of jobs that were explained at random moments, where it was a final one."""
    explanations: int = 0
    refused_cancels: int = 0
    by_api: int = 0
    touched: set[str] = field(default_factory=set)
    """Jobs that a user's transaction held, whatever became of it."""
    deleted: set[str] = field(default_factory=set)
    lives: dict[str, int] = field(default_factory=dict)
    """Ids that were deleted and inserted anew, with the `n` of the new job's payload."""
    transactions: Counter[str] = field(default_factory=Counter)
    """How a user's transactions ended: committed, rolled back, refused."""


class Load(threading.Thread):
    """Creates `jobs` jobs over `seconds`, `burst` of them due in the same second, and cancels one in fifty."""

    def __init__(  # noqa: PLR0913 - each is one setting, by name
        self,
        jobs: int,
        seconds: float,
        rng: random.Random,
        database_url: str,
        *,
        api: "Api | None" = None,
        asked: Asked | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.asked = asked or Asked()
        self.harmless = False
        """Whether jobs that kill or block their function are held back."""
        self.failed: BaseException | None = None
        self._jobs, self._seconds, self._rng = jobs, seconds, rng
        self._database_url, self._api = database_url, api

    def run(self) -> None:
        """Do it; what goes wrong is kept in `failed`."""
        try:
            self._create()
        except BaseException as e:  # noqa: BLE001 - told by the run
            self.failed = e

    def _create(self) -> None:
        burst = self._jobs * 5 // 6
        self._insert([self._job(wait=3.0) for _ in range(burst)])
        _until_done(self._schedule, psycopg.Error)
        left = self._jobs - burst
        special = ["poison"] * max(1, self._jobs // 5000) + ["stuck"] * max(1, self._jobs // 5000)
        began = time.monotonic()
        rounds = max(1, round(self._seconds / 0.5))
        for turn in range(rounds):
            share = left // (rounds - turn)
            left -= share
            by_api = min(share, self._rng.randrange(1, 5)) if self._api else 0
            if special and turn % max(1, rounds // 20) == 0 and not self.harmless:
                self._insert([self._job(special.pop())])
                left -= 1
            self._insert([self._job() for _ in range(share - by_api)])
            if self._api:
                self._use_api(self._api, by_api, int(share / 10 + self._rng.random()))
            time.sleep(max(0, began + (turn + 1) * self._seconds / rounds - time.monotonic()))
        while self.harmless:
            time.sleep(0.2)
        self._insert([self._job(kind) for kind in special])

    def _job(self, kind: str | None = None, wait: float | None = None) -> tuple[Any, ...]:
        rng = self._rng
        kind = kind or rng.choices(list(MIX), list(MIX.values()))[0]
        wait = wait if wait is not None else rng.choice((-5.0, 0.0, 0.0, rng.uniform(0, 10)))
        type_, payload, expires = kind, f'{{"n": {rng.randrange(100)}}}', None
        if kind == "refused":
            type_, payload = "quick", f'{{"unknown": "{SECRET}"}}'
        elif kind == "late":
            type_, expires = "quick", wait + rng.choice((-10, 0.05, 5))
        elif kind == "secretive":
            payload = f'{{"note": "{SECRET}"}}'
        retries = 0 if kind in ("base", "nojson", "big", "exits", "memory", "hang", "stuck") else 3
        return (str(uuid.UUID(int=rng.getrandbits(128), version=4)), type_, payload, rng.choice((0, 0, 0, 5, 9)),
                retries, wait, expires)  # fmt: skip

    def _insert(self, jobs: list[tuple[Any, ...]]) -> None:
        """Insert by SQL; after a cut connection again, with the same ids."""
        for at in range(0, len(jobs), 5000):
            part = jobs[at : at + 5000]
            columns = [list(column) for column in zip(*part, strict=True)]
            _until_done(functools.partial(self._execute, columns), psycopg.Error)
            self.asked.accepted += columns[0]

    def _schedule(self) -> None:
        """Insert schedules that fire until the load ends."""
        with psycopg.connect(self._database_url, connect_timeout=5) as connection:
            connection.execute(SCHEDULES, (self._seconds,))

    def _execute(self, columns: list[list[Any]]) -> None:
        with psycopg.connect(self._database_url, connect_timeout=5) as connection:
            connection.execute(SQL, columns)

    def _use_api(self, api: "Api", creates: int, cancels: int) -> None:
        for _ in range(creates):
            self._create_by_api(api)
        for job in self._some(self.asked.accepted[-2000:], cancels):
            self._cancel(api, job)
        for job in self._some(self.asked.accepted, 3):
            self._explain(api, job)

    def _some(self, jobs: list[str], count: int) -> list[str]:
        return [j for j in self._rng.sample(jobs, k=min(len(jobs), count)) if j not in self.asked.touched]

    def _explain(self, api: "Api", job: str) -> None:
        explained = api.explain(job)
        if explained is None:
            assert job in self.asked.touched, job
            return
        assert explained["because"], explained
        self.asked.explanations += 1
        if explained["status"] in ("completed", "failed", "cancelled"):
            self.asked.explained[job] = explained["status"]

    def _create_by_api(self, api: "Api") -> None:
        _, type_, payload, priority, retries, _, _ = self._job("quick")
        body = f'{{"type": "{type_}", "payload": {payload}, "priority": {priority}, "max_retries": {retries}}}'
        self.asked.accepted.append(api.create(body, key=f"{self._rng.getrandbits(64):x}"))
        self.asked.by_api += 1

    def _cancel(self, api: "Api", job: str) -> None:
        if api.cancel(job):
            self.asked.cancelled.setdefault(job, time.time())
        else:
            self.asked.refused_cancels += 1


class Api:
    """A patient client: it asks again, with the same Idempotency-Key, until it has an answer."""

    def __init__(self, url: str, key: str) -> None:
        self.retried = 0
        self.broken = 0
        """Answers of 500 and above that were no 503."""
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=40)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def create(self, body: str, key: str) -> str:
        """Return the new job's id."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        answer = self._ask("POST", "/jobs", content=body, headers=headers)
        assert answer.status_code == 201, answer.text
        made: str = answer.json()["id"]
        return made

    def cancel(self, job: str) -> bool:
        """Tell whether the job is confirmed cancelled."""
        answer = self._ask("PUT", f"/jobs/{job}/cancel")
        assert answer.status_code in (200, 404, 409), answer.text
        return answer.status_code == 200

    def explain(self, job: str) -> Any:
        """Return why a job is where it is; None where there is none."""
        answer = self._ask("GET", f"/jobs/{job}/explain")
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else None

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        def ask() -> httpx.Response:
            answer = self._http.request(method, path, **options)
            if answer.status_code >= 500:
                self.broken += answer.status_code != 503
                raise httpx.ReadError(str(answer.status_code))
            return answer

        def again() -> None:
            self.retried += 1

        return _until_done(ask, httpx.HTTPError, again)


def _until_done(
    act: Callable[[], Answer],
    passing: type[Exception],
    again: Callable[[], None] = lambda: None,
    limit: float = 120,
) -> Answer:
    until = time.monotonic() + limit
    while True:
        try:
            return act()
        except passing:
            if time.monotonic() > until:
                raise
            again()
            time.sleep(0.2)
