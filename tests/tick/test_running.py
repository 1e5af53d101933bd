"""What a tick does with jobs that behave, and with those that do not."""

import asyncio
import dataclasses
import itertools
import json
import os
import signal
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.services.processes import children
from infra.local.serving.function_server import Functions, FunctionServer
from sweephand import app
from sweephand.adapters import run_process
from sweephand.domain.attempt import Claim, Outcome, Succeeded
from sweephand.domain.errors import RecordUnavailableError
from sweephand.ports.record import Record, Started
from sweephand.usecases.tick import linger, record_calls, restore, run
from tests.domain.attempts import attempt
from tests.tick.conftest import ROOT, Deployment, forget


@pytest.mark.parametrize("type_", ["note", "in_thread", "in_process"])
def test_a_due_job_runs_and_completes(deployment: Deployment, type_: str) -> None:
    """Whatever its isolation, a due job is entered once and completes with its result."""
    job = deployment.create(type_, {"n": 5})
    report = deployment.tick()
    found = deployment.job(job)
    assert (found["status"], found["attempt"], found["result"]["n"]) == ("completed", 1, 5)
    assert deployment.entries() == {job: 1}
    assert (report.claimed, report.started, report.completed, report.stopped) == (1, 1, 1, "drained")
    assert found["result"].get("main", False) is False
    assert found["result"].get("pid", 0) != os.getpid()


def test_a_slot_that_comes_free_is_taken_at_once(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a long job holds one slot, short ones follow each other through the other, without a poll between.

    The lanes of other isolations have room all the time, and nothing to do.
    """
    monkeypatch.setenv("ASYNC_SLOTS", "2")
    monkeypatch.setattr(linger, "POLL", 60.0)
    monkeypatch.setattr(restore, "POLL", 60.0)
    forget()
    long = deployment.create("slow", {"seconds": 4})
    short = [deployment.create("slow", {"seconds": 0.2}) for _ in range(6)]
    assert deployment.tick().completed == 7
    entered = deployment.times()
    assert max(entered[job] for job in short) < entered[long] + 4


def test_a_full_lane_hides_no_other(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one isolation has no room, what another can run is still looked for in the record."""
    monkeypatch.setenv("ASYNC_SLOTS", "1")
    forget()
    [first, *_] = deployment.insert("slow", 2, '{"seconds": 4}')
    other: list[str] = []

    def insert_beside() -> None:
        deployment.wait_for_entry()
        other.extend(deployment.insert("in_thread"))

    beside = threading.Thread(target=insert_beside)
    beside.start()
    deployment.tick()
    beside.join()
    assert deployment.times()[other[0]] < deployment.times()[first] + 4


def test_a_job_that_always_raises_uses_its_attempts(deployment: Deployment) -> None:
    """It starts max_retries + 1 times, waits longer each time, ends failed, and shows every error."""
    job = deployment.create("boom", {"n": 1}, max_retries=3)
    waits = []
    for number in range(1, 5):
        deployment.tick()
        found = deployment.job(job)
        assert found["attempt"] == number
        if found["status"] == "pending":
            row = deployment.sql.execute("select extract(epoch from run_at - now()) from sweephand.open").fetchone()
            assert row is not None
            waits.append(float(row[0]))
        deployment.make_due()
    assert waits == sorted(waits)
    assert len(waits) == 3
    assert found["status"] == "failed"
    assert "all 4 attempts failed, the last with: RuntimeError: boom 1" in found["reason"]
    assert [error["attempt"] for error in found["errors"]] == [1, 2, 3, 4]
    assert all("RuntimeError: boom 1" in error["error"] for error in found["errors"])
    assert deployment.entries() == {job: 4}


def test_a_handler_says_when_to_retry(deployment: Deployment) -> None:
    """`Retry(after=…)` makes the job due after that many seconds."""
    job = deployment.create("later", {"seconds": 100})
    assert deployment.tick().retried == 1
    row = deployment.sql.execute("select extract(epoch from run_at - now()) from sweephand.open").fetchone()
    assert row is not None
    assert 90 < float(row[0]) <= 100
    assert deployment.job(job)["errors"][0]["kind"] == "retry"


def test_a_handler_that_gives_up_fails_at_once(deployment: Deployment) -> None:
    """`GiveUp` ends the job with its reason, whatever retries are left."""
    job = deployment.create("hopeless")
    deployment.tick()
    found = deployment.job(job)
    assert (found["status"], found["reason"], found["attempt"]) == ("failed", "no use", 1)


def test_a_payload_that_its_handler_refuses_fails_at_once(deployment: Deployment) -> None:
    """A job inserted by SQL with a bad payload is not entered: it ends failed and says which field."""
    [job] = deployment.insert("note", payload='{"n": "many"}')
    deployment.tick()
    found = deployment.job(job)
    assert (found["status"], found["reason"]) == ("failed", "its payload was refused")
    assert "/n" in found["errors"][0]["error"]
    assert deployment.entries() == {}


def test_an_unknown_type_waits_and_is_told(deployment: Deployment) -> None:
    """A type without a handler stays pending, and the report names it with its age."""
    [job] = deployment.insert("nobody.knows")
    report = deployment.tick()
    assert set(report.unknown_types) == {"nobody.knows"}
    assert deployment.job(job)["status"] == "pending"


def test_a_paused_type_waits(deployment: Deployment) -> None:
    """A row in `sweephand.paused` holds a type back, its deletion lets it run."""
    job = deployment.create("note")
    deployment.sql.execute("insert into sweephand.paused (type) values ('note')")
    assert deployment.tick().started == 0
    deployment.sql.execute("delete from sweephand.paused")
    assert deployment.tick().completed == 1
    assert deployment.job(job)["status"] == "completed"


def test_a_cancelled_job_never_runs(deployment: Deployment) -> None:
    """A cancelled job is not entered, although the index still has it."""
    job = deployment.create("note")
    deployment.sql.execute("select public.sweephand_cancel_v1(%s)", (job,))
    report = deployment.tick()
    assert (report.claimed, report.started, report.skipped) == (1, 0, 1)
    assert deployment.entries() == {}
    assert deployment.tick().claimed == 0


def test_higher_priorities_are_entered_first(deployment: Deployment) -> None:
    """Jobs are entered from the highest priority down, and within one in the order of their times."""
    jobs = {priority: deployment.create("note", priority=priority) for priority in (0, 9, 4)}
    deployment.tick()
    assert deployment.order() == [jobs[9], jobs[4], jobs[0]]


def test_a_slow_answer_keeps_its_place(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two start calls are under way at once: what was claimed first is entered first, whichever answers first."""
    monkeypatch.setattr(run, "BATCH", 5)
    start = Record.start
    calls = itertools.count()

    def slow_at_first(*args: Any, **options: Any) -> Started:
        late = next(calls) == 0
        started = start(*args, **options)
        time.sleep(0.5 * late)
        return started

    monkeypatch.setattr(Record, "start", slow_at_first)
    high = {deployment.create("note", priority=9) for _ in range(5)}
    low = {deployment.create("note", priority=0) for _ in range(5)}
    deployment.tick()
    assert (set(deployment.order()[:5]), set(deployment.order()[5:])) == (high, low)


def test_a_failed_start_leaves_no_other_behind(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one start call fails for good, what another beside it has leased is still run and settled."""
    monkeypatch.setattr(run, "BATCH", 5)
    monkeypatch.setattr(record_calls, "PATIENCE", 0.0)
    start = Record.start
    calls = itertools.count()

    def fails_at_first(*args: Any, **options: Any) -> Started:
        if next(calls) == 0:
            time.sleep(0.2)  # the second call is under way by then
            raise RecordUnavailableError("away")
        started = start(*args, **options)
        time.sleep(0.5)
        return started

    monkeypatch.setattr(Record, "start", fails_at_first)
    deployment.insert("note", 10)
    with pytest.raises(RecordUnavailableError, match="away"):
        deployment.tick()
    assert deployment.sql.execute("select count(*) from sweephand.leases").fetchone() == (0,)
    assert deployment.statuses() == {"completed": 5, "pending": 5}


@pytest.mark.parametrize("type_", ["brief", "brief_thread"])
def test_a_freeze_is_not_the_handlers_fault(deployment: Deployment, type_: str) -> None:
    """A function that is frozen in the middle of handlers, past their time limit, lets them end when it wakes."""
    jobs = [deployment.create(type_) for _ in range(3)]
    process = deployment.spawn()
    deployment.wait_for_entry(3)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=30)
    assert deployment.statuses() == {"completed": 3}
    assert deployment.entries() == dict.fromkeys(jobs, 1)


def test_a_handler_that_ended_in_time_is_not_too_late(deployment: Deployment) -> None:
    """Where the event loop was held up past the time limit of a task that had nothing to wait for, it has ended."""
    handler = dataclasses.replace(app.handlers()["note"], timeout=0.05)
    job = deployment.create("note")
    [start] = app.record().start([job], str(uuid.uuid4()), {"note": 60_000}, exclusive=False, max_bytes=99).starts
    outcomes: list[Outcome] = []

    async def enter() -> None:
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        app.runners()[handler.isolation].run(
            attempt(claim=Claim(job, "note", 0, 0, 0), type="note", payload=start.payload, handler=handler),
            lambda _attempt, outcome: ended.set_result(outcome),
        )
        time.sleep(0.1)  # noqa: ASYNC251 - as another handler may, which it should not
        outcomes.append(await ended)

    asyncio.run(enter())
    assert [type(outcome) for outcome in outcomes] == [Succeeded]


@pytest.mark.parametrize("text", ["object", "nan", "big", "nul"])
def test_a_result_that_cannot_be_kept_fails_the_attempt(deployment: Deployment, text: str) -> None:
    """What is not JSON, or is too large, fails the attempt with a reason, and takes no neighbour with it."""
    bad, good = deployment.create("returns", {"text": text}, max_retries=0), deployment.create("note")
    deployment.tick()
    assert deployment.job(bad)["status"] == "failed"
    assert "returned" in deployment.job(bad)["errors"][0]["error"]
    assert deployment.job(good)["status"] == "completed"


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("type_", ["quits", "quits_thread"])
def test_a_handler_cannot_end_the_tick(deployment: Deployment, type_: str, n: int) -> None:
    """SystemExit and KeyboardInterrupt are the handler's failure alone."""
    bad, good = deployment.create(type_, {"n": n}, max_retries=0), deployment.create("note")
    report = deployment.tick()
    assert (report.failed, report.completed, report.stuck) == (1, 1, 0)
    assert deployment.job(bad)["status"] == "failed"
    assert deployment.job(good)["status"] == "completed"


def test_a_child_that_exits_is_an_attempt(deployment: Deployment) -> None:
    """A handler that ends its process fails its attempt, and the next job gets a new process."""
    bad, good = deployment.create("exits", max_retries=0), deployment.create("in_process")
    deployment.tick()
    assert "exited with status 7" in deployment.job(bad)["errors"][0]["error"]
    assert deployment.job(good)["status"] == "completed"


def test_a_task_is_cancelled_at_its_time_limit(deployment: Deployment) -> None:
    """An async handler that overruns is cancelled: the attempt timed out, the tick goes on."""
    job, good = deployment.create("sleepy"), deployment.create("note")
    report = deployment.tick()
    assert (report.retried, report.completed, report.stuck) == (1, 1, 0)
    assert deployment.job(job)["errors"][0]["kind"] == "timeout"
    assert deployment.job(good)["status"] == "completed"


def test_a_child_is_killed_at_its_time_limit(deployment: Deployment) -> None:
    """A process-isolated handler that overruns is ended for real."""
    job = deployment.create("stuck_process")
    report = deployment.tick()
    assert (report.retried, report.stuck) == (1, 0)
    assert deployment.job(job)["errors"][0]["error"] == "it did not end within 1.5 s"
    assert report.duration_ms < 5000


def test_a_child_that_starts_slowly_costs_its_job_no_time(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit begins when the child is ready: a job is not failed unentered by a busy machine."""
    monkeypatch.setenv("SLOW_CHILD", "1.5")
    job = deployment.create("short_process", max_retries=0)
    assert deployment.tick().completed == 1
    assert deployment.entries() == {job: 1}


def test_a_child_that_is_never_ready_is_an_attempt(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child gets START_LIMIT seconds to load its handlers; after that it is ended, and the attempt failed."""
    monkeypatch.setenv("SLOW_CHILD", "60")
    monkeypatch.setattr(run_process, "START_LIMIT", 1.0)
    job = deployment.create("short_process", max_retries=0)
    assert deployment.tick().failed == 1
    assert deployment.job(job)["errors"][0]["error"] == "its process was not ready within 1 s"


@pytest.mark.parametrize("type_", ["stuck_thread", "stubborn"])
def test_what_cannot_be_ended_retires_the_process(deployment: Deployment, type_: str) -> None:
    """A handler that cannot be ended stops its tick: the rest is settled, the report printed, the process ends.

    Its own job is not due again before its lease ends, since it may still be running until then.
    """
    job = deployment.create(type_)
    deployment.create("note")
    process = deployment.spawn()
    out, _ = process.communicate(timeout=20)
    report = json.loads(out.splitlines()[-1])
    assert (process.returncode, report["stuck"], report["stopped"]) == (1, 1, "budget")
    assert deployment.statuses() == {"pending": 1, "completed": 1}
    row = deployment.sql.execute("select extract(epoch from run_at - now()) from sweephand.open").fetchone()
    assert row is not None
    assert float(row[0]) > 5
    assert "could not be stopped" in deployment.job(job)["errors"][0]["error"]


def test_the_function_retires_after_its_answer(deployment: Deployment, tmp_path: Path) -> None:
    """Behind HTTP too: the report comes, then the process ends, so that the platform starts another."""
    deployment.create("stuck_thread")
    functions = Functions(str(ROOT / "functions/tick.py"), function="tick")
    with FunctionServer("tick", functions, env={}, log=tmp_path / "tick.log") as server:
        assert server.pid is not None
        workers = set(children(server.pid))
        answer = httpx.post(server.url, timeout=30)
        assert (answer.status_code, answer.json()["stuck"]) == (200, 1)
        while workers & set(children(server.pid)):  # pytest's time limit ends a vain wait
            time.sleep(0.05)
        assert "retiring: 1 handlers" in server.log.read_text()


def test_what_is_stuck_delays_nobody_else(deployment: Deployment) -> None:
    """A thread that cannot be ended keeps its slot; the other jobs run, then its process retires without waiting.

    Guards: `WorkerPool.slots`, `stuck` in `Linger.for_next_job`.
    """
    deployment.create("stuck_thread")
    deployment.insert("slow", 500, '{"seconds": 0.2}')
    deployment.create("note", scheduled_at=(datetime.now(UTC) + timedelta(seconds=30)).isoformat())
    report = deployment.tick(linger=60)
    assert (report.stuck, report.stopped) == (1, "budget")
    assert report.completed == 500
    assert report.duration_ms < 25_000


def test_an_expired_job_is_not_entered(deployment: Deployment) -> None:
    """A job past its `expires_at` ends failed without an entry."""
    job = deployment.create("note", expires_at="2026-01-01T00:00:00Z")
    deployment.tick()
    assert deployment.job(job)["status"] == "failed"
    assert deployment.entries() == {}


def test_the_report_is_whole(deployment: Deployment) -> None:
    """The report has every figure that an operator is promised."""
    deployment.create("note")
    report = deployment.tick().json()
    promised = {
        *("claimed", "started", "completed", "retried", "failed", "skipped", "released", "restored"),
        *("expired_leases", "budget_ms", "duration_ms", "stopped", "oldest_due_age_s", "lateness_ms"),
    }
    assert promised <= set(report)
    assert set(report["lateness_ms"]) == {"p50", "p99", "max"}  # type: ignore[arg-type]
