"""A tick is struck at each step of its pipeline: what follows is always the same as if it had not been."""

import asyncio
import json
import signal
import time
import uuid

import pytest

from sweephand import app
from sweephand.adapters.clock import SystemClock
from sweephand.domain.attempt import Claim, NotRun, Outcome, Succeeded
from sweephand.usecases.tick.run import WorkerPool
from tests.chaos.conftest import Strike, wait_until_frozen
from tests.chaos.tick import STEPS
from tests.domain.attempts import attempt
from tests.tick.conftest import Deployment

LEASE_MARGIN = 0.5
"""Seconds after which the frozen ticks of these tests, by their own clock, have no lease left for a whole run."""


def let_time_pass(deployment: Deployment) -> None:
    """Let leases, holds and waits be over, as the real time would have it."""
    deployment.lapse()
    deployment.make_due()


@pytest.mark.parametrize("step", STEPS)
def test_a_tick_killed_at_any_step_loses_nothing(deployment: Deployment, strike: Strike, step: str) -> None:
    """SIGKILL there: each job completes, entered once, or twice where its first start was lost.

    Guards: `sweephand.rescue_expired_leases`, and Moves.add's `ZADD NX` of every page.
    """
    jobs = [deployment.create("note") for _ in range(5)]
    process = strike(step, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    let_time_pass(deployment)
    deployment.tick()
    assert deployment.statuses() == {"completed": 5}
    entries = deployment.entries()
    assert set(entries) == set(jobs)
    assert max(entries.values()) <= 2
    for job in jobs:
        kinds = [error["kind"] for error in deployment.job(job)["errors"]]
        assert kinds in (["lost"] * len(kinds), ["crash"] * len(kinds))
        assert len(kinds) >= entries[job] - 1


@pytest.mark.parametrize("step", STEPS)
def test_a_tick_terminated_at_any_step_ends_in_order(deployment: Deployment, strike: Strike, step: str) -> None:
    """SIGTERM there: the tick exits with its report, nothing stays leased, nothing counts as a crash.

    Guards: `Tick.stop` and `Tick._wind_up`.
    """
    for _ in range(5):
        deployment.create("note")
    process = strike(step, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert deployment.sql.execute("select count(*) from sweephand.leases").fetchone() == (0,)
    deployment.make_due()
    deployment.tick()
    assert deployment.statuses() == {"completed": 5}
    assert max(deployment.entries().values()) == 1
    assert deployment.sql.execute("select count(*) from sweephand.errors").fetchone() == (0,)


@pytest.mark.parametrize("step", STEPS)
def test_a_tick_frozen_at_any_step_enters_nothing_when_it_wakes(
    deployment: Deployment, strike: Strike, step: str
) -> None:
    """SIGSTOP past the lease, everything done by another tick, SIGCONT: no job is entered again, nothing changes.

    Guards: `Run._may_run`; the token in `sweephand_settle_v1` and `sweephand_start_v1`.
    """
    jobs = [deployment.create("note") for _ in range(5)]
    process = strike(step, signal.SIGSTOP, lease_margin_ms=500)
    wait_until_frozen(process)
    before = deployment.entries()
    let_time_pass(deployment)
    deployment.tick()
    assert deployment.statuses() == {"completed": 5}
    after = deployment.entries()
    time.sleep(LEASE_MARGIN)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert deployment.statuses() == {"completed": 5}
    late = 1 if step == "enter.before" else 0  # it was past the last look at its lease
    assert sum(deployment.entries().values()) <= sum(after.values()) + late
    assert all(deployment.entries()[job] <= before[job] + 1 + late for job in jobs)


def test_a_tick_that_wakes_does_not_enter_what_was_cancelled_meanwhile(
    deployment: Deployment, strike: Strike
) -> None:
    """A job that was started, lost its lease to a freeze, and was cancelled is not entered when the tick goes on.

    Guards: `Run._may_run`.
    """
    job = deployment.create("note")
    process = strike("start.after", signal.SIGSTOP, lease_margin_ms=500)
    wait_until_frozen(process)
    deployment.lapse()
    app.record().restore(["note"], 1000, 10)  # another tick's look, which ends the lease
    answer = app.record().cancel(uuid.UUID(job))
    assert answer is not None
    assert answer.cancelled
    time.sleep(LEASE_MARGIN)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert deployment.entries() == {}
    assert deployment.job(job)["status"] == "cancelled"


@pytest.mark.parametrize("type_", ["note", "in_thread", "in_process"])
def test_no_isolation_enters_a_job_whose_lease_is_used_up(deployment: Deployment, type_: str) -> None:
    """A freeze may come between the pool and the task, thread or child that enters: they look at the lease again.

    The first job is entered, so that a child is ready and idle: one that is not yet is not asked at all.

    Guards: `attempt.run_by` in `run_async._run`, in `run_thread.in_thread` and in `shared/sweephand/child.py`.
    """
    jobs = [deployment.create(type_) for _ in range(2)]
    handler = app.handlers()[type_]
    token = str(uuid.uuid4())
    starts = app.record().start(jobs, token, {type_: 60_000}, exclusive=False, max_bytes=10**6).starts
    outcomes: list[Outcome] = []

    async def enter() -> None:
        runner = app.runners()[handler.isolation]
        pool = WorkerPool(runner, SystemClock(), lambda _it, _queued: True, lambda _it, o: outcomes.append(o))
        for start, left in zip(starts, (60, -1), strict=True):
            leased = attempt(
                claim=Claim(start.id, type_, 0, 0, 0),
                type=type_,
                payload=start.payload,
                handler=handler,
                run_by=time.monotonic() + left,
            )
            pool.put([leased])
            while pool.in_flight:  # noqa: ASYNC110 - a pool has no event to wait for
                await asyncio.sleep(0.01)
        runner.close()

    asyncio.run(enter())
    assert [type(outcome) for outcome in outcomes] == [Succeeded, NotRun]
    assert deployment.entries() == {jobs[0]: 1}


def test_a_tick_keeps_few_of_what_must_start_alone(deployment: Deployment, strike: Strike) -> None:
    """A tick that dies as it runs the first such job holds one claim's worth of them, not all that there are.

    Guards: MOST in `Quarantine`.
    """
    jobs = deployment.insert("note", 300)
    deployment.sql.execute("update sweephand.open set crashes = 2, attempt = 2")
    process = strike("start.before", signal.SIGKILL, nth=2)
    assert process.wait(60) == -signal.SIGKILL
    later = time.time() * 1000 + 4000
    [key] = deployment.redis.keys("*:due:note:0")
    assert deployment.redis.zcount(key, later, "+inf") <= 100
    deployment.make_due()
    assert deployment.tick().completed == 300
    assert deployment.entries() == dict.fromkeys(jobs, 1)


def test_a_terminated_tick_gives_back_what_is_leased_and_not_entered(deployment: Deployment) -> None:
    """Jobs that wait for a slot when SIGTERM comes are pending again at once; only what runs is waited for.

    Guards: `Run.release` in `Tick._wind_up`.
    """
    deployment.insert("slow", 800, '{"seconds": 0.3}')
    process = deployment.spawn()
    deployment.wait_for_entry(250)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    report = json.loads(out.splitlines()[-1])
    assert report["released"] > 0
    assert report["completed"] + report["released"] == report["started"]
    assert deployment.sql.execute("select count(*) from sweephand.leases").fetchone() == (0,)
