"""A backlog that one drainer cannot finish."""

import asyncio
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from sweephand import app
from sweephand.adapters.trigger_tick import (
    DRAINER,
    DRAINER_TIMEOUT,
    HttpTrigger,
    LambdaTrigger,
    ProcessTrigger,
    open_drainers,
)
from sweephand.domain.errors import ConfigError
from sweephand.usecases.tick.fan_out import FanOut, further
from sweephand.usecases.tick.report import Report
from tests.tick.conftest import Deployment, environment, forget
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("due", "drained", "seconds", "left", "most", "needed"),
    [
        (0, 100, 1, 50, 10, 0),
        (5_000, 100, 1, 50, 10, 0),
        (5_001, 100, 1, 50, 10, 1),
        (20_000, 100, 1, 50, 10, 3),
        (10**7, 100, 1, 50, 10, 10),
        (1, 0, 1, 50, 10, 1),
        (30, 0, 1, 50, 10, 10),
        (10**7, 100, 1, 50, 0, 0),
    ],
)
def test_as_many_as_the_backlog_needs(  # noqa: PLR0913, PLR0917 - the figures of one case
    due: int, drained: int, seconds: float, left: float, most: int, needed: int
) -> None:
    """Further drainers are those that the backlog needs beside this one, up to the limit."""
    assert further(due, drained, seconds, left, most) == needed


@given(st.integers(0, 10**8), st.integers(0, 10**6), st.floats(0.1, 900), st.floats(-10, 900), st.integers(0, 100))
def test_never_more_than_allowed(due: int, drained: int, seconds: float, left: float, most: int) -> None:
    """Whatever the figures, between none and the limit are called."""
    assert 0 <= further(due, drained, seconds, left, most) <= most


class Bench:
    """A fan-out with a clock that stands still until it is moved, and drainers that only count."""

    def __init__(self) -> None:
        self.time = 0.0
        self.called = 0
        self.left = 0.0
        self.stopped = False
        self.report = Report(budget_ms=0)
        self.fan_out = FanOut(self, 10, self, self.report)

    def monotonic(self) -> float:
        """Return the time; see the `Clock` port."""
        return self.time

    def now(self, count: int = 1, left: float = 0.0) -> int:
        """Count; see the `TickTrigger` port."""
        self.called += count
        self.left = left
        return count

    def stop(self) -> None:
        """See the `TickTrigger` port."""
        self.stopped = True

    def close(self) -> None:
        """See the `TickTrigger` port."""

    def asked(self, now: float, due: int) -> bool:
        """Move the clock, and answer when asked how much is due; tell whether it was."""
        self.time = now
        wants = self.fan_out.wants_to_know()
        if wants:
            asyncio.run(self._call(due))
        return wants

    async def _call(self, due: int) -> None:
        self.fan_out.call(due, left=14, longest=4)
        await self.fan_out.end()


def test_it_asks_again_while_a_backlog_lasts() -> None:
    """After 1, 2 and 4 seconds of a backlog; what grew beyond one drainer by then is answered, once."""
    bench = Bench()
    bench.report.completed = 10**6  # before this backlog: says nothing of how fast it goes
    assert [now for now in (0.0, 0.9, 1.0, 1.9) if bench.asked(now, due=0)] == [1.0]
    bench.report.completed += 100
    assert bench.asked(2.0, due=400)
    assert bench.called == 0
    assert [now for now in (3.9, 4.0) if bench.asked(now, due=10_000)] == [4.0]
    assert (bench.called, bench.report.drainers, bench.left) == (10, 10, 14)
    assert not bench.asked(100.0, due=10_000)


def test_idle_seconds_do_not_count() -> None:
    """A burst after a quiet minute is measured from its own beginning."""
    bench = Bench()
    assert not bench.asked(0.0, due=0)
    bench.fan_out.idle()
    assert not bench.asked(60.0, due=1000)
    bench.report.completed = 1000
    assert bench.asked(61.0, due=1000)
    assert bench.called == 0


def test_a_backlog_calls_drainers_that_call_none(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick with more due than it can do starts further ones; together they enter each job once."""
    monkeypatch.setenv("DRAINERS_URL", "process:")
    monkeypatch.setenv("MAX_DRAINERS", "2")
    monkeypatch.setenv("ASYNC_SLOTS", "2")
    forget()
    jobs = deployment.insert("slow", 150, '{"seconds": 0.15}')
    report = deployment.tick(budget=14)
    assert 1 <= report.drainers <= 2
    assert report.completed < len(deployment.entries())
    deployment.tick()  # the first hands back what it cannot enter in its budget; the others may be gone by then
    assert deployment.entries() == dict.fromkeys(jobs, 1)
    assert deployment.statuses() == {"completed": 150}


def test_a_tick_that_is_stopped_calls_nobody() -> None:
    """Told to stop before the calls, it makes none; told so during them, it passes it on when they are made."""
    bench = Bench()
    bench.asked(0.0, due=0)
    bench.fan_out.stop()
    assert not bench.asked(1.0, due=10_000)

    bench = Bench()
    bench.asked(0.0, due=0)
    count = bench.now

    def stopped_meanwhile(many: int = 1, left: float = 0.0) -> int:
        bench.fan_out.stop()
        bench.stopped = False
        return count(many, left)

    bench.now = stopped_meanwhile  # type: ignore[method-assign,assignment] # what the network does meanwhile
    assert bench.asked(1.0, due=10_000)
    assert bench.called == 10
    assert bench.stopped


def children(process: psutil.Process) -> list[psutil.Process]:
    """Return the drainers that a tick has started and that are at work."""
    return [child for child in process.children() if "--drainer" in child.cmdline()]


def backlog(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Have more due, for processes that take one job at a time, than any of these tests waits for."""
    for name, value in {"DRAINERS_URL": "process:", "MAX_DRAINERS": "2", "ASYNC_SLOTS": "1", **settings}.items():
        monkeypatch.setenv(name, value)
    forget()
    deployment.insert("slow", 1500, '{"seconds": 0.3}')


def test_drainers_end_with_the_tick_that_called_them(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They work for what is left of its budget, not for one of their own, and hand back what they have claimed."""
    backlog(deployment, monkeypatch)
    began = time.monotonic()
    report = deployment.tick(budget=12)
    assert report.drainers == 2
    assert time.monotonic() - began < 12
    assert deployment.statuses().keys() == {"completed", "pending"}
    assert report.completed < deployment.statuses()["completed"]


def test_drainers_are_told_of_a_stop(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick that gets SIGTERM ends within seconds with its drainers, and leaves no job in progress."""
    backlog(deployment, monkeypatch)
    with deployment.spawn() as process:
        tick = psutil.Process(process.pid)
        wait_until(lambda: len(children(tick)) == 2)
        drainers = children(tick)
        deployment.wait_for_entry(12)
        process.terminate()
        said, _ = process.communicate(timeout=20)
    assert not psutil.wait_procs(drainers, timeout=5)[1]
    assert deployment.statuses().keys() == {"completed", "pending"}
    assert json.loads(said.splitlines()[-1])["drainers"] == 2


def test_a_drainer_that_begins_late_is_told_at_the_end(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose start took longer than what was left is ended with the tick, not a budget later."""
    backlog(deployment, monkeypatch)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    drainers = ProcessTrigger(command, environment())
    assert drainers.now(1, 3.9) == 0
    began = time.monotonic()
    assert drainers.now(2, 4.5) == 2
    drainers.close()
    assert 4.4 < time.monotonic() - began < 8


def test_a_drainer_calls_nobody(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick that was called as a drainer never calls another, whatever the backlog, and leaves the rest as due.

    What it claims in its last moment, when the type no longer fits, is not put off (`Start._start`, the leases).
    """
    monkeypatch.setenv("DRAINERS_URL", "process:")
    monkeypatch.setenv("MAX_DRAINERS", "2")
    monkeypatch.setenv("ASYNC_SLOTS", "1")
    forget()
    deployment.insert("slow", 60, '{"seconds": 0.3}')
    report = app.run(app.tick(8, drainer=True))
    assert (report.drainers, report.stopped, report.skipped) == (0, "budget", 0)


def test_over_http_each_is_posted_once() -> None:
    """A drainer over HTTP is one POST that says it is a drainer."""
    seen: list[object] = []
    arrived = threading.Semaphore(0)

    class Tick(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((body, self.headers["Authorization"]))
            self.send_response(500)
            self.end_headers()
            arrived.release()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Tick) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}/tick"
        assert HttpTrigger(url, DRAINER, lambda audience: f"token for {audience}").now(2, 60) == 2
        for _ in range(2):
            assert arrived.acquire(timeout=10)
        server.shutdown()
    assert seen == [(DRAINER, f"Bearer token for {url}")] * 2


def test_a_lambda_that_is_not_there_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that AWS refuses is logged and counts as none."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    assert LambdaTrigger("nobody", DRAINER, DRAINER_TIMEOUT).now(2, 60) == 0
    server.stop()


def test_one_refusal_ends_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others would be refused too, and the tick waits for all of them at its end."""
    asked: list[str] = []

    class Lambda(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(202 if len(asked) < 3 else 429)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Lambda) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        assert LambdaTrigger("tick", DRAINER, DRAINER_TIMEOUT).now(10, 60) == 2
        server.shutdown()
    assert len(asked) == 3


def test_an_unknown_way_is_a_configuration_error() -> None:
    """DRAINERS_URL with another scheme is refused by name."""
    with pytest.raises(ConfigError, match="DRAINERS_URL"):
        open_drainers("ftp://x", [], {})
