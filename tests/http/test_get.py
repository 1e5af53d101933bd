"""`GET /jobs/{id}`."""

import psycopg
import pytest

from sweephand.domain.job import MAX_CRASHES, MAX_ERROR
from sweephand.domain.retry_policy import Complete, Fail
from tests.http.api import Api
from tests.http.jobs import STATUSES, job_that_is, retry_now, settle, start

NOT_IDS = ["0", "no-such-id", "0198", "g" * 36, "%00", "é", "{01980000-0000-7000-8000-000000000000}"]
NOT_IDS += ["01980000000070008000000000000000", "urn:uuid:01980000-0000-7000-8000-000000000000", "x" * 5_000]


@pytest.mark.parametrize("status", STATUSES)
def test_job_says_where_it_stands(api: Api, status: str) -> None:
    """Each status comes with what belongs to it: starts, result, reason, and the times."""
    job = api.get(f"/jobs/{job_that_is(api, status)}").body
    ended = status in ("completed", "failed", "cancelled")
    started = status in ("in_progress", "completed", "failed")
    assert job["status"] == status
    assert job["attempt"] == int(started)
    assert (job["started_at"] is not None, job["finished_at"] is not None) == (started, ended)
    assert job["result"] == ({"done": True} if status == "completed" else None)
    assert job["reason"] == ("it could not be done" if status == "failed" else None)
    assert [error["error"] for error in job["errors"]] == (["ValueError: no"] if status == "failed" else [])


@pytest.mark.parametrize("result", [None, False, 0, "", [], {}, "text", [1, {"a": 0.5}], {"é": "\U0001f600"}])
def test_result_is_what_the_handler_returned(api: Api, result: object) -> None:
    """Any JSON value is a result."""
    job = api.create()["id"]
    settle(job, Complete(result))  # type: ignore[arg-type] # each is a JSON value
    assert api.get(f"/jobs/{job}").body["result"] == result


def test_each_failed_attempt_is_told(api: Api) -> None:
    """Errors stand in the order of the attempts, with their kind and time."""
    job = api.create()["id"]
    retry_now(job, "first")
    retry_now(job, "second")
    waiting = api.get(f"/jobs/{job}").body
    assert (waiting["status"], waiting["attempt"]) == ("pending", 2)
    settle(job, Fail("no use", "gave_up", "third"))
    errors = api.get(f"/jobs/{job}").body["errors"]
    assert [(e["attempt"], e["kind"], e["error"]) for e in errors] == [
        (1, "raised", "first"), (2, "raised", "second"), (3, "gave_up", "third"),
    ]  # fmt: skip


def test_first_and_last_errors_of_many_are_told(api: Api, database: psycopg.Connection) -> None:
    """Of the errors of a long-failing job the first 20 and the last 20 are answered, each of at most 2 KB."""
    job = api.create(max_retries=100)["id"]
    database.execute(
        "insert into sweephand.errors (id, attempt, kind, error) "
        "select %s, n, 'raised', repeat('e', %s) from generate_series(1, 101 + %s) n",
        (job, MAX_ERROR, MAX_CRASHES),
    )
    answer = api.get(f"/jobs/{job}")
    assert [e["attempt"] for e in answer.body["errors"]] == [*range(1, 21), *range(85, 105)]
    assert len(answer.text) < 100_000


def test_forty_errors_are_all_told(api: Api, database: psycopg.Connection) -> None:
    """Where the first 20 and the last 20 meet, none is left out or told twice."""
    job = api.create(max_retries=100)["id"]
    database.execute(
        "insert into sweephand.errors (id, attempt, kind, error) "
        "select %s, n, 'raised', 'no' from generate_series(1, 40) n",
        (job,),
    )
    assert [e["attempt"] for e in api.get(f"/jobs/{job}").body["errors"]] == [*range(1, 41)]


@pytest.mark.parametrize("job", [*NOT_IDS, "01980000-0000-7000-8000-000000000000"])
def test_unknown_job_is_not_found(api: Api, job: str) -> None:
    """An id that no job has, or could have, is 404."""
    answer = api.get(f"/jobs/{job}")
    assert (answer.status, answer.body["title"]) == (404, "No such job")


def test_id_may_be_written_in_capitals(api: Api) -> None:
    """UUIDs are compared by value (RFC 9562, 4)."""
    job = api.create()["id"]
    assert api.get(f"/jobs/{job.upper()}").body["id"] == job


def test_job_of_plain_sql_is_read_as_any_other(api: Api, database: psycopg.Connection) -> None:
    """What was enqueued in SQL has all that the document promises."""
    row = database.execute("select sweephand.enqueue('unknown.type', '{\"a\": 1}')::text").fetchone()
    assert row
    job = api.get(f"/jobs/{row[0]}").body
    assert (job["type"], job["payload"], job["status"]) == ("unknown.type", {"a": 1}, "pending")


def test_lapsed_lease_is_still_in_progress(api: Api, database: psycopg.Connection) -> None:
    """Until a tick has found that its function is lost, a job is in progress."""
    job = api.create()["id"]
    start(job)
    database.execute("update sweephand.leases set started_at = 'epoch', until = now() - interval '1 h'")
    assert api.get(f"/jobs/{job}").body["status"] == "in_progress"
