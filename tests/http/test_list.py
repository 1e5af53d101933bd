"""`GET /jobs`."""

from typing import Any
from uuid import UUID

import psycopg
import pytest

from sweephand.domain.cursor import EARLIEST, LATEST, Position, encode
from tests.http.api import Api
from tests.http.jobs import STATUSES, job_that_is

EMAIL = {"to": "test@example.com", "subject": "Hello!", "message": "This is a test job."}


def listed(api: Api, **query: Any) -> list[str]:
    """Return the ids of the first page."""
    (page,) = api.pages(**query)
    return page


def test_latest_created_comes_first(api: Api) -> None:
    """A list goes from the newest job to the oldest, whenever they are to run."""
    first = api.create(scheduled_at="2999-01-01T00:00:00Z")["id"]
    second = api.create()["id"]
    third = api.create(scheduled_at="2001-01-01T00:00:00Z")["id"]
    assert listed(api) == [third, second, first]


def test_card_leaves_out_what_may_be_large(api: Api) -> None:
    """A card is the job without payload, result and errors."""
    job = api.create(payload={"x": "x" * 1000})
    (card,) = api.get("/jobs").body["jobs"]
    assert card == {name: value for name, value in job.items() if name not in ("payload", "result", "errors")}


def test_pages_follow_one_another(api: Api) -> None:
    """Every job is on one page, in order, and the last page has no cursor."""
    ids = [api.create()["id"] for _ in range(7)][::-1]
    assert api.pages(limit=3) == [ids[:3], ids[3:6], ids[6:]]
    assert api.pages(limit=7) == [ids]
    assert api.pages(limit=1) == [[job] for job in ids]


def test_empty_list_is_a_page(api: Api) -> None:
    """Nothing is answered as an empty page."""
    assert api.get("/jobs").body == {"jobs": [], "next_cursor": None}


def test_pages_stay_as_they_were_under_inserts(api: Api) -> None:
    """Jobs that are made while pages are turned come before the first page: none is seen twice or left out."""
    ids = [api.create()["id"] for _ in range(4)][::-1]
    first = api.get("/jobs", limit=2).body
    newer = [api.create()["id"] for _ in range(3)][::-1]
    second = api.get("/jobs", limit=2, cursor=first["next_cursor"]).body
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == ids
    assert listed(api) == newer + ids


def test_jobs_of_one_instant_are_all_listed(api: Api, database: psycopg.Connection) -> None:
    """Jobs of one transaction share their time and are told apart by their ids."""
    database.execute("select sweephand.enqueue('anything') from generate_series(1, 7)")
    pages = api.pages(limit=2)
    assert [len(page) for page in pages] == [2, 2, 2, 1]
    found = [job for page in pages for job in page]
    assert found == sorted(set(found), reverse=True)


def test_cancelled_job_stays_where_it_was(api: Api) -> None:
    """Pages follow creation, which no change of status moves."""
    ids = [api.create()["id"] for _ in range(4)][::-1]
    first = api.get("/jobs", limit=2).body
    api.cancel(ids[0])
    api.cancel(ids[3])
    second = api.get("/jobs", limit=2, cursor=first["next_cursor"]).body
    assert [job["id"] for job in second["jobs"]] == ids[2:]


def test_each_status_is_a_list_of_its_own(api: Api) -> None:
    """A status filter finds exactly the jobs that say so of themselves."""
    ids = {status: [job_that_is(api, status) for _ in range(3)][::-1] for status in STATUSES}
    for status in STATUSES:
        assert api.pages(status=status, limit=2) == [ids[status][:2], ids[status][2:]]
        assert {job["status"] for job in api.get("/jobs", status=status).body["jobs"]} == {status}
    assert sorted(listed(api)) == sorted(job for jobs in ids.values() for job in jobs)


@pytest.mark.parametrize("status", [None, *STATUSES])
def test_type_filter_goes_with_every_status(api: Api, status: str | None) -> None:
    """A type filter narrows each list to its jobs."""
    api.create(type="email_notification", payload=EMAIL)
    mine = job_that_is(api, status or "pending")
    query = {"type": "anything"} | ({"status": status} if status else {})
    assert listed(api, **query) == [mine]
    assert listed(api, **query | {"type": "resize_image"}) == []


def test_type_that_no_handler_has_can_be_listed(api: Api, database: psycopg.Connection) -> None:
    """Jobs of a handler that is gone, or was never there, are still found."""
    database.execute("select sweephand.enqueue('gone.long-ago')")
    assert len(listed(api, type="gone.long-ago")) == 1


def test_default_page_has_fifty_jobs_and_the_largest_two_hundred(api: Api, database: psycopg.Connection) -> None:
    """Without a limit a page has 50 jobs; 200 is the most."""
    database.execute("select sweephand.enqueue('anything') from generate_series(1, 201)")
    assert [len(page) for page in api.pages()] == [50, 50, 50, 50, 1]
    assert [len(page) for page in api.pages(limit=200)] == [200, 1]


@pytest.mark.parametrize("limit", ["0", "201", "-1", "1.5", "ten", "", "1e1", "0x10", "٣", "9" * 100, " 5", "+5"])
def test_limit_out_of_bounds_is_refused(api: Api, limit: str) -> None:
    """A limit is a whole number from 1 to 200."""
    answer = api.get("/jobs", limit=limit)
    assert (answer.status, answer.pointers) == (422, ["limit"])


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"status": "done"}, "status"),
        ({"status": ""}, "status"),
        ({"status": "PENDING"}, "status"),
        ({"type": ""}, "type"),
        ({"type": "No Such"}, "type"),
        ({"type": "x" * 65}, "type"),
        ({"order": "asc"}, "order"),
        ({"status": ["pending", "failed"]}, "status"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "AAAA"}, "cursor"),
        ({"cursor": "é" * 56}, "cursor"),
        ({"cursor": "\0" * 56}, "cursor"),
        ({"cursor": "A" * 5_000}, "cursor"),
    ],
)
def test_query_that_means_nothing_is_refused(api: Api, query: dict[str, Any], pointer: str) -> None:
    """An unknown parameter, one given twice and a value out of range are named."""
    answer = api.get("/jobs", **query)
    assert (answer.status, answer.pointers) == (422, [pointer])


def test_cursor_is_good_for_its_filters_alone(api: Api, other: Api) -> None:
    """A cursor of another list is refused; the limit and the caller may change, as both see the same list."""
    for _ in range(3):
        api.create()
    cursor = api.get("/jobs", limit=1).body["next_cursor"]
    assert [len(who.get("/jobs", cursor=cursor, limit=2).body["jobs"]) for who in (api, other)] == [2, 2]
    assert api.get("/jobs", cursor=cursor, status="pending").pointers == ["cursor"]
    assert api.get("/jobs", cursor=cursor, type="anything").pointers == ["cursor"]


@pytest.mark.parametrize(
    ("at", "found"), [(EARLIEST, 0), (LATEST, 1), (-1, 0), (0, 0), (EARLIEST - 1, None), (LATEST + 1, None)]
)
def test_forged_cursor_is_a_place_or_refused(api: Api, at: int, found: int | None) -> None:
    """A cursor that was made up, of any time that exists, begins the list there; of any other it is refused."""
    api.create()
    forged = api.get("/jobs", cursor=encode(Position(at, UUID(int=0)), filters="|"))
    if found is None:
        assert (forged.status, forged.pointers) == (422, ["cursor"])
    else:
        assert len(forged.body["jobs"]) == found


def test_every_caller_sees_every_job(api: Api, other: Api) -> None:
    """Keys are not tenants: they say who called, not whose a job is."""
    job = api.create()["id"]
    assert listed(other) == [job]
