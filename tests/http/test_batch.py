"""`POST /jobs/batch`."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import redis

from infra.local.services.services import Services
from sweephand.domain.request import MAX_JOBS
from tests.http.api import Answer, Api
from tests.http.conftest import Configure

JOB: dict[str, Any] = {"type": "anything", "payload": {"n": 1}}
EMAIL = {"to": "test@example.com", "subject": "Hello!", "message": "This is a test job."}


def post(api: Api, jobs: Sequence[Any], **headers: str) -> Answer:
    """Send a batch."""
    named = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return api.call("POST", "/jobs/batch", data=json.dumps({"jobs": jobs}), headers=named)


def count(database: psycopg.Connection) -> int:
    """Return the number of jobs."""
    return len(database.execute("select id from sweephand.jobs").fetchall())


def test_a_batch_is_created_in_order(api: Api, database: psycopg.Connection) -> None:
    """A 201 carries the cards in the order of the request, as a list shows them; all are committed."""
    jobs = [JOB | {"payload": {"n": n}, "priority": n % 10, "max_retries": n} for n in range(50)]
    answer = post(api, jobs)
    assert answer.status == 201
    cards = answer.body["jobs"]
    assert [card["max_retries"] for card in cards] == list(range(50))
    assert count(database) == 50
    listed = {job["id"]: job for job in api.get("/jobs", limit=200).body["jobs"]}
    assert [listed[card["id"]] for card in cards] == cards
    assert [api.get(f"/jobs/{card['id']}").body["payload"] for card in cards] == [job["payload"] for job in jobs]


def test_a_thousand_fit_and_no_more(api: Api, database: psycopg.Connection) -> None:
    """One to MAX_JOBS jobs are a batch; none, more, or no list are refused at /jobs."""
    assert post(api, [JOB] * MAX_JOBS).status == 201
    for wrong in ([], [JOB] * (MAX_JOBS + 1), "jobs", None):
        answer = post(api, wrong)  # type: ignore[arg-type]
        assert (answer.status, answer.pointers) == (422, ["/jobs"])
    assert count(database) == MAX_JOBS


def test_each_fault_is_pointed_at(api: Api, database: psycopg.Connection) -> None:
    """A 422 names every wrong value by its place in the batch, and nothing is created."""
    jobs: list[Any] = [{"type": "email_notification", "payload": EMAIL} for _ in range(20)]
    jobs[3] = "no job"
    jobs[9] = JOB | {"priority": 10, "color": "red"}
    jobs[17] = {"type": "email_notification", "payload": EMAIL | {"to": "nobody"}}
    jobs[19] = {"type": "nothing.such", "payload": {}}
    answer = post(api, jobs)
    assert answer.status == 422
    assert set(answer.pointers) == {
        "/jobs/3", "/jobs/9/priority", "/jobs/9/color", "/jobs/17/payload/to", "/jobs/19/type",
    }  # fmt: skip
    assert count(database) == 0


def test_faults_are_bounded(api: Api) -> None:
    """However much is wrong, an answer tells of 100 faults."""
    assert len(post(api, ["no job"] * MAX_JOBS).pointers) == 100


def test_a_field_beside_the_jobs_is_refused(api: Api) -> None:
    """A batch has no fields but its jobs."""
    sent = json.dumps({"jobs": [JOB], "atomic": False})
    answer = api.call("POST", "/jobs/batch", data=sent, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.pointers) == (422, ["/atomic"])


def test_four_mebibytes_are_the_limit(api: Api) -> None:
    """A batch of up to 4 MiB is taken; a longer body is 413 and says the limit."""
    big = [JOB | {"payload": {"text": "x" * 400_000}} for _ in range(10)]
    assert post(api, big).status == 201
    answer = post(api, [*big, *big[:1]])
    assert answer.status == 413
    assert "4096 KiB" in answer.body["detail"]


def test_a_key_works_for_the_batch(api: Api, database: psycopg.Connection) -> None:
    """Asking again under the same key gives the same jobs as they now stand; another batch under it is a 409."""
    first = post(api, [JOB, JOB], Idempotency_Key="k")
    api.cancel(first.body["jobs"][1]["id"])
    again = post(api, [JOB, JOB], Idempotency_Key="k")
    assert again.status == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert [job["id"] for job in again.body["jobs"]] == [job["id"] for job in first.body["jobs"]]
    assert [job["status"] for job in again.body["jobs"]] == ["pending", "cancelled"]
    assert post(api, [JOB], Idempotency_Key="k").status == 409
    assert count(database) == 2


def test_what_is_due_soon_is_indexed_at_once(api: Api, clean: Services) -> None:
    """The index gets those of the batch that are due within the horizon."""
    far = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    cards = post(api, [JOB, JOB | {"scheduled_at": far}, JOB | {"priority": 9}]).body["jobs"]
    with redis.Redis.from_url(clean.valkey.url) as client:
        members = [member.decode() for key in client.scan_iter("*:due:*") for member in client.zrange(key, 0, -1)]
    assert set(members) == {cards[0]["id"], cards[2]["id"]}


def test_without_an_index_a_batch_is_created(configure: Configure, api: Api, database: psycopg.Connection) -> None:
    """Redis away: still 201, and committed."""
    configure(REDIS_URL="redis://127.0.0.1:1")
    assert post(api, [JOB, JOB]).status == 201
    assert count(database) == 2


def test_the_direct_transport_creates_batches(configure: Configure, api: Api, database: psycopg.Connection) -> None:
    """With STORE=direct a batch is created by PostgreSQL itself, with the same answer."""
    configure(STORE="direct")
    cards = post(api, [JOB, JOB]).body["jobs"]
    configure(STORE=None)
    assert [job["id"] for job in reversed(api.get("/jobs").body["jobs"])] == sorted(card["id"] for card in cards)
