"""`overlap: skip`, judged when a job is to start."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from sweephand.adapters import direct
from sweephand.domain.retry_policy import Complete, RetryAfter
from sweephand.ports.record import Record, Settlement, Started, Verdict
from tests.schedules.conftest import Schedules

LEASES = {"anything": 30_000}


def start(record: Record, *ids: str) -> Started:
    """Start jobs with a token of their own."""
    return record.start(ids, str(uuid.uuid4()), LEASES, exclusive=False, max_bytes=10**7)


def due(schedules: Schedules, name: str = "often", **columns: Any) -> list[str]:
    """Return the two jobs of a schedule, both due."""
    schedules.insert(name, cron="* * * * *", **columns)
    schedules.look()
    schedules.clock.move(minutes=2)
    return schedules.jobs(name)[:2]


def status(schedules: Schedules, job: str) -> tuple[Any, Any]:
    """Return a job's status and reason."""
    found = schedules.record.get(uuid.UUID(job))
    assert found is not None
    return found["status"], found["reason"]


def test_of_two_in_one_call_one_starts(schedules: Schedules) -> None:
    """Of two fires in one start call the first runs; the other is cancelled with the reason, and counted."""
    first, second = due(schedules)
    started = start(schedules.record, second, first)
    assert [each.id for each in started.starts] == [first]
    assert started.others[second][0] is Verdict.FINAL
    assert status(schedules, second) == (
        "cancelled",
        "overlap: another job of schedule often was running or waiting for a retry",
    )
    assert schedules.row("often")["skipped"] == {"overlap": 1}


def test_running_job_skips_the_next(schedules: Schedules) -> None:
    """A fire is skipped while another job of its schedule runs, and not when that has ended."""
    first, second = due(schedules)
    (running,) = start(schedules.record, first).starts
    assert start(schedules.record, second).starts == []
    schedules.record.settle([Settlement(running.id, running.token, Complete(None))])
    schedules.look()
    schedules.clock.move(minutes=1)
    third = schedules.jobs("often")[2]
    assert [each.id for each in start(schedules.record, third).starts] == [third]


def test_retry_skips_the_next_and_is_not_skipped(schedules: Schedules) -> None:
    """A job that waits for its retry has the next fire skipped, and then starts itself."""
    first, second = due(schedules)
    (running,) = start(schedules.record, first).starts
    schedules.record.settle([Settlement(running.id, running.token, RetryAfter(0, "raised", "no"))])
    started = start(schedules.record, first, second)
    assert [each.id for each in started.starts] == [first]
    assert status(schedules, second)[0] == "cancelled"


def test_other_schedules_and_allow_start_together(schedules: Schedules) -> None:
    """`overlap: allow` starts both; two schedules do not know of one another."""
    both = due(schedules, "both", overlap="allow")
    assert len(start(schedules.record, *both).starts) == 2
    one, another = due(schedules, "one")[0], due(schedules, "another")[0]
    assert len(start(schedules.record, one, another).starts) == 2


def test_run_by_hand_counts(schedules: Schedules) -> None:
    """A job that was made by hand has a fire skipped, as any other of the schedule."""
    first, _ = due(schedules)
    by_hand = str(uuid.uuid4())
    schedules.sql.execute("select public.sweephand_run_schedule_v1('often', %s)", (by_hand,))
    assert len(start(schedules.record, by_hand).starts) == 1
    assert start(schedules.record, first).starts == []


def test_starts_at_once_start_one(schedules: Schedules, clean: Any) -> None:
    """Of eight calls at once, each for a job of its own of one schedule, one starts its job at most."""
    schedules.insert("often", every="PT1S")
    schedules.look()
    schedules.clock.move(seconds=60)
    jobs = schedules.jobs("often")[:8]
    rpcs = [direct.connect(clean.database_url) for _ in jobs]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda rpc, job: start(Record(rpc), job), rpcs, jobs))
    for rpc in rpcs:
        rpc.close()
    assert sum(len(answer.starts) for answer in answers) == 1
    told = {verdict for answer in answers for verdict, _ in answer.others.values()}
    assert told <= {Verdict.FINAL, Verdict.BUSY}


def test_held_schedule_makes_its_jobs_wait(schedules: Schedules, clean: Any) -> None:
    """While a user's transaction holds the schedule its jobs are busy, and others start in the same call."""
    first, _ = due(schedules)
    schedules.insert("free", cron="* * * * *", overlap="allow")
    schedules.look()
    schedules.clock.move(minutes=1)
    free = schedules.jobs("free")[0]
    with psycopg.connect(clean.database_url) as user:
        user.execute("select 1 from sweephand.schedules where name = 'often' for update")
        started = start(schedules.record, first, free)
        assert [each.id for each in started.starts] == [free]
        assert started.others[first] == (Verdict.BUSY, 1000)
    assert [each.id for each in start(schedules.record, first).starts] == [first]


def test_job_of_a_deleted_schedule_starts(schedules: Schedules) -> None:
    """A job that outlived its schedule starts, and of two of them one."""
    first, second = due(schedules)
    schedules.sql.execute("delete from sweephand.schedules")
    assert [each.id for each in start(schedules.record, first, second).starts] == [first]
    assert status(schedules, second)[0] == "cancelled"


def test_backfill_runs_side_by_side(schedules: Schedules) -> None:
    """Jobs of a backfill carry no mark: they start beside one another, and skip nobody."""
    first, _ = due(schedules)
    row = schedules.row("often")
    fires = '[["2026-06-01T11:00:00Z", null], ["2026-06-01T11:01:00Z", null]]'
    schedules.sql.execute("select public.sweephand_backfill_v1(%s, %s, %s)", (row["id"], row["revision"], fires))
    rows = schedules.sql.execute("select id from sweephand.jobs where fire_at < '2026-06-01 11:30+00'").fetchall()
    filled = [str(id_) for (id_,) in rows]
    assert len(start(schedules.record, *filled, first).starts) == 3
