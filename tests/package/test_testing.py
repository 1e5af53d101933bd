"""What `sweephand.testing` gives to a handler's author."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import BaseModel

from sweephand import Context, GiveUp, Retry, app, handler
from sweephand.domain.attempt import Failed, GaveUp, PayloadInvalid, RetryRequested, TimedOut
from sweephand.domain.errors import ConfigError, InvalidError
from sweephand.domain.services import HttpAnswer
from sweephand.handlers import registry
from sweephand.handlers.http_request import http_request
from sweephand.testing import LocalRecord, local_record, run, run_due
from tests.tick.conftest import forget

JOB = UUID("019b76da-a800-7abc-8def-0123456789ab")


class Greeting(BaseModel):
    """What the handlers here take."""

    name: str
    seconds: float = 0


@handler("testing_greet", payload=Greeting, timeout=0.2)
async def greet(payload: Greeting, ctx: Context) -> dict[str, str]:
    """Mail a greeting and return it."""
    await asyncio.sleep(payload.seconds)
    mail = EmailMessage()
    mail["To"], mail["Subject"] = f"{payload.name}@example.com", "Hello"
    mail.set_content(f"Hello, {payload.name}!")
    ctx.log.info("greeting %s", payload.name)
    ctx.mail.send(mail)
    return {"said": f"Hello, {payload.name}!"}


@handler("testing_copy", payload=Greeting, isolation="process", timeout=5)
def copy(payload: Greeting, ctx: Context) -> dict[str, str]:
    """Copy an object, and tell of the attempt."""
    body = ctx.objects.read(f"s3://bucket/{payload.name}", limit=10)
    ctx.objects.write("s3://bucket/copy", body, content_type="text/plain")
    return {"attempt": f"{ctx.attempt} of {ctx.job_id}"}


@handler("testing_fails", payload=Greeting, timeout=5)
async def fails(payload: Greeting, ctx: Context) -> None:
    """End in the way that the payload names; a retry is over at the third attempt."""
    if payload.name == "retry" and ctx.attempt < 3:
        raise Retry(after=3600)
    if payload.name == "give up":
        raise GiveUp("no use")
    if payload.name == "raise":
        raise TimeoutError("its own")


OWN = {each.name: each for each in map(registry.handler_of, (greet, copy, fails))}


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    """Register this module's handlers, which `forget` removes, once more."""
    registry._registered.update(OWN)


def test_three_lines_test_a_handler() -> None:
    """One call runs a handler and shows its result, its mail as a receiver reads it, and its log."""
    ran = run(greet, {"name": "ada"})
    assert ran.result == {"said": "Hello, ada!"}
    assert [(mail["To"], mail["From"], mail.get_content().strip()) for mail in ran.mails] == [
        ("ada@example.com", "sweephand@example.com", "Hello, ada!")
    ]
    assert ran.log == ["INFO greeting ada"]


def test_objects_are_in_memory() -> None:
    """A handler of any isolation reads the objects that a test gives, and the test sees what it wrote."""
    ran = run(copy, Greeting(name="a.txt"), objects={"s3://bucket/a.txt": b"text"}, attempt=2, job_id=JOB)
    assert ran.result == {"attempt": f"2 of {JOB}"}
    assert ran.objects == {"s3://bucket/a.txt": b"text", "s3://bucket/copy": b"text"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("b.txt", "there is no object at s3://bucket/b.txt"), ("a.txt", "has 11 bytes, more than 10"), ("", "URL")],
)
def test_objects_refuse_what_a_store_refuses(name: str, reason: str) -> None:
    """An object that is missing or too large, and a URL that names none, end the attempt for good."""
    ran = run(copy, {"name": name}, objects={"s3://bucket/a.txt": b"x" * 11})
    assert isinstance(ran.outcome, GaveUp)
    assert reason in ran.outcome.reason


def test_every_ending_is_told() -> None:
    """A retry, a surrender, an exception, a time limit and a refused payload are outcomes, not exceptions."""
    assert run(fails, {"name": "retry"}).outcome == RetryRequested(3600, "the handler asked for a retry")
    assert run(fails, {"name": "give up"}).outcome == GaveUp("no use")
    assert isinstance(failed := run(fails, {"name": "raise"}).outcome, Failed)
    assert "TimeoutError: its own" in failed.error
    assert run(greet, {"name": "ada", "seconds": 5}).outcome == TimedOut(0.2, stuck=False)
    assert isinstance(run(greet, {}).outcome, PayloadInvalid)
    assert isinstance(run(greet, {"name": "not an address"}).outcome, GaveUp)


def test_the_result_of_a_failure_is_told() -> None:
    """Asking for the result of an attempt that failed says how it ended."""
    with pytest.raises(AssertionError, match="no use"):
        _ = run(fails, {"name": "give up"}).result


def test_a_loop_may_run_already() -> None:
    """A test that is itself `async def` runs a handler too."""

    async def test() -> object:
        return run(greet, {"name": "ada"}).result

    assert asyncio.run(test()) == {"said": "Hello, ada!"}


def test_what_is_no_handler_is_told() -> None:
    """A function without the decorator is refused by name, file and line."""
    with pytest.raises(ValueError, match=r"test_testing.test_what.* is no handler: .*test_testing.py:\d+"):
        run(test_what_is_no_handler_is_told, {})


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRecord]:
    """Yield a record of this module's own, without PostgREST and without Redis."""
    with local_record(tmp_path_factory.mktemp("record"), handlers=["tests.package.renamed"]) as made:
        yield made
    forget()


def test_time_passes_for_jobs(record: LocalRecord) -> None:
    """A job runs once `until` reaches its due time, not before; what is left of the time has passed as well."""
    at = datetime.now(UTC) + timedelta(days=2)
    job = record.create("testing_greet", {"name": "ada"}, scheduled_at=at.isoformat())
    assert record.run_due(timedelta(days=1)) == 0
    assert record.job(job)["status"] == "pending"
    assert record.run_due(timedelta(hours=25)) == 1
    done = record.job(job)
    assert (done["status"], done["result"]) == ("completed", {"said": "Hello, ada!"})
    assert str(done["scheduled_at"]).startswith(at.strftime("%Y-%m-%dT%H:%M:%S"))


def test_modules_of_handlers_are_loaded(record: LocalRecord) -> None:
    """Jobs run by the handlers of the modules that `local_record` was given."""
    job = record.create("send_parcel", {"grams": 2})
    record.run_due()
    assert record.job(job)["result"] == {"grams": 2}


def test_retries_run_in_their_time(record: LocalRecord) -> None:
    """A retry runs when its wait ends before `until`, and waits otherwise."""
    job = record.create("testing_fails", {"name": "retry"})
    assert record.run_due(timedelta(minutes=90)) == 2
    assert (record.job(job)["status"], record.job(job)["attempt"]) == ("pending", 2)
    assert record.run_due(datetime.now(UTC) + timedelta(minutes=31)) == 1
    assert (record.job(job)["status"], record.job(job)["attempt"]) == ("completed", 3)


def test_jobs_run_in_the_order_of_their_times(record: LocalRecord) -> None:
    """Of a later and an earlier job the earlier runs first, and one that expires meanwhile does not run."""
    now = datetime.now(UTC)
    later = record.create("testing_greet", {"name": "b"}, scheduled_at=(now + timedelta(hours=2)).isoformat())
    earlier = record.create("testing_greet", {"name": "a"}, scheduled_at=(now + timedelta(hours=1)).isoformat())
    waits = record.create("testing_fails", {"name": "retry"}, expires_at=(now + timedelta(minutes=30)).isoformat())
    assert record.run_due(timedelta(hours=3)) == 3
    assert str(record.job(earlier)["finished_at"]) < str(record.job(later)["finished_at"])
    assert record.job(waits)["status"] == "failed"


def test_a_request_is_checked_as_by_the_api(record: LocalRecord) -> None:
    """A payload that the handler's model refuses creates no job; an unknown id is told."""
    with pytest.raises(InvalidError, match="name"):
        record.create("testing_greet", {})
    with pytest.raises(LookupError, match=str(JOB)):
        record.job(str(JOB))


def test_only_a_local_record_is_moved(record: LocalRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of another machine's jobs is not moved, nor that of jobs that an index knows."""
    with pytest.raises(ConfigError, match="on this machine"):
        run_due(database_url="postgresql://postgres@db.example.com/postgres")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    app.settings.cache_clear()
    with pytest.raises(ConfigError, match="REDIS_URL"):
        run_due()
    monkeypatch.undo()
    app.settings.cache_clear()


def test_the_environment_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the block ends, PostgreSQL is stopped and every setting has its former value."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    before = dict(os.environ)
    with local_record(tmp_path):
        assert "REDIS_URL" not in os.environ
    assert dict(os.environ) == before
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


def test_calls_of_urls_are_answered_from_memory() -> None:
    """`ctx.http` sends nothing: the test says what each URL answers, and sees what was asked of it."""
    gone = HttpAnswer(410, {}, b"", truncated=False, url="https://a.example/", redirect=None)
    ran = run(http_request, {"url": "https://a.example/", "body": "x"}, answers={"https://a.example/": gone})
    assert isinstance(ran.outcome, GaveUp)
    assert [(call.url, call.body) for call in ran.calls] == [("https://a.example/", b"x")]
    assert run(http_request, {"url": "https://b.example/"}).outcome
