"""`PUT /jobs/{id}/cancel`."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from sweephand import app
from tests.http.api import Api
from tests.http.jobs import job_that_is, retry_now
from tests.http.test_get import NOT_IDS


def test_pending_job_is_cancelled(api: Api) -> None:
    """The answer is the cancelled job, and so is what is read afterwards."""
    job = api.create()["id"]
    answer = api.cancel(job)
    assert (answer.status, answer.body["status"]) == (200, "cancelled")
    assert answer.body["finished_at"]
    assert api.get(f"/jobs/{job}").body == answer.body


def test_cancelling_again_changes_nothing(api: Api) -> None:
    """A repeated cancel, after a lost answer, gets the same answer."""
    job = api.create()["id"]
    first = api.cancel(job)
    again = api.cancel(job)
    assert (again.status, again.body) == (200, first.body)


def test_job_that_waits_for_its_next_attempt_is_cancelled(api: Api) -> None:
    """Between two attempts a job is pending, and its errors stay."""
    job = api.create()["id"]
    retry_now(job, "no")
    answer = api.cancel(job)
    assert (answer.body["status"], answer.body["attempt"], len(answer.body["errors"])) == ("cancelled", 1, 1)


@pytest.mark.parametrize("status", ["in_progress", "completed", "failed"])
def test_job_that_has_started_is_not_cancelled(api: Api, status: str) -> None:
    """What runs or has ended stays as it is; the refusal says how it stands."""
    job = job_that_is(api, status)
    before = api.get(f"/jobs/{job}").body
    answer = api.cancel(job)
    assert (answer.status, answer.body["title"], answer.body["job_status"]) == (409, "Not cancellable", status)
    assert api.get(f"/jobs/{job}").body == before


@pytest.mark.parametrize("job", [*NOT_IDS, "01980000-0000-7000-8000-000000000000"])
def test_unknown_job_is_not_found(api: Api, job: str) -> None:
    """An id that no job has, or could have, is 404."""
    assert api.cancel(job).status == 404


def test_cancel_or_start_wins(api: Api) -> None:
    """Of a cancel and a start at the same moment exactly one succeeds, and the answer says which."""

    def race(job: str) -> tuple[int, int]:
        with ThreadPoolExecutor(2) as pool:
            cancelled = pool.submit(api.cancel, job)
            leases = {"anything": 60_000}
            started = pool.submit(app.record().start, [job], str(uuid4()), leases, exclusive=False, max_bytes=10**7)
            return cancelled.result().status, len(started.result().starts)

    for _ in range(20):
        job = api.create()["id"]
        outcome = race(job)
        assert outcome in ((200, 0), (409, 1))
        assert api.get(f"/jobs/{job}").body["status"] == ("cancelled" if outcome == (200, 0) else "in_progress")
