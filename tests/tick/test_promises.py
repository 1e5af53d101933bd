"""The promises, each as a test: nothing lost, nothing twice, budgets kept."""

import json
import shutil
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sweephand import app
from sweephand.domain.errors import RecordUnavailableError
from tests.tick.conftest import Deployment
from tests.waiting import blocked, wait_until


def test_a_flushed_index_loses_nothing(deployment: Deployment) -> None:
    """FLUSHALL between create and tick: every job runs at the next tick."""
    jobs = [deployment.create("note", {"n": n}) for n in range(20)]
    deployment.redis.flushall()
    report = deployment.tick()
    assert (report.completed, report.restored) == (20, 20)
    assert deployment.entries() == dict.fromkeys(jobs, 1)


def test_a_killed_tick_loses_nothing(deployment: Deployment) -> None:
    """SIGKILL in the middle: what was settled is not run again, what was lost with the process is."""
    quick = deployment.insert("slow", 30, '{"seconds": 0.05}')
    cut = deployment.insert("slow", 5, '{"seconds": 1}')
    process = deployment.spawn()
    while deployment.statuses()["completed"] < 30:
        pass
    process.kill()
    process.communicate()
    deployment.lapse()
    report = deployment.tick()
    assert (report.expired_leases, report.completed) == (5, 5)
    assert deployment.statuses() == {"completed": 35}
    assert deployment.entries() == dict.fromkeys(quick, 1) | dict.fromkeys(cut, 2)


def test_a_terminated_tick_finishes_what_runs_and_hands_back_the_rest(deployment: Deployment) -> None:
    """SIGTERM: the tick exits with its report; nothing is left leased, nothing counts as a crash."""
    deployment.insert("slow", 300, '{"seconds": 0.5}')
    process = deployment.spawn()
    deployment.wait_for_entry()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    report = json.loads(out.splitlines()[-1])
    assert report["stopped"] == "budget"
    assert report["completed"] == len(deployment.entries()) < 300
    assert deployment.sql.execute("select count(*) from sweephand.leases").fetchone() == (0,)
    assert deployment.sql.execute("select max(crashes), max(attempt) from sweephand.open").fetchone() == (0, 0)


def test_without_an_index_jobs_are_created_and_run(deployment: Deployment) -> None:
    """With Redis stopped, a job is created and a tick runs it from the record."""
    deployment.stack.valkey.stop()
    try:
        job = deployment.create("note")
        many = deployment.insert("note", 700)
        report = deployment.tick()
    finally:
        deployment.stack.valkey.start()
    assert report.completed == 701
    assert report.index_errors >= 1
    assert deployment.entries() == dict.fromkeys([job, *many], 1)


def test_an_index_from_an_old_backup_does_no_harm(deployment: Deployment) -> None:
    """Redis back from an old dump, with stale and without new entries: none early, none twice, none forgotten."""
    valkey = deployment.stack.valkey
    old = [deployment.create("note") for _ in range(5)]
    waiting = deployment.create("note", scheduled_at=(datetime.now(UTC) + timedelta(seconds=60)).isoformat())
    valkey.stop()
    backup = valkey.folder.with_name("backup")
    shutil.copytree(valkey.folder, backup)
    valkey.start()
    deployment.tick()
    new = [deployment.create("note") for _ in range(5)]
    valkey.stop()
    shutil.rmtree(valkey.folder)
    shutil.move(backup, valkey.folder)
    valkey.start()
    report = deployment.tick()
    assert report.completed == 5
    assert report.skipped == 5
    assert deployment.entries() == dict.fromkeys([*old, *new], 1)
    assert deployment.job(waiting)["status"] == "pending"


def test_eight_ticks_at_once_enter_each_job_once(deployment: Deployment) -> None:
    """Overlapping ticks share the work."""
    jobs = deployment.insert("note", 800)
    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(lambda _: deployment.tick(), range(8)))
    assert deployment.entries() == dict.fromkeys(jobs, 1)
    assert sum(report.completed for report in reports) == 800


def test_what_does_not_fit_the_budget_is_not_started(deployment: Deployment) -> None:
    """With less left than a type's time limit, its jobs stay, unclaimed; shorter ones run."""
    long, short = deployment.create("note"), deployment.create("sleepy")
    began = time.monotonic()
    report = deployment.tick(budget=4)
    assert time.monotonic() - began < 4
    assert deployment.job(long)["attempt"] == 0
    assert deployment.job(short)["attempt"] == 1
    assert report.stopped == "budget"


def test_a_busy_tick_keeps_its_budget(deployment: Deployment) -> None:
    """More work than the budget holds: the tick ends in time, and what it did not start is pending as before."""
    deployment.insert("sleepy", 3000)
    began = time.monotonic()
    report = deployment.tick(budget=5)
    assert time.monotonic() - began < 5
    assert report.stopped == "budget"
    assert 0 < report.started < 3000
    assert deployment.sql.execute("select count(*) from sweephand.leases").fetchone() == (0,)
    assert deployment.sql.execute("select max(attempt) from sweephand.open").fetchone() == (1,)


def test_no_long_queue_of_started_jobs(deployment: Deployment) -> None:
    """Slow jobs are started as slots come free: hardly more are leased than run."""
    deployment.insert("slow", 400, '{"seconds": 1}')
    process = deployment.spawn()
    deployment.wait_for_entry(100)
    leased = deployment.sql.execute("select count(*) from sweephand.leases").fetchone()
    assert leased is not None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert leased[0] <= 220


INSIDE_THE_SCRIPT = (
    "cmdstat_time", "cmdstat_zrange", "cmdstat_get", "cmdstat_llen", "cmdstat_zcard", "cmdstat_zrangebyscore",
    "cmdstat_set",
)  # fmt: skip
"""What Redis counts as calls although no client sent them."""


def test_an_idle_tick_costs_one_command_and_one_call(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On warm connections an idle tick makes one Redis command and one call of the record."""
    deployment.tick()
    calls: list[str] = []
    rpc = app.rpc()

    def counted(name: str, params: Mapping[str, Any]) -> Any:
        calls.append(name)
        return rpc(name, params)

    monkeypatch.setattr(app.record(), "_rpc", counted)
    before = deployment.redis.info("commandstats")
    assert deployment.tick().stopped == "drained"
    after = deployment.redis.info("commandstats")
    asked = {
        name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"]
        for name in after
        if name not in ("cmdstat_info", *INSIDE_THE_SCRIPT)
    }
    assert {name: n for name, n in asked.items() if n} == {"cmdstat_evalsha": 1}
    assert calls == ["sweephand_restore_v1"]


def test_the_index_holds_the_near_future_only(deployment: Deployment) -> None:
    """A job beyond the horizon is not in Redis, neither after its create nor after a tick."""
    far = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    near = (datetime.now(UTC) + timedelta(seconds=100)).isoformat()
    deployment.create("note", scheduled_at=far)
    deployment.insert("note", 10, scheduled_at=datetime.fromisoformat(far))
    deployment.create("note", scheduled_at=near)
    deployment.insert("note", 1, scheduled_at=datetime.fromisoformat(near))
    deployment.tick()
    assert sum(deployment.redis.zcard(key) for key in deployment.redis.keys("*:due:*")) == 2


def test_a_job_that_kills_its_function_costs_no_neighbour_an_attempt(deployment: Deployment) -> None:
    """A poison job is lost twice without having been known to begin, then four times, then fails.

    From the second of these on it runs alone, and its neighbours complete.
    """
    poison = deployment.create("poison")
    neighbours = [deployment.create("slow", {"seconds": 0.3}) for _ in range(10)]
    for _ in range(8):
        process = deployment.spawn()
        process.communicate(timeout=60)
        deployment.lapse()
        deployment.redis.flushall()  # as if the dead tick's claims had run out
    found = deployment.job(poison)
    assert (found["status"], found["crashes"], found["attempt"]) == ("failed", 4, 6)
    assert deployment.entries()[poison] == 6
    for job in neighbours:
        assert deployment.job(job)["status"] == "completed"
        assert deployment.job(job)["crashes"] <= 2
        assert not [e for e in deployment.job(job)["errors"] if e["kind"] not in ("crash", "lost")]


def test_a_suspect_runs_after_the_others(deployment: Deployment) -> None:
    """A job that was lost with its function twice starts when nothing else runs."""
    suspect = deployment.create("note")
    deployment.sql.execute("update sweephand.open set crashes = 2, attempt = 2")
    others = [deployment.create("slow", {"seconds": 0.2}) for _ in range(5)]
    report = deployment.tick()
    assert report.completed == 6
    assert deployment.order()[-1] == suspect
    assert set(deployment.order()[:-1]) == set(others)


def test_a_tick_without_a_record_says_so(deployment: Deployment) -> None:
    """With PostgREST away the tick ends with an error in bounded time; when it is back the next one works."""
    deployment.create("note")
    deployment.stack.postgrest.stop()
    try:
        with pytest.raises(RecordUnavailableError):
            deployment.tick(budget=4)
    finally:
        deployment.stack.postgrest.start()
    assert deployment.tick().completed == 1


def test_a_record_that_goes_away_in_mid_run_is_waited_for(deployment: Deployment) -> None:
    """Jobs that finish while the record is away are settled when it is back: none is run again."""
    jobs = deployment.insert("slow", 20, '{"seconds": 1}')
    process = deployment.spawn()
    deployment.wait_for_entry(20)
    deployment.stack.postgrest.stop()
    time.sleep(2)  # the time that the record is away is the test
    deployment.stack.postgrest.start()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert deployment.statuses() == {"completed": 20}
    assert deployment.entries() == dict.fromkeys(jobs, 1)


# ---------------------------------------------------------------- linger


def soon(seconds: float) -> str:
    """Return the time that is so many seconds from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def lateness(deployment: Deployment) -> list[float]:
    """Return how late each job was entered, in seconds, by this machine's clock."""
    entered = {line.split()[0]: float(line.split()[2]) for line in deployment.ledger.read_text().splitlines()}
    due: dict[str, float] = dict(
        deployment.sql.execute("select id::text, extract(epoch from run_at)::float8 from sweephand.jobs")
    )
    return sorted(at - due[job] for job, at in entered.items())


def test_a_tick_waits_for_what_is_known_to_come_due(deployment: Deployment) -> None:
    """A lingering tick runs jobs as they come due, and none early."""
    for n in range(10):
        deployment.create("note", scheduled_at=soon(0.5 + n * 0.15))
    report = deployment.tick(linger=20)
    assert (report.completed, report.stopped) == (10, "drained")
    assert report.lingered_ms > 1000
    assert lateness(deployment)[0] >= 0
    assert lateness(deployment)[5] < 1


def test_an_idle_tick_does_not_wait(deployment: Deployment) -> None:
    """With nothing known to come due a tick ends at once, however long it may linger."""
    deployment.create("note", scheduled_at=soon(100))
    report = deployment.tick(linger=20)
    assert report.lingered_ms == 0
    assert report.duration_ms < 3000


def test_a_lingering_tick_is_woken_by_a_new_job(deployment: Deployment) -> None:
    """A job created while a tick waits for another is entered at once, not when the other comes due."""
    deployment.create("note", scheduled_at=soon(8))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(deployment.tick, linger=20)
        wait_until(lambda: blocked(deployment.redis))
        job = deployment.create("note")
        deployment.wait_for_entry()
        assert deployment.order() == [job]
        assert running.result().completed == 2


def test_a_job_that_comes_due_beside_a_long_one_is_not_kept(deployment: Deployment) -> None:
    """While a handler runs for long, others are entered as they come due."""
    deployment.create("slow", {"seconds": 3})
    deployment.create("note", scheduled_at=soon(1))
    deployment.tick(linger=20)
    assert lateness(deployment)[-1] < 1.5


def test_a_lingering_tick_leaves_to_the_next(deployment: Deployment) -> None:
    """When the next tick begins the one that waits ends, and the job that both know is entered once."""
    job = deployment.create("note", scheduled_at=soon(4))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(deployment.tick, linger=20)
        wait_until(lambda: blocked(deployment.redis))
        second = deployment.tick(linger=20)
        assert first.result().completed == 0
    assert second.completed == 1
    assert deployment.entries() == {job: 1}


@pytest.mark.parametrize(("type_", "payload"), [("boom", "{}"), ("later", "{}")])
def test_a_type_whose_jobs_keep_failing_does_not_starve_the_others(
    deployment: Deployment, type_: str, payload: str
) -> None:
    """However many jobs fail, or ask for another try at once, those of other types get their turn in the same tick.

    Guards: the order by `run_at`, which every retry moves back, in sync_and_claim.lua and `sweephand_restore_v1`.
    """
    deployment.insert(type_, 300, payload, max_retries=100)
    good = deployment.insert("note", 50)
    report = deployment.tick(budget=8)
    assert report.completed == 50
    assert report.retried >= 300
    assert all(deployment.job(job)["status"] == "completed" for job in good)
