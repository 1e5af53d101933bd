"""`GET /jobs/{id}/explain`: the reason in words, right in each state that a job can be in."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import redis

from infra.local.services.services import Services
from sweephand import app
from sweephand.domain.retry_policy import RetryAfter
from tests.http.api import Api
from tests.http.conftest import Configure
from tests.http.jobs import job_that_is, settle, start
from tests.http.test_services_down import without


def tick_looks(*types: str) -> None:
    """Let a tick that knows `types` look for work."""
    app.record().restore(types or ("anything",), 1000, 10)


def said(api: Api, job: str) -> list[str]:
    """Return the sentences, which come with the status that the job has."""
    answer = api.get(f"/jobs/{job}/explain")
    assert answer.status == 200, answer.text
    assert answer.body["status"] == api.get(f"/jobs/{job}").body["status"]
    because: list[str] = answer.body["because"]
    assert because
    return because


def where(api: Api, job: str) -> str:
    """Return what is said of the index."""
    index: str = api.get(f"/jobs/{job}/explain").body["index"]
    return index


def test_a_job_that_is_not_due_says_in_how_long(api: Api) -> None:
    """The wait, and the attempt that it is for."""
    tick_looks()
    job = api.create(scheduled_at=(datetime.now(UTC) + timedelta(hours=5, minutes=1)).isoformat())["id"]
    assert said(api, job) == ["It is due in 5 h, for attempt 1."]


def test_a_job_that_is_due_stands_in_the_index(api: Api) -> None:
    """A due job is free to be claimed."""
    tick_looks()
    first, second = api.create()["id"], api.create()["id"]
    assert where(api, first) == "due"
    assert said(api, first)[1:] == ["It is in the index, free to be claimed."]
    assert said(api, second)[1:] == [
        "It is in the index, free to be claimed.",
        "1 of its type and priority is due before it.",
    ]


def test_a_job_that_the_index_lost_says_so(api: Api, clean: Services) -> None:
    """After a flush a due job is absent from the index, and who puts it back is told."""
    tick_looks()
    job = api.create()["id"]
    with redis.Redis.from_url(clean.valkey.url) as client:
        client.flushall()
    assert where(api, job) == "absent"
    assert said(api, job)[1].startswith("It is not in the index: a tick puts it back")


def test_a_claimed_job_is_held(api: Api, clean: Services) -> None:
    """A job that a tick has claimed and not started is held for a while."""
    tick_looks()
    job = api.create()["id"]
    with redis.Redis.from_url(clean.valkey.url) as client:
        [key] = client.keys("*:due:anything:0")
        client.zincrby(key, 20_000, job)
    assert where(api, job) == "waiting"
    assert said(api, job)[1].startswith(
        "A tick has claimed it, or left it for later: the index holds it for another"
    )


def test_without_an_index_ticks_take_it_from_the_record(api: Api, clean: Services, configure: Configure) -> None:
    """Redis down, or none configured, is told and is no reason to wait."""
    tick_looks()
    job = api.create()["id"]
    with without(clean, "valkey"):
        assert said(api, job)[1] == "The index is away: ticks take it from the record itself."
    configure(REDIS_URL=None)
    assert said(api, job)[1] == "The index is unused: ticks take it from the record itself."


def test_a_running_job_says_how_long_its_lease_lasts(api: Api) -> None:
    """Which attempt runs, and for how long it is believed alive."""
    tick_looks()
    assert said(api, job_that_is(api, "in_progress")) == ["Attempt 1 is running; its lease lasts another 60 s."]


def test_a_lost_start_says_that_its_lease_ended(api: Api, database: psycopg.Connection) -> None:
    """A lease that has expired, and that no tick has found yet."""
    tick_looks()
    job = job_that_is(api, "in_progress")
    database.execute(
        "update sweephand.leases set started_at = now() - interval '1 h', until = now() - interval '90 s'"
    )
    [first] = said(api, job)
    assert first.startswith("Attempt 1 was lost with its function: its lease ended 90 s ago.")


def lose(job: str, database: psycopg.Connection) -> None:
    """Start a due job, lose its function while the handler runs, and let a tick find that."""
    start(job)
    database.execute("update sweephand.leases set entered = true, until = started_at + interval '1 us'")
    tick_looks()


def test_a_job_that_was_lost_twice_says_that_it_starts_alone(api: Api, database: psycopg.Connection) -> None:
    """The explanation names each crash, and from the second on what it leads to."""
    tick_looks()
    job = api.create()["id"]
    lose(job, database)
    text = " ".join(said(api, job))
    assert "waits for attempt 2" in text
    assert "Attempt 1 ended with crash: the function that ran this attempt was lost" in text
    assert text.endswith("It was lost with its function once; lost 4 times, it fails.")
    lose(job, database)
    text = " ".join(said(api, job))
    assert "waits for attempt 3" in text
    assert "lost with its function 2 times, so it starts when nothing else runs beside it" in text


def test_a_job_between_attempts_says_why(api: Api) -> None:
    """The wait, and the first line of the error before."""
    tick_looks()
    job = api.create()["id"]
    settle(job, RetryAfter(300, "raised", "ValueError: no\n  at x.py"))
    assert said(api, job) == ["It is due in 5 min, for attempt 2.", "Attempt 1 ended with raised: ValueError: no"]


def test_a_paused_type_says_so(api: Api, database: psycopg.Connection) -> None:
    """A paused type waits for a person."""
    tick_looks()
    job = api.create()["id"]
    database.execute("insert into sweephand.paused (type) values ('anything')")
    assert said(api, job)[0].startswith("Its type, anything, is paused")


def test_a_type_that_ticks_do_not_know_says_so(api: Api) -> None:
    """A job whose type the last tick had no handler for."""
    tick_looks("other")
    job = api.create()["id"]
    assert "the last tick had no handler for its type, anything" in said(api, job)[0]


def test_a_job_past_its_expires_at_says_so(api: Api) -> None:
    """It has not been started in time, and ends at the next tick."""
    tick_looks()
    job = api.create(expires_at="2026-01-01T00:00:00Z")["id"]
    assert "without a start: the next tick ends it as failed" in said(api, job)[0]


def test_silence_of_the_ticks_is_told(api: Api, database: psycopg.Connection) -> None:
    """No tick yet, or none for long, is the reason beside all others."""
    job = api.create()["id"]
    assert said(api, job)[-1] == "No tick has been seen yet: check that the schedule calls it."
    tick_looks()
    assert "tick has been seen" not in " ".join(said(api, job))
    database.execute("update sweephand.ticks set at = now() - interval '3 h'")
    assert said(api, job)[-1] == "No tick has been seen for 3 h: check the schedule and the tick's log."


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("completed", "Attempt 1 completed it "),
        ("failed", "It failed "),
        ("cancelled", "It was cancelled "),
    ],
)
def test_a_finished_job_says_how_it_ended(api: Api, status: str, words: str) -> None:
    """One sentence, and the index is not asked."""
    job = job_that_is(api, status)
    [only] = said(api, job)
    assert only.startswith(words)
    assert where(api, job) == "not asked"
    if status == "failed":
        assert only.endswith("it could not be done")


def test_an_unknown_job_is_404(api: Api) -> None:
    """There is nothing to explain."""
    assert api.get("/jobs/01980000-0000-7000-8000-000000000000/explain").status == 404
    assert api.get("/jobs/nonsense/explain").status == 404


def test_a_tick_notes_that_it_looked_at_most_once_in_five_seconds(api: Api, database: psycopg.Connection) -> None:
    """Looking for work costs a write in each five seconds, not in each look."""
    tick_looks()
    before = database.execute("select at from sweephand.ticks").fetchone()
    tick_looks()
    assert database.execute("select at from sweephand.ticks").fetchone() == before
    database.execute("update sweephand.ticks set at = at - interval '6 s'")
    tick_looks("anything", "other")
    row = database.execute("select at > %s, types from sweephand.ticks", before).fetchone()
    assert row == (True, ["anything", "other"])


def test_explaining_starts_nothing(api: Api) -> None:
    """A job that was explained starts as if it had not been."""
    job = api.create()["id"]
    said(api, job)
    assert start(job)
