"""Schedules over HTTP."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from sweephand import app
from tests.http.api import Answer, Api
from tests.http.conftest import Configure, api, configure
from tests.http.jobs import start

__all__ = ["Configure", "api", "configure"]

DAILY: dict[str, Any] = {"name": "daily", "cron": "0 9 * * *", "job": {"type": "anything", "payload": {"n": 1}}}


def put(api: Api, **fields: Any) -> Answer:
    """Send `POST /schedules` with DAILY and these fields; None takes one away."""
    body = {key: value for key, value in (DAILY | fields).items() if value is not None}
    return api.call("POST", "/schedules", json=body)


def patch(api: Api, **fields: Any) -> Answer:
    """Send `PATCH /schedules/daily`."""
    return api.call("PATCH", "/schedules/daily", json=fields)


def test_schedule_is_made_then_replaced(api: Api) -> None:
    """A name that is new answers 201, the same name again 200; the same body again changes nothing."""
    made, same, other = put(api), put(api), put(api, cron="0 10 * * *")
    assert (made.status, same.status, other.status) == (201, 200, 200)
    assert made.headers["Location"] == "/schedules/daily"
    assert (made.body["revision"], same.body["revision"], other.body["revision"]) == (1, 1, 2)
    assert api.get("/schedules/daily").body["cron"] == "0 10 * * *"


def test_answer_shows_the_next_five_fires(api: Api) -> None:
    """`next_fires` are five instants in UTC, and `dst` the schedule's class when clocks change."""
    answer = put(api, timezone="Asia/Tokyo").body
    fires = [datetime.fromisoformat(at) for at in answer["next_fires"]]
    assert [at.time() for at in fires] == [datetime(2026, 1, 1, 0, 0, tzinfo=UTC).time()] * 5
    assert {later - before for before, later in pairwise(fires)} == {timedelta(days=1)}
    assert answer["dst"] == "fixed_time"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"timezone": "Europe/Berln"}, "/timezone"),
        ({"cron": "0 0 31 2 *"}, "/cron"),
        ({"cron": "0 0 0 * * *"}, "/cron"),
        ({"cron": None, "every": "PT0.5S"}, "/every"),
        ({"every": "PT1H"}, "/every"),
        ({"cron": None}, "/cron"),
        ({"start_at": "2027-01-02T00:00:00Z", "end_at": "2027-01-01T00:00:00Z"}, "/end_at"),
        ({"name": "No slug"}, "/name"),
        ({"job": {"type": "nobody", "payload": {}}}, "/job/type"),
        ({"job": {"type": "anything", "payload": {}, "scheduled_at": "2027-01-01T00:00:00Z"}}, "/job/scheduled_at"),
        ({"misfire": "all"}, "/overlap"),
    ],
)
def test_what_can_never_fire_is_refused(api: Api, fields: dict[str, Any], pointer: str) -> None:
    """Each wrong field answers 422 with a pointer to it and a sentence."""
    answer = put(api, **fields)
    assert answer.status == 422, answer.text
    assert pointer in answer.pointers
    assert api.get("/schedules").body["schedules"] == []


def test_schedules_are_listed_by_name(api: Api) -> None:
    """A list goes on after its cursor, and leaves payloads out."""
    for name in ("b", "a", "c"):
        put(api, name=name)
    first = api.get("/schedules", limit=2).body
    rest = api.get("/schedules", limit=2, cursor=first["next_cursor"]).body
    assert [each["name"] for each in first["schedules"] + rest["schedules"]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None
    assert "payload" not in first["schedules"][0]["job"]
    assert api.get("/schedules", cursor="x").status == 422
    assert api.get("/schedules", limit=0).status == 422


def test_patch_changes_what_it_names(api: Api) -> None:
    """A patch replaces fields and keeps the others; null brings a default back; `every` takes `cron` away."""
    put(api, jitter="PT1M", timezone="Asia/Tokyo")
    changed = patch(api, jitter=None, job={"priority": 5}).body
    assert (changed["jitter"], changed["timezone"]) == ("PT0S", "Asia/Tokyo")
    assert (changed["job"]["priority"], changed["job"]["payload"]) == (5, {"n": 1})
    assert patch(api, every="PT1H").body["cron"] is None
    assert patch(api, name="weekly").pointers == ["/name"]
    assert patch(api, cron="x").status == 422


def test_pause_outlives_a_replacement(api: Api) -> None:
    """A paused schedule has no next fires; a deployment that says nothing of it keeps the pause."""
    put(api)
    assert patch(api, paused=True).body["next_fires"] == []
    assert put(api, cron="0 10 * * *").body["paused"] is True
    assert put(api, paused=False).body["paused"] is False
    assert len(patch(api, paused=False).body["next_fires"]) == 5


def test_run_makes_a_job_now(api: Api) -> None:
    """Running by hand makes a job of the template that has no `fire_at`; its key makes no second one."""
    put(api, job={"type": "anything", "payload": {"n": 7}, "expires_after": "PT1H"})
    made = api.call("POST", "/schedules/daily/run", headers={"Idempotency-Key": "k"})
    again = api.call("POST", "/schedules/daily/run", headers={"Idempotency-Key": "k"})
    another = api.call("POST", "/schedules/daily/run")
    assert (made.status, again.body["id"], again.headers["Idempotency-Replayed"]) == (201, made.body["id"], "true")
    assert made.headers["Location"] == f"/jobs/{made.body['id']}"
    assert (made.body["schedule"], made.body["fire_at"], made.body["payload"]) == ("daily", None, {"n": 7})
    assert made.body["expires_at"] is not None
    listed = api.get("/schedules/daily/jobs", limit=1).body
    assert [job["id"] for job in listed["jobs"]] == [another.body["id"]]
    rest = api.get("/schedules/daily/jobs", cursor=listed["next_cursor"]).body
    assert [job["id"] for job in rest["jobs"]] == [made.body["id"]]


def test_backfill_makes_each_fire_once(api: Api) -> None:
    """A range of the past is made in parts, each fire once, however often it is asked for."""
    put(api, cron="0 * * * *")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    span = {"from": (now - timedelta(hours=9)).isoformat(), "to": now.isoformat()}
    first = api.call("POST", "/schedules/daily/backfill", json=span | {"limit": 6}).body
    rest = api.call("POST", "/schedules/daily/backfill", json=span | {"after": first["next"]}).body
    again = api.call("POST", "/schedules/daily/backfill", json=span).body
    assert [(each["made"], each["existed"]) for each in (first, rest, again)] == [(6, 0), (4, 0), (0, 10)]
    assert (rest["next"], again["next"]) == (None, None)
    jobs = api.get("/schedules/daily/jobs").body["jobs"]
    fires = sorted(datetime.fromisoformat(job["fire_at"]) for job in jobs)
    assert fires == [now - timedelta(hours=hours) for hours in range(9, -1, -1)]


@pytest.mark.parametrize(("begin", "end", "pointer"), [(-400, -1, "/from"), (-1, 1, "/to"), (-1, -2, "/to")])
def test_backfill_keeps_to_the_past_that_is_remembered(api: Api, begin: int, end: int, pointer: str) -> None:
    """A range that begins 400 days back, ends in the future, or before it begins, answers 422."""
    put(api)
    now = datetime.now(UTC)
    span = {"from": (now + timedelta(days=begin)).isoformat(), "to": (now + timedelta(days=end)).isoformat()}
    assert api.call("POST", "/schedules/daily/backfill", json=span).pointers == [pointer]


def test_deleting_keeps_jobs_unless_they_are_to_be_cancelled(api: Api) -> None:
    """Jobs that are due stay; `?jobs=cancel` cancels those that have not started, and no others."""
    put(api)
    kept = api.call("POST", "/schedules/daily/run").body["id"]
    assert api.call("DELETE", "/schedules/daily").body == {"deleted": True, "cancelled": 0}
    assert api.get(f"/jobs/{kept}").body["status"] == "pending"
    put(api)
    running, waiting = (api.call("POST", "/schedules/daily/run").body["id"] for _ in range(2))
    start(running)
    answer = api.call("DELETE", "/schedules/daily", query_string={"jobs": "cancel"})
    assert answer.body == {"deleted": True, "cancelled": 1}
    statuses = [api.get(f"/jobs/{job}").body["status"] for job in (running, waiting)]
    assert statuses == ["in_progress", "cancelled"]
    assert api.call("DELETE", "/schedules/daily", query_string={"jobs": "all"}).pointers == ["jobs"]


def test_what_is_not_there_is_404(api: Api) -> None:
    """Each route of a schedule that is not there answers 404; a name that is no slug names none."""
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    for name in ("none", "No%20slug", "é"):
        answers = [
            api.get(f"/schedules/{name}"),
            api.get(f"/schedules/{name}/jobs"),
            api.call("PATCH", f"/schedules/{name}", json={}),
            api.call("DELETE", f"/schedules/{name}"),
            api.call("POST", f"/schedules/{name}/run"),
            api.call("POST", f"/schedules/{name}/backfill", json=span),
        ]
        assert [answer.status for answer in answers] == [404] * 6


def test_wrong_expression_of_a_row_is_told(api: Api, database: psycopg.Connection) -> None:
    """A row that SQL wrote and that is no schedule is shown as it is, with the reason; a patch puts it right."""
    put(api)
    database.execute("update sweephand.schedules set cron = 'never'")
    shown = api.get("/schedules/daily").body
    assert shown["cron"] == "never"
    assert "/cron" in shown["invalid"]
    assert patch(api, cron="0 9 * * *").body["invalid"] is None


def test_explanation_names_the_schedule(api: Api) -> None:
    """An explanation says which schedule made the job, and why it was skipped."""
    put(api, cron="* * * * *")
    running, skipped = (api.call("POST", "/schedules/daily/run").body["id"] for _ in range(2))
    start(running)
    token = str(uuid4())
    assert app.record().start([skipped], token, {"anything": 1000}, exclusive=False, max_bytes=1000).starts == []
    said = api.get(f"/jobs/{skipped}/explain").body["because"]
    assert "overlap: another job of schedule daily was running" in said[0]
    assert said[-1] == "Schedule daily made it: it was run by hand."
