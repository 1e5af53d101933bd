"""A backlog that one drainer cannot finish."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from shared import composition
from shared.adapters.call_drainers import EVENT, HttpDrainers, LambdaDrainers, open_drainers
from shared.domain.errors import ConfigError
from shared.usecases.tick.fan_out import FanOut, further
from shared.usecases.tick.report import Report
from tests.tick.conftest import Deployment, forget


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
        self.now = 0.0
        self.called = 0
        self.report = Report(budget_ms=0)
        self.fan_out = FanOut(self, 10, self, self.report)

    def monotonic(self) -> float:
        """Return the time; see the `Clock` port."""
        return self.now

    def call(self, count: int) -> int:
        """Count; see the `Drainers` port."""
        self.called += count
        return count

    def close(self) -> None:
        """See the `Drainers` port."""

    def asked(self, now: float, due: int) -> bool:
        """Move the clock, and answer when asked how much is due; tell whether it was."""
        self.now = now
        wants = self.fan_out.wants_to_know()
        if wants:
            asyncio.run(self._call(due))
        return wants

    async def _call(self, due: int) -> None:
        self.fan_out.call(due, left=10)
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
    assert (bench.called, bench.report.drainers) == (10, 10)
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
    jobs = deployment.insert("slow", 60, '{"seconds": 0.15}')
    report = deployment.tick(budget=9)
    assert 1 <= report.drainers <= 2
    assert report.completed < len(deployment.entries())
    deployment.tick()  # the first hands back what it cannot enter in its budget; the others may be gone by then
    assert deployment.entries() == dict.fromkeys(jobs, 1)
    assert deployment.statuses() == {"completed": 60}


def test_a_drainer_calls_nobody(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick that was called as a drainer never calls another, whatever the backlog, and leaves the rest as due.

    What it claims in its last moment, when the type no longer fits, is not put off (`Tick._start`, the leases).
    """
    monkeypatch.setenv("DRAINERS_URL", "process:")
    monkeypatch.setenv("MAX_DRAINERS", "2")
    monkeypatch.setenv("ASYNC_SLOTS", "1")
    forget()
    deployment.insert("slow", 60, '{"seconds": 0.3}')
    report = composition.run(composition.tick(8, drainer=True))
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
        assert HttpDrainers(url, lambda audience: f"token for {audience}").call(2) == 2
        for _ in range(2):
            assert arrived.acquire(timeout=10)
        server.shutdown()
    assert seen == [(EVENT, f"Bearer token for {url}")] * 2


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
    assert LambdaDrainers("nobody").call(2) == 0
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
        assert LambdaDrainers("tick").call(10) == 2
        server.shutdown()
    assert len(asked) == 3


def test_an_unknown_way_is_a_configuration_error() -> None:
    """DRAINERS_URL with another scheme is refused by name."""
    with pytest.raises(ConfigError, match="DRAINERS_URL"):
        open_drainers("ftp://x", [], {})
