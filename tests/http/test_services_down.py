"""What callers get while a service is down or wrongly set up."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import redis

from infra.local.services.services import Services
from infra.local.services.supabase_keys import jwt, service_role_jwt
from sweephand.adapters import rest as rest_rpc
from sweephand.domain import errors
from sweephand.http import problem
from sweephand.ports.record import Record
from sweephand.usecases import create
from tests.chaos.proxy import Proxy
from tests.http.api import Answer, Api
from tests.http.conftest import Configure
from tests.waiting import wait_until

JOB = "01980000-0000-7000-8000-000000000000"
CALLS: dict[str, Callable[[Api], Answer]] = {
    "create_job": lambda api: api.post({"type": "anything", "payload": {}}),
    "list_jobs": lambda api: api.get("/jobs"),
    "get_job": lambda api: api.get(f"/jobs/{JOB}"),
    "cancel_job": lambda api: api.cancel(JOB),
    "health": lambda api: api.get("/health"),
}


def assert_unavailable(answer: Answer, log: pytest.LogCaptureFixture, *, said: str) -> None:
    """Check a 503 that tells callers when to come back, and operators what is wrong."""
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "5"), answer.text
    assert said in log.text
    assert said not in answer.text
    assert not any(record.exc_info for record in log.records)


@contextmanager
def without(services: Services, name: str) -> Iterator[None]:
    """Stop a service for a while."""
    service = getattr(services, name)
    service.stop()
    try:
        yield
    finally:
        service.start()
        if name == "postgres":
            services.postgrest.wait_ready()


@pytest.mark.parametrize(
    ("name", "said"),
    [("postgrest", "sweephand_"), ("postgres", "sweephand_"), ("supabase_gateway", "ConnectError")],
)
def test_record_that_is_down_is_a_503(
    api: Api, clean: Services, name: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever part of it is down, each call says when to come back, and the log says what is away."""
    # All at once: PostgREST waits ten seconds for a connection before it answers.
    with without(clean, name), ThreadPoolExecutor(len(CALLS)) as pool:
        answers = dict(zip(CALLS, pool.map(lambda call: call(api), CALLS.values()), strict=True))
    for function, answer in answers.items():
        assert_unavailable(answer, caplog, said=said)
        messages = [line.getMessage() for line in caplog.records]
        assert [line for line in messages if line.startswith(f"{function}: ") and said in line], messages


@pytest.mark.parametrize("name", ["postgrest", "postgres", "supabase_gateway"])
def test_calls_go_on_when_the_record_is_back(api: Api, clean: Services, name: str) -> None:
    """The next call after an outage is answered, over a connection made anew."""
    job = api.create()["id"]
    with without(clean, name):
        assert api.get(f"/jobs/{job}").status == 503
    assert api.get(f"/jobs/{job}").status == 200


def test_record_that_hangs_is_a_503(
    api: Api,
    clean: Services,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A record that takes connections and does not answer is given up."""
    monkeypatch.setattr(rest_rpc, "ANSWER_TIMEOUT", 0.3)
    configure()
    clean.postgrest.signal(signal.SIGSTOP)
    try:
        assert_unavailable(api.get("/jobs"), caplog, said="ReadTimeout")
    finally:
        clean.postgrest.signal(signal.SIGCONT)


def test_index_that_is_down_costs_nothing_but_waiting(
    api: Api, clean: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """Without Redis a job is created all the same; the log says that the next tick will index it."""
    with without(clean, "valkey"):
        job = api.create()
    assert "could not index a new job, the next tick does" in caplog.text
    assert api.get(f"/jobs/{job['id']}").status == 200


def indexed(services: Services, job: str) -> bool:
    """Tell whether the index has a job."""
    with redis.Redis.from_url(services.valkey.url) as client:
        return any(client.zscore(key, job) is not None for key in client.scan_iter("*:due:*"))


def at_once(api: Api, count: int = 64) -> tuple[float, float]:
    """Create jobs at once; return how long all of them took, and the one that took longest, in seconds."""

    def create(_: int) -> float:
        began = time.monotonic()
        api.create()
        return time.monotonic() - began

    began = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        longest = max(pool.map(create, range(count)))
    return time.monotonic() - began, longest


def through(services: Services, proxy: Proxy) -> str:
    """Return the REDIS_URL that leads through `proxy`."""
    return services.valkey.url.replace(f":{services.valkey.port}", f":{proxy.port}")


@pytest.fixture
def stalling(clean: Services, configure: Configure) -> Iterator[Proxy]:
    """Yield what stands between the functions and Redis."""
    with Proxy(clean.valkey.port) as proxy:
        configure(REDIS_URL=through(clean, proxy))
        yield proxy
        configure()


def test_index_that_hangs_costs_each_create_a_quarter_second(
    api: Api, clean: Services, stalling: Proxy, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 creates at once take what they take without Redis and the wait for it, once and together, not 4 s each."""
    monkeypatch.setattr(create, "INDEX_PAUSE", 1.0)
    configure(REDIS_URL=None)
    api.create()
    plain, longest_plain = at_once(api)
    configure(REDIS_URL=through(clean, stalling))
    assert indexed(clean, api.create()["id"])
    stalling.stall()
    took, longest = at_once(api)
    assert took < 2 * plain + 1
    assert longest < 2 * longest_plain + 1
    assert not indexed(clean, api.create()["id"])
    stalling.heal()
    wait_until(lambda: indexed(clean, api.create()["id"]))


def test_one_create_at_a_time_tries_an_index_that_hung(
    stalling: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, api: Api
) -> None:
    """The others skip it, and are answered while that one waits."""
    monkeypatch.setattr(create, "INDEX_PAUSE", 0.5)
    api.create()
    stalling.stall()
    api.create()
    time.sleep(0.5)  # the pause itself
    caplog.clear()
    at_once(api, 16)
    assert 1 <= caplog.text.count("no answer in 0.25 s") <= 2


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "rediss://127.0.0.1:1", "127.0.0.1:6379", "nonsense"])
def test_index_that_is_wrongly_set_up_costs_nothing_but_waiting(
    api: Api, configure: Configure, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    """A REDIS_URL that leads nowhere, or is none, cannot undo a job that is committed."""
    configure(REDIS_URL=url)
    job = api.create()
    assert "could not index a new job, the next tick does" in caplog.text
    assert api.get(f"/jobs/{job['id']}").status == 200


def test_index_is_optional(api: Api, configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    """Without a REDIS_URL jobs are created and nothing is complained of."""
    configure(REDIS_URL=None)
    assert api.create()["status"] == "pending"
    assert not caplog.records


@pytest.mark.parametrize("key", ["publishable", "anon", "unknown", "forged"])
def test_wrong_supabase_key_is_told_to_the_operator(
    api: Api, clean: Services, configure: Configure, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    """A key that may not call the functions, of either kind, is a 503; the log says what to check."""
    keys = {
        "publishable": clean.secrets.publishable_key,
        "anon": jwt(clean.secrets.jwt, "anon"),
        "unknown": "sb_secret_unknown",
        "forged": service_role_jwt("another secret, which is as long as HS256 asks for"),
    }
    configure(SUPABASE_KEY=keys[key])
    for call in CALLS.values():
        caplog.clear()
        assert_unavailable(call(api), caplog, said="Invalid API key" if key == "unknown" else "check SUPABASE_KEY")
        assert keys[key] not in caplog.text


@pytest.mark.parametrize("legacy", [False, True])
def test_both_kinds_of_service_key_work(api: Api, clean: Services, configure: Configure, *, legacy: bool) -> None:
    """A new-style secret key and a legacy service_role JWT are equally good."""
    configure(SUPABASE_KEY=clean.service_role_key if legacy else clean.secrets.secret_key)
    job = api.create()["id"]
    assert api.cancel(job).status == 200


@pytest.mark.parametrize("name", ["SUPABASE_URL", "SUPABASE_KEY"])
def test_missing_setting_is_named_in_the_log(
    api: Api, configure: Configure, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """What is not set is named to the operator, not to the caller."""
    configure(**{name: None})
    for call in CALLS.values():
        assert_unavailable(call(api), caplog, said=f"{name} is not set.")


def test_missing_handler_module_is_named_in_the_log(
    api: Api, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelled HANDLERS is named to the operator."""
    configure(HANDLERS="no_such_handlers")
    assert_unavailable(CALLS["create_job"](api), caplog, said="HANDLERS: No module named 'no_such_handlers'")


def test_unforeseen_error_tells_callers_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake of ours is a 500 without its reason, which is in the log with its traceback."""

    def broken(*_: object) -> None:
        raise RuntimeError("the secret is 1234")

    monkeypatch.setattr(Record, "list", broken)
    response = problem.problem(errors.SweephandError())
    with pytest.raises(KeyError, match="500"):  # the document promises no such answer
        api.get("/jobs")
    assert response.status_code == 500
    assert "1234" not in response.get_data(as_text=True)
    assert any(record.exc_info and "1234" in str(record.exc_info[1]) for record in caplog.records)


def test_every_error_of_a_request_has_its_status() -> None:
    """No error that a request can cause falls through to 500."""
    assert set(errors.RequestError.__subclasses__()) <= set(problem.STATUS)
