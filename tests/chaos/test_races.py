"""Races that a run meets once in a million: two calls of the record, held at the worst moment by a third."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from infra.local.services.services import Services
from sweephand.adapters import rest as rest_rpc
from sweephand.domain.retry_policy import Complete, Decision, RetryAfter
from sweephand.ports.record import Record, Settlement, Started, Verdict
from tests.record.conftest import LEASES, a_job, made, started


@pytest.fixture
def record(clean: Services) -> Iterator[Record]:
    """Yield the record over the functions' own transport."""
    rpc = rest_rpc.connect(clean.env["SUPABASE_URL"], clean.env["SUPABASE_KEY"])
    yield Record(rpc)
    rpc.close()


@contextmanager
def start_that_waits(clean: Services, record: Record, jobs: list[str]) -> Iterator["Future[Started]"]:
    """Begin a start of `jobs` that has read which are due and waits for the mutex of the first; end its wait.

    Without the limit of 50 ms, in which a test cannot do all that may happen meanwhile.
    """
    start_v1 = "alter function public.sweephand_start_v1 set lock_timeout = "
    with psycopg.connect(clean.database_url, autocommit=True) as owner:
        owner.execute(start_v1 + "'0'")
        try:
            yield from _held_start(clean, record, jobs)
        finally:
            owner.execute(start_v1 + "'50ms'")


def _held_start(clean: Services, record: Record, jobs: list[str]) -> Iterator["Future[Started]"]:
    with psycopg.connect(clean.database_url) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute(
            "insert into sweephand.leases (id, token, created_at, started_at, until) "
            "values (%s, gen_random_uuid(), now(), now(), now() + interval '1 s')",
            (jobs[0],),
        )
        call = pool.submit(record.start, jobs, str(uuid.uuid4()), LEASES, exclusive=False, max_bytes=10**7)
        with psycopg.connect(clean.superuser_url, autocommit=True) as watcher:
            while not watcher.execute(
                "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%sweephand_start_v1%'"
            ).fetchall():
                time.sleep(0.01)
        yield call
        holder.rollback()
        call.result()


@pytest.mark.parametrize(
    ("decision", "verdict"),
    [(RetryAfter(60, "raised", "boom"), Verdict.EARLY), (Complete(None), Verdict.FINAL)],
    ids=["retry", "done"],
)
def test_a_start_that_waited_starts_nothing_that_was_tried_meanwhile(
    clean: Services, record: Record, decision: Decision, verdict: Verdict
) -> None:
    """A job that another start took, ran and settled in the meantime is neither started early nor kept leased.

    Guards: the second reading of `open` in `sweephand_start_v1`, with `run_at <= moment`, and `release` after it.
    """
    first, second = sorted(made(record, a_job(), a_job()))
    with start_that_waits(clean, record, [first, second]) as call:
        [start] = started(record, second)
        record.settle([Settlement(second, start.token, decision)])
    answer = call.result()
    assert [s.id for s in answer.starts] == [first]
    assert answer.others[second][0] is verdict
    with psycopg.connect(clean.database_url) as sql:
        assert sql.execute("select id::text from sweephand.leases").fetchall() == [(first,)]


def test_a_start_that_waited_does_not_take_a_lost_job_into_company(clean: Services, record: Record) -> None:
    """A job that was lost with its function in the meantime starts alone, or not now.

    Guards: `crashes < 2 or alone` in the second reading of `sweephand_start_v1`.
    """
    first, second = sorted(made(record, a_job(), a_job()))
    with start_that_waits(clean, record, [first, second]) as call:
        [start] = started(record, second)
        with psycopg.connect(clean.database_url) as sql:
            sql.execute("update sweephand.leases set until = started_at + interval '1 us' where id = %s", (second,))
            sql.execute("update sweephand.open set crashes = 1, attempt = 1 where id = %s", (second,))
        assert record.restore(["noop"], 1000, 10, entered={start.token: [second]}).rescued == 1
    answer = call.result()
    assert [s.id for s in answer.starts] == [first]
    assert answer.others[second][0] is Verdict.EXCLUSIVE


def test_a_start_call_that_comes_again_after_its_settlement_starts_nothing(clean: Services, record: Record) -> None:
    """A call that the network held back, and whose caller asked again and settled, leases nothing for nobody.

    Guards: `token is distinct from` in `sweephand_start_v1`.
    """
    [job] = made(record)
    token = str(uuid.uuid4())
    [start] = record.start([job], token, LEASES, exclusive=False, max_bytes=10**7).starts
    record.settle([Settlement(job, start.token, RetryAfter(0, "raised", "boom"))])
    again = record.start([job], token, LEASES, exclusive=False, max_bytes=10**7)
    assert not again.starts
    assert again.others[job][0] is Verdict.EARLY
    assert [s.attempt for s in started(record, job)] == [2]
