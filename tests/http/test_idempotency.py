"""`Idempotency-Key`."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.http.api import Answer, Api

BODY: dict[str, Any] = {"type": "anything", "payload": {"n": 1}}


def count(database: psycopg.Connection) -> int:
    """Return the number of jobs."""
    row = database.execute("select count(*) from sweephand.jobs").fetchone()
    assert row
    found: int = row[0]
    return found


def replayed(answer: Answer) -> bool:
    """Tell whether the answer is that of an earlier request."""
    assert answer.status == 201, answer.text
    return answer.headers.get("Idempotency-Replayed") == "true"


def age(database: psycopg.Connection, interval: str) -> None:
    """Make every key older."""
    database.execute("update sweephand.idempotency set created_at = created_at - %s::interval", (interval,))


def test_same_key_and_request_is_the_first_job_again(api: Api, database: psycopg.Connection) -> None:
    """A repeated request makes nothing: it gets the job, as it now stands, and is told so."""
    first = api.post(BODY, Idempotency_Key="k")
    api.cancel(first.body["id"])
    again = api.post(BODY, Idempotency_Key="k")
    assert (replayed(first), replayed(again)) == (False, True)
    assert again.headers["Location"] == first.headers["Location"]
    assert (again.body["id"], again.body["status"]) == (first.body["id"], "cancelled")
    assert count(database) == 1


def test_without_a_key_each_request_makes_a_job(api: Api, database: psycopg.Connection) -> None:
    """Equal requests are different jobs unless a key says otherwise."""
    assert not replayed(api.post(BODY))
    assert not replayed(api.post(BODY))
    assert count(database) == 2


@pytest.mark.parametrize("change", [{"payload": {"n": 2}}, {"priority": 0}, {"expires_at": None}])
def test_same_key_for_another_request_is_refused(
    api: Api, database: psycopg.Connection, change: dict[str, Any]
) -> None:
    """The request counts as it was sent: what states a default is another than what leaves it out."""
    api.post(BODY, Idempotency_Key="k")
    answer = api.post(BODY | change, Idempotency_Key="k")
    assert (answer.status, answer.body["title"]) == (409, "Idempotency-Key reused")
    assert count(database) == 1


@pytest.mark.parametrize(
    "spelling",
    [
        '{"payload":{"n":1},"type":"anything"}',
        ' {"type" : "anything",\n "payload" : {"n" : 1}} ',
        '{"type":"\\u0061nything","payload":{"n":1}}',
        '{"type":"anything","payload":{"n":1.0}}',
        '{"type":"anything","payload":{"n":10e-1}}',
    ],
)
def test_spelling_of_the_request_does_not_count(api: Api, spelling: str) -> None:
    """The same JSON value is the same request: order, spaces, escapes and exponents are spelling."""
    first = api.post(BODY, Idempotency_Key="k")
    again = api.post(data=spelling, Idempotency_Key="k")
    assert replayed(again)
    assert again.body["id"] == first.body["id"]


def test_true_is_not_one(api: Api) -> None:
    """Values of different JSON types are different requests."""
    api.post(BODY, Idempotency_Key="k")
    assert api.post(BODY | {"payload": {"n": True}}, Idempotency_Key="k").status == 409


def test_key_belongs_to_its_caller(api: Api, other: Api, database: psycopg.Connection) -> None:
    """Two callers may use the same key; neither sees the other's job."""
    assert not replayed(api.post(BODY, Idempotency_Key="k"))
    assert not replayed(other.post(BODY, Idempotency_Key="k"))
    assert other.post(BODY | {"priority": 1}, Idempotency_Key="k").status == 409
    assert count(database) == 2


def test_other_key_is_another_job(api: Api, database: psycopg.Connection) -> None:
    """A key names one request; case counts."""
    assert not replayed(api.post(BODY, Idempotency_Key="k"))
    assert not replayed(api.post(BODY, Idempotency_Key="K"))
    assert count(database) == 2


def test_key_lives_a_day(api: Api, database: psycopg.Connection) -> None:
    """For 24 hours a key is kept; then it is as new, for the same request and for another."""
    first = api.post(BODY, Idempotency_Key="k")
    age(database, "23 hours 59 minutes")
    assert replayed(api.post(BODY, Idempotency_Key="k"))
    age(database, "2 minutes")
    second = api.post(BODY, Idempotency_Key="k")
    assert not replayed(second)
    assert second.body["id"] != first.body["id"]
    age(database, "25 hours")
    assert not replayed(api.post(BODY | {"priority": 1}, Idempotency_Key="k"))
    assert count(database) == 3


def test_concurrent_requests_make_one_job(api: Api, database: psycopg.Connection) -> None:
    """Of requests that come at once, one makes the job and the others get it."""
    api.create()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.post(BODY, Idempotency_Key="k"), range(16)))
    assert [replayed(answer) for answer in answers].count(False) == 1
    assert len({answer.body["id"] for answer in answers}) == 1
    assert count(database) == 1 + 1


def test_concurrent_keys_do_not_wait_for_each_other(api: Api, database: psycopg.Connection) -> None:
    """Requests under different keys each make their job."""
    api.create()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: api.post(BODY, Idempotency_Key=f"k{n}"), range(16)))
    assert not any(replayed(answer) for answer in answers)
    assert count(database) == 1 + 16


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel", "a\tb"])
def test_key_that_cannot_be_kept_is_refused(api: Api, database: psycopg.Connection, key: str) -> None:
    """A key is 1 to 255 printable ASCII characters; no other is taken for none."""
    answer = api.post(BODY, Idempotency_Key=key)
    assert (answer.status, answer.pointers) == (422, ["Idempotency-Key"])
    assert count(database) == 0


def test_refused_request_uses_no_key_up(api: Api) -> None:
    """A request that made nothing can be mended and sent under its key."""
    assert api.post(BODY | {"priority": 10}, Idempotency_Key="k").status == 422
    assert not replayed(api.post(BODY | {"priority": 9}, Idempotency_Key="k"))


def test_key_of_a_deleted_job_is_told(api: Api, database: psycopg.Connection) -> None:
    """When an operator has deleted the job, the key is refused as used rather than answered with nothing."""
    api.post(BODY, Idempotency_Key="k")
    database.execute("delete from sweephand.jobs")
    answer = api.post(BODY, Idempotency_Key="k")
    assert (answer.status, answer.body["title"]) == (409, "Idempotency-Key reused")
    assert "deleted" in answer.body["detail"]
