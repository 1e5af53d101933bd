"""What callers get while a service is down or wrongly set up."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from infra.local.stack import Stack
from infra.local.supabase_keys import jwt, service_role_jwt
from shared.adapters import supabase_rpc
from shared.adapters.rpc_record import RpcRecord
from shared.domain import errors
from shared.web import problem
from tests.web.api import Answer, Api
from tests.web.conftest import Configure

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
def without(stack: Stack, name: str) -> Iterator[None]:
    """Stop a service for a while."""
    service = getattr(stack, name)
    service.stop()
    try:
        yield
    finally:
        service.start()
        if name == "postgres":
            stack.postgrest.wait_ready()


@pytest.mark.parametrize(
    ("name", "said"), [("postgrest", "minutehand_"), ("postgres", "minutehand_"), ("edge", "ConnectError")]
)
def test_record_that_is_down_is_a_503(
    api: Api, clean: Stack, name: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever part of it is down, each call says when to come back, and the log says what is away."""
    with without(clean, name):
        for call in CALLS.values():
            caplog.clear()
            assert_unavailable(call(api), caplog, said=said)


@pytest.mark.parametrize("name", ["postgrest", "postgres", "edge"])
def test_calls_go_on_when_the_record_is_back(api: Api, clean: Stack, name: str) -> None:
    """The next call after an outage is answered, over a connection made anew."""
    job = api.create()["id"]
    with without(clean, name):
        assert api.get(f"/jobs/{job}").status == 503
    assert api.get(f"/jobs/{job}").status == 200


def test_record_that_hangs_is_a_503(
    api: Api, clean: Stack, configure: Configure, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A record that takes connections and does not answer is given up."""
    monkeypatch.setattr(supabase_rpc, "ANSWER_TIMEOUT", 0.3)
    configure()
    clean.postgrest.signal(signal.SIGSTOP)
    try:
        assert_unavailable(api.get("/jobs"), caplog, said="ReadTimeout")
    finally:
        clean.postgrest.signal(signal.SIGCONT)


def test_index_that_is_down_costs_nothing_but_waiting(
    api: Api, clean: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    """Without Redis a job is created all the same; the log says that the next tick will index it."""
    with without(clean, "valkey"):
        job = api.create()
    assert "not indexed, the next tick will" in caplog.text
    assert api.get(f"/jobs/{job['id']}").status == 200


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "rediss://127.0.0.1:1", "127.0.0.1:6379", "nonsense"])
def test_index_that_is_wrongly_set_up_costs_nothing_but_waiting(
    api: Api, configure: Configure, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    """A REDIS_URL that leads nowhere, or is none, cannot undo a job that is committed."""
    configure(REDIS_URL=url)
    job = api.create()
    assert "not indexed, the next tick will" in caplog.text
    assert api.get(f"/jobs/{job['id']}").status == 200


def test_index_is_optional(api: Api, configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    """Without a REDIS_URL jobs are created and nothing is complained of."""
    configure(REDIS_URL=None)
    assert api.create()["status"] == "pending"
    assert not caplog.records


@pytest.mark.parametrize("key", ["publishable", "anon", "unknown", "forged"])
def test_wrong_supabase_key_is_told_to_the_operator(
    api: Api, clean: Stack, configure: Configure, caplog: pytest.LogCaptureFixture, key: str
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
def test_both_kinds_of_service_key_work(api: Api, clean: Stack, configure: Configure, *, legacy: bool) -> None:
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

    monkeypatch.setattr(RpcRecord, "list", broken)
    response = problem.problem(errors.MinutehandError())
    with pytest.raises(KeyError, match="500"):  # the document promises no such answer
        api.get("/jobs")
    assert response.status_code == 500
    assert "1234" not in response.get_data(as_text=True)
    assert any(record.exc_info and "1234" in str(record.exc_info[1]) for record in caplog.records)


def test_every_error_of_a_request_has_its_status() -> None:
    """No error that a request can cause falls through to 500."""
    assert set(errors.RequestError.__subclasses__()) <= set(problem.STATUS)
