"""A job that is created while no tick is awake."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.tick.conftest import Deployment, forget


class TickServer:
    """Counts who would have had a tick run; it answers with an error, which is nothing to who creates jobs."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._arrived = threading.Semaphore(0)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(500)
                self.end_headers()
                outer._arrived.release()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever).start()

    def called(self) -> bool:
        """Tell whether there was one more call; a call is under way before the job's creation returns."""
        return self._arrived.acquire(timeout=1)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def tick_server(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[TickServer]:
    """Yield what WAKE_URL names."""
    server = TickServer()
    monkeypatch.setenv("WAKE_URL", server.url)
    forget()
    yield server
    server.close()


def in_(seconds: float) -> str:
    """Return a time from now as a request has it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_the_first_job_calls_a_tick_as_the_schedule_does(deployment: Deployment, tick_server: TickServer) -> None:
    """Those after it count on that one; once a tick has drained all and left, the next one calls again."""
    deployment.create("note")
    assert tick_server.called()
    deployment.create("note")
    assert not tick_server.called()
    assert deployment.tick().completed == 2
    deployment.create("note")
    assert tick_server.called()
    assert tick_server.bodies == [b"{}", b"{}"]


def test_a_tick_that_waits_for_it_is_enough(deployment: Deployment, tick_server: TickServer) -> None:
    """While a tick lingers for what comes due, a new job wakes that one."""
    deployment.create("note", scheduled_at=in_(4))
    assert tick_server.called()
    lingering = threading.Thread(target=deployment.tick, args=(30, 20))
    lingering.start()
    until_awake(deployment)
    deployment.create("note")
    deployment.wait_for_entry(1)
    assert not tick_server.called()
    lingering.join()
    assert deployment.statuses() == {"completed": 2}


def until_awake(deployment: Deployment) -> None:
    """Wait until a tick has said that it is awake."""
    while all(deployment.redis.get(key) == b"called" for key in deployment.redis.scan_iter("*:awake")):
        pass


@pytest.mark.parametrize(("linger", "seconds"), [("70", 30), ("0", 0)])
def test_it_calls_for_what_a_tick_would_wait_for(
    deployment: Deployment, tick_server: TickServer, monkeypatch: pytest.MonkeyPatch, linger: str, seconds: float
) -> None:
    """What comes due before the schedule's next tick is sure to be there has one called for it."""
    monkeypatch.setenv("LINGER_SECONDS", linger)
    forget()
    deployment.create("note", scheduled_at=in_(seconds))
    assert tick_server.called()


@pytest.mark.parametrize(("linger", "seconds"), [("70", 90), ("20", 30), ("0", 30)])
def test_it_calls_for_nothing_later(
    deployment: Deployment, tick_server: TickServer, monkeypatch: pytest.MonkeyPatch, linger: str, seconds: float
) -> None:
    """Later, or where ticks do not linger so long, the schedule's own tick does as well."""
    monkeypatch.setenv("LINGER_SECONDS", linger)
    forget()
    deployment.create("note", scheduled_at=in_(seconds))
    assert not tick_server.called()


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("WAKE_URL", "http://127.0.0.1:1"),
        ("WAKE_URL", "no url"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
    ],
)
def test_a_job_is_created_whatever_is_away(
    deployment: Deployment, tick_server: TickServer, monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    """Who creates a job is told so where nobody can be called, and where nobody knows who is awake."""
    monkeypatch.setenv(variable, url)
    forget()
    assert deployment.job(deployment.create("note"))["status"] == "pending"
    assert not tick_server.called()
