"""A job that is created while no tick is active."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sweephand import app
from sweephand.adapters import sign_aws, trigger_tick
from sweephand.adapters.trigger_tick import TRIGGERED
from sweephand.domain.errors import ConfigError
from sweephand.domain.json_value import JsonValue
from sweephand.ports.index import NO_OPTIONS, Claimed
from sweephand.ports.record import Created, Page
from sweephand.usecases import create
from tests.chaos.proxy import Proxy
from tests.tick.conftest import Deployment, forget
from tests.waiting import blocked, wait_until


class TickServer:
    """Counts requests to run a tick, and answers with an error, which no create notices."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.asked: list[tuple[str, str | None]] = []
        self._arrived = threading.Semaphore(0)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked.append((self.path, self.headers["Authorization"]))
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
        """Wait until there has been one more call, at most 20 s; tell whether there was."""
        return self._arrived.acquire(timeout=20)

    def was_left_alone(self) -> bool:
        """Tell whether there is no further call within a second: one would be under way already."""
        return not self._arrived.acquire(timeout=1)

    def called_within(self, seconds: float) -> bool:
        """Wait until there has been one more call, at most so long; tell whether there was."""
        return self._arrived.acquire(timeout=seconds)

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


def test_the_first_job_triggers_a_tick_as_the_schedule_does(
    deployment: Deployment, tick_server: TickServer
) -> None:
    """Later jobs count on that tick; once it has drained them and left, the next job triggers another."""
    deployment.create("note")
    assert tick_server.called()
    (active,) = deployment.redis.scan_iter("*:active")
    assert 0 < deployment.redis.pttl(active) <= 10_000  # nobody counts for longer on a tick that does not come
    deployment.create("note")
    assert tick_server.was_left_alone()
    assert deployment.tick().completed == 2
    deployment.create("note")
    assert tick_server.called()
    assert [json.loads(body) for body in tick_server.bodies] == [TRIGGERED, TRIGGERED]


def test_a_tick_that_waits_for_it_is_enough(deployment: Deployment, tick_server: TickServer) -> None:
    """A lingering tick is notified of a new job, and runs it before the job that it waits for."""
    later = deployment.create("note", scheduled_at=in_(10))
    assert tick_server.called()
    lingering = threading.Thread(target=deployment.tick, args=(40, 30))
    lingering.start()
    while "triggered" in owner(deployment):  # pytest's time limit ends a vain wait
        time.sleep(0.01)
    now = deployment.create("note")
    lingering.join()
    assert tick_server.was_left_alone()
    assert deployment.order() == [now, later]
    assert owner(deployment) == ""


def owner(deployment: Deployment) -> str:
    """Return which tick is active, and until when; empty when none is."""
    said = " ".join(str(deployment.redis.get(key)) for key in deployment.redis.scan_iter("*:active"))
    return "" if "left" in said else said


@pytest.mark.parametrize("job", [("boom", 0), ("note", 120)])
def test_a_tick_that_leaves_is_counted_on_no_more(
    deployment: Deployment, tick_server: TickServer, job: tuple[str, float]
) -> None:
    """Whatever a tick leaves behind, a retry or a later job, the next new job triggers a tick."""
    type_, seconds = job
    deployment.create(type_, scheduled_at=in_(seconds), max_retries=3)
    deployment.tick(linger=0)
    assert owner(deployment) == ""
    tick_server.bodies.clear()
    deployment.create("note")
    while not tick_server.bodies:
        assert tick_server.called()


def test_a_tick_that_is_ended_says_so(deployment: Deployment) -> None:
    """A tick that is told to stop while it waits is no longer active, although a job comes due."""
    deployment.create("note", scheduled_at=in_(40))
    process = deployment.spawn("--linger", "50")
    while not owner(deployment):  # pytest's time limit ends a vain wait
        time.sleep(0.01)
    process.terminate()
    process.communicate()
    assert owner(deployment) == ""


def test_a_job_that_comes_while_a_tick_ends_is_run_by_it(
    deployment: Deployment, tick_server: TickServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The create counts on the tick, whose last job ends just then: the tick looks at the index once more."""
    index, record = app.index(), app.record()
    assert index is not None
    step, restore = index.sync_and_claim, record.restore
    late: list[str] = []
    paged = [False]

    def seen(*args: Any, **more: Any) -> Page:
        paged[0] = bool(deployment.entries())
        return restore(*args, **more)

    def slow(*args: Any, **more: Any) -> Claimed:
        answer = step(*args, **more)
        ask = args[3] if len(args) > 3 else more.get("options", NO_OPTIONS)
        if paged[0] and ask.tick and ask.tick.works and not answer.claims and not late:
            late.append(deployment.create("note"))
            while deployment.job(first)["status"] != "completed":
                time.sleep(0.01)
            time.sleep(0.1)  # the answer to the settle reaches the tick
        return answer

    monkeypatch.setattr(index, "sync_and_claim", slow)
    monkeypatch.setattr(record, "restore", seen)
    first = deployment.create("slow", {"seconds": 1})
    assert tick_server.called()
    assert deployment.tick(linger=0).completed == 2
    assert late
    assert tick_server.was_left_alone()


def test_an_older_tick_is_not_counted_on_for_later(deployment: Deployment, tick_server: TickServer) -> None:
    """A tick that still runs a job when the next has begun will not wait: a later job triggers a tick."""
    deployment.insert("slow", 1, '{"seconds": 4}')
    older = threading.Thread(target=deployment.tick, args=(60, 50))
    older.start()
    deployment.wait_for_entry(1)
    until = time.monotonic() + 3.5
    deployment.tick(60, 50)
    while not tick_server.bodies and time.monotonic() < until:
        deployment.create("note", scheduled_at=in_(20))
        time.sleep(0.2)
    called = bool(tick_server.bodies)
    deployment.sql.execute("delete from sweephand.jobs")
    older.join()
    assert called


def test_a_new_job_notifies_the_newer_of_two_ticks(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older tick without capacity is not notified: the newer has capacity, and waits for nothing else."""
    monkeypatch.setenv("ASYNC_SLOTS", "1")
    forget()
    (slow,) = deployment.insert("slow", 1, '{"seconds": 8}')
    older = threading.Thread(target=deployment.tick, args=(60, 50))
    older.start()
    deployment.wait_for_entry(1)
    wait_until(lambda: blocked(deployment.redis))
    before = blocked(deployment.redis)
    deployment.create("note", scheduled_at=in_(10))
    newer = threading.Thread(target=deployment.tick, args=(60, 50))
    newer.start()
    wait_until(lambda: (now := blocked(deployment.redis)) and not now & before)
    now = deployment.create("note")
    wait_until(lambda: deployment.job(now)["status"] == "completed")
    meanwhile = deployment.job(slow)["status"]
    older.join()
    newer.join()
    assert meanwhile == "in_progress"


def test_what_a_drainer_leaves_notifies_the_tick_that_waits(deployment: Deployment) -> None:
    """A retry that a drainer leaves in the index runs when it is due, by a tick that waits for a later job."""
    later = deployment.create("note", scheduled_at=in_(9))
    lingering = threading.Thread(target=deployment.tick, args=(40, 30))
    lingering.start()
    wait_until(lambda: blocked(deployment.redis))
    (boom,) = deployment.insert("boom", max_retries=1)
    app.run(app.tick(drainer=True))
    wait_until(lambda: deployment.job(boom)["status"] == "failed")
    meanwhile = deployment.job(later)["status"]
    lingering.join()
    assert meanwhile == "pending"


@pytest.mark.parametrize(("linger", "seconds"), [("70", 30), ("0", 0)])
def test_it_triggers_for_what_a_tick_would_wait_for(
    deployment: Deployment, tick_server: TickServer, monkeypatch: pytest.MonkeyPatch, linger: str, seconds: float
) -> None:
    """A job that comes due before the next scheduled tick is sure to be there triggers one."""
    monkeypatch.setenv("LINGER_SECONDS", linger)
    forget()
    deployment.create("note", scheduled_at=in_(seconds))
    assert tick_server.called()


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 90),
        ({"LINGER_SECONDS": "20"}, 30),
        ({"LINGER_SECONDS": "0"}, 30),
        ({"LINGER_SECONDS": "100"}, 80),
        ({"TICK_BUDGET_SECONDS": "35"}, 50),
    ],
    ids=str,
)
def test_it_triggers_for_nothing_later(
    deployment: Deployment,
    tick_server: TickServer,
    monkeypatch: pytest.MonkeyPatch,
    settings: Mapping[str, str],
    seconds: float,
) -> None:
    """Later, or where ticks do not linger or live so long, the schedule's own tick does as well."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    forget()
    deployment.create("note", scheduled_at=in_(seconds))
    assert tick_server.was_left_alone()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "no url"])
def test_a_job_is_created_whatever_is_away(
    deployment: Deployment, tick_server: TickServer, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Who creates a job is told so where nobody can be called."""
    monkeypatch.setenv("WAKE_URL", url)
    forget()
    assert deployment.job(deployment.create("note"))["status"] == "pending"
    assert tick_server.was_left_alone()


def asked(monkeypatch: pytest.MonkeyPatch, ms: Callable[[], int | None]) -> None:
    """Have the record's answer to a create tell how long ago a tick asked for work."""
    record = app.record()
    create = record.create

    def told(*args: Any, **more: Any) -> Created:
        return replace(create(*args, **more), asked_ms=ms())

    monkeypatch.setattr(record, "create", told)


def evicting(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the index forget which tick is active before each call, and say so."""
    index = app.index()
    assert index is not None
    step = index.sync_and_claim

    def evicted(*args: Any, **more: Any) -> Claimed:
        for key in deployment.redis.scan_iter("*:active"):
            deployment.redis.delete(key)
        answer = step(*args, **more)
        return replace(answer, forgot=answer.must_trigger)

    monkeypatch.setattr(index, "sync_and_claim", evicted)


@pytest.mark.parametrize("url", [None, "redis://127.0.0.1:1"])
def test_where_the_index_cannot_tell_the_record_does(
    deployment: Deployment, tick_server: TickServer, monkeypatch: pytest.MonkeyPatch, url: str | None
) -> None:
    """Without Redis a tick is called; again, only where none has asked the record for work of late.

    A batch does so as well.
    """
    if url is None:
        monkeypatch.delenv("REDIS_URL")
    else:
        monkeypatch.setenv("REDIS_URL", url)
    forget()
    asked(monkeypatch, lambda: create.ASKED_MS - 1)
    jobs: list[JsonValue] = [{"type": "note", "payload": {}} for _ in range(3)]
    app.creator().batch({"jobs": jobs}, "tests")
    assert tick_server.called()
    for _ in range(10):
        deployment.create("note")
    assert tick_server.was_left_alone()


def test_a_tick_that_was_called_and_came_is_called_again(
    deployment: Deployment, tick_server: TickServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one that has not asked for work since is still waited for, and not for longer than ARRIVAL."""
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setattr(create, "ASKED_MS", 0)
    forget()
    ms: list[int | None] = [None]
    asked(monkeypatch, lambda: ms[0])
    deployment.create("note")
    assert tick_server.called()
    ms[0] = 60_000
    deployment.create("note")
    assert tick_server.was_left_alone()
    ms[0] = 0
    deployment.create("note")
    assert tick_server.called()
    ms[0] = None
    monkeypatch.setattr(create, "ARRIVAL", 0.0)
    deployment.create("note")
    assert tick_server.called()


@pytest.mark.parametrize(("ms", "calls"), [(None, 1), (0, 2)])
def test_evictions_call_no_storm_of_ticks(
    deployment: Deployment, tick_server: TickServer, monkeypatch: pytest.MonkeyPatch, ms: int | None, calls: int
) -> None:
    """If the index forgets the active tick before each create, a process triggers once, or once in two seconds."""
    # An index that takes longer on a busy machine would be left alone for seconds, and tell nothing.
    monkeypatch.setattr(create, "PATIENCE", 10.0)
    asked(monkeypatch, lambda: ms)
    evicting(deployment, monkeypatch)
    until = time.monotonic() + create.TRIGGERS_APART + 0.5
    while time.monotonic() < until:
        deployment.create("note")
    deployment.create("note")  # after TRIGGERS_APART also where the last one of the loop took long
    while tick_server.called_within(1):
        pass
    assert len(tick_server.bodies) == calls


def test_a_hung_index_calls_one_tick(
    deployment: Deployment, tick_server: TickServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many creates at once against a Redis that hangs each is done soon, and one of them calls."""
    with Proxy(deployment.stack.valkey.port) as proxy:
        monkeypatch.setenv("REDIS_URL", deployment.stack.valkey.url.replace(f":{proxy.upstream}", f":{proxy.port}"))
        forget()
        proxy.stall()
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda _: deployment.create("note"), range(64)))
        assert tick_server.called()
        proxy.heal()
        deployment.create("note")
        assert tick_server.was_left_alone()
        app.close()


def test_a_call_that_hangs_keeps_nobody(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that takes the request and does not answer costs a create a quarter second."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("WAKE_URL", "lambda:tick")
        forget()
        began = time.monotonic()
        deployment.create("note")
        assert time.monotonic() - began < 1.5


def test_a_triggered_tick_calls_no_others(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a scheduled tick may: else jobs that create jobs could start ever more ticks."""
    monkeypatch.setenv("DRAINERS_URL", "process:")
    monkeypatch.setenv("MAX_DRAINERS", "2")
    monkeypatch.setenv("ASYNC_SLOTS", "1")
    forget()
    deployment.insert("slow", 60, '{"seconds": 0.3}')
    assert app.run(app.tick(12, triggered=True)).drainers == 0


@pytest.mark.parametrize("session", ["", "a/session+token=="])
def test_a_call_of_lambda_is_signed_as_botocore_does(monkeypatch: pytest.MonkeyPatch, session: str) -> None:
    """The same request, credentials and moment have the same signature, with an ARN's colons in the path too."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_SESSION_TOKEN", session)
    url = "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/arn%3Aaws%3Alambda%3A1/invocations"
    at = datetime(2026, 11, 24, 15, 10, 30, tzinfo=UTC)
    ours = sign_aws.signed(url, {"X-Amz-Invocation-Type": "Event"}, b'{"triggered": true}', "eu-west-1", at)
    theirs = AWSRequest("POST", url, {"X-Amz-Invocation-Type": "Event"}, b'{"triggered": true}')
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", session or None)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: at.replace(tzinfo=None))
    SigV4Auth(credentials, "lambda", "eu-west-1").add_auth(theirs)
    assert ours["Authorization"] == theirs.headers["Authorization"]
    assert ours.get("X-Amz-Security-Token") == theirs.headers.get("X-Amz-Security-Token")


def test_cloud_scheduler_is_asked_to_run_the_job(monkeypatch: pytest.MonkeyPatch, tick_server: TickServer) -> None:
    """On Google it is one POST to the job's own URL, with a token of the function's identity."""
    monkeypatch.setattr(trigger_tick, "CLOUD_SCHEDULER", f"{tick_server.url}/v1")
    monkeypatch.setattr(trigger_tick, "access_token", lambda: "a token")
    assert trigger_tick.open_trigger("scheduler:projects/p/locations/l/jobs/tick").now() == 0  # the server says 500
    assert tick_server.called()
    assert tick_server.asked == [("/v1/projects/p/locations/l/jobs/tick:run", "Bearer a token")]


def test_another_way_is_a_configuration_error() -> None:
    """WAKE_URL with another scheme is refused by name."""
    with pytest.raises(ConfigError, match="WAKE_URL"):
        trigger_tick.open_trigger("process:")
