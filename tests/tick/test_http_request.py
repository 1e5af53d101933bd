"""`http_request` as a tick runs it: on the record, with retries, and with its limits for each host."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.local.services.service import free_port
from sweephand import app
from sweephand.domain.errors import InvalidError
from sweephand.handlers.http_call.hosts import AT_ONCE, FAILURES
from tests.tick.conftest import Deployment, forget


class Receiver(ThreadingHTTPServer):
    """Answers 200 on `/`, and `/500` with that; counts connections and what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.connections = 0
        self.paths: list[str] = []
        self.ids: list[str] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Receiver

    def setup(self) -> None:
        """Count it."""
        self.server.connections += 1
        super().setup()

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        self.server.ids.append(self.headers["webhook-id"])
        self.send_response(500 if self.path == "/500" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Yield a receiver on this machine's loopback."""
    made = Receiver()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(autouse=True)
def opened(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let calls reach this machine."""
    monkeypatch.setenv("HTTP_ALLOW", "127.0.0.0/8")
    forget()
    app.handlers()
    yield
    monkeypatch.delenv("HTTP_ALLOW")
    forget()
    app.handlers()


def test_a_url_is_called_and_its_answer_kept(deployment: Deployment, receiver: Receiver) -> None:
    """The job's result is the answer, and `webhook-id` is the job's id."""
    job = deployment.create("http_request", {"url": f"{receiver.url}/x", "body": "hello"})
    deployment.tick()
    found = deployment.job(job)
    assert (found["status"], found["result"]["status"], found["result"]["body"]) == ("completed", 200, "ok")
    assert (receiver.paths, receiver.ids) == (["/x"], [job])


def test_many_calls_share_connections(deployment: Deployment, receiver: Receiver) -> None:
    """500 jobs of one host, and a later tick of the same process, take few connections."""
    deployment.insert("http_request", 500, f'{{"url": "{receiver.url}/"}}')
    deployment.tick()
    assert deployment.statuses() == {"completed": 500}
    assert len(receiver.paths) == 500
    assert receiver.connections <= 20
    deployment.insert("http_request", 3, f'{{"url": "{receiver.url}/"}}')
    deployment.tick()
    assert deployment.statuses() == {"completed": 503}


def test_a_failing_answer_is_a_retry_that_says_why(deployment: Deployment, receiver: Receiver) -> None:
    """A 500 counts as an attempt, and its error is the answer, without a stack trace."""
    job = deployment.create("http_request", {"url": f"{receiver.url}/500"}, max_retries=1)
    deployment.tick()
    found = deployment.job(job)
    assert (found["status"], found["attempt"]) == ("pending", 1)
    assert found["errors"][0]["error"] == f"{receiver.url}/500 answered 500: ok"
    deployment.make_due()
    deployment.tick()
    found = deployment.job(job)
    assert (found["status"], len(receiver.paths)) == ("failed", 2)
    assert receiver.ids == [job, job]


def test_a_refused_url_fails_at_once(deployment: Deployment) -> None:
    """The API refuses it; inserted by plain SQL, the job fails with the reason, without a retry."""
    with pytest.raises(InvalidError, match="169"):
        deployment.create("http_request", {"url": "http://169.254.169.254/"})
    (job,) = deployment.insert("http_request", payload='{"url": "http://169.254.169.254/"}')
    deployment.tick()
    found = deployment.job(job)
    assert (found["status"], found["attempt"]) == ("failed", 1)
    assert "HTTP_ALLOW can open it" in found["errors"][0]["error"]


def test_a_dead_hosts_jobs_say_that_nothing_was_sent(deployment: Deployment) -> None:
    """After three failures its other jobs wait, and each says in the record for what and since how many."""
    url = f"http://127.0.0.1:{free_port()}"
    jobs = deployment.insert("http_request", 60, f'{{"url": "{url}/"}}')
    deployment.tick()
    errors = [deployment.job(job)["errors"][0]["error"] for job in jobs]
    waiting = [error for error in errors if error.startswith(f"not sent: {url} has not answered")]
    assert len(waiting) >= 60 - AT_ONCE - FAILURES + 1  # each of the first failures let a waiting one go on
    assert all("Connection refused" in error for error in errors)
    assert deployment.statuses() == {"pending": 60}
