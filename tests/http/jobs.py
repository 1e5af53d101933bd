"""Jobs brought to where a test needs them, by the record's own verbs."""

from typing import Any
from uuid import uuid4

from sweephand import app
from sweephand.domain.retry_policy import Complete, Decision, Fail, RetryAfter
from sweephand.ports.record import Settlement
from tests.http.api import Api

STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")


def start(job: str) -> str:
    """Start a due job and return its lease token."""
    token = str(uuid4())
    started = app.record().start([job], token, {"anything": 60_000}, exclusive=True, max_bytes=10_000_000)
    assert [one.id for one in started.starts] == [job]
    return token


def settle(job: str, decision: Decision) -> None:
    """Start a due job and settle it."""
    (settled,) = app.record().settle([Settlement(job, start(job), decision)])
    assert not settled.lost


def job_that_is(api: Api, status: str, **fields: Any) -> str:
    """Return the id of a new job with this status."""
    job: str = api.create(**fields)["id"]
    match status:
        case "in_progress":
            start(job)
        case "completed":
            settle(job, Complete({"done": True}))
        case "failed":
            settle(job, Fail("it could not be done", "raised", "ValueError: no"))
        case "cancelled":
            api.cancel(job)
    return job


def retry_now(job: str, error: str) -> None:
    """Fail one attempt of a job that is due, and have it due again."""
    settle(job, RetryAfter(0, "raised", error))
