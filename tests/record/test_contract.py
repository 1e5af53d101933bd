"""What every implementation of the record does."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from sweephand.adapters.clock import SystemClock
from sweephand.domain.errors import RecordRefusedError
from sweephand.domain.job import Idempotency, JobJson, NewJob
from sweephand.domain.retry_policy import Complete, Decision, Fail, Release, RetryAfter
from sweephand.ports.record import CreateOutcome, Record, Settlement, Verdict
from tests.record.conftest import LEASES, a_job, done, lapse, made, started

HORIZON = 300_000


def in_(seconds: float) -> datetime:
    """Return the time that is so many seconds from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def status(record: Record, job: str) -> str:
    """Return a job's status."""
    found = record.get(uuid.UUID(job))
    assert found is not None
    return str(found["status"])


def _id(job: JobJson) -> str:
    return str(job["id"])


def settle(record: Record, settlement: Settlement) -> bool:
    """Settle one start; tell whether it was still the caller's."""
    return not record.settle([settlement])[0].lost


# ---------------------------------------------------------------- create, get, list, cancel


def test_a_created_job_is_pending_and_whole(record: Record) -> None:
    """A created job comes back whole, pending, with its defaults and its wait."""
    created = record.create([NewJob(uuid.uuid4(), "noop", {"a": [1, "ü", None]})])
    job = created.jobs[0]
    assert (job["status"], job["attempt"], job["max_retries"], job["priority"]) == ("pending", 0, 3, 0)
    assert job["payload"] == {"a": [1, "ü", None]}
    assert created.waits_ms == [0]
    assert record.get(uuid.UUID(str(job["id"]))) == job


def test_a_past_time_is_kept_and_due_now(record: Record) -> None:
    """`scheduled_at` stays what was asked for; `run_at` is not before the insert."""
    job = record.create([a_job(scheduled_at=datetime(2025, 6, 23, 18, 30, tzinfo=UTC))]).jobs[0]
    assert job["scheduled_at"] == "2025-06-23T18:30:00.000Z"
    assert job["run_at"] == job["created_at"]


def test_what_a_create_answers_is_what_the_record_tells_later(record: Record) -> None:
    """A new job is rendered by the caller (`domain/request.py`): to the millisecond as the record renders it."""
    now = datetime.now(UTC)
    jobs = [
        a_job(),
        a_job(priority=9, max_retries=0, scheduled_at=now - timedelta(days=1, microseconds=1)),
        a_job(scheduled_at=now + timedelta(minutes=1), expires_at=now + timedelta(hours=1, microseconds=999)),
        a_job(scheduled_at=datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
        a_job(scheduled_at=datetime(1, 1, 1, tzinfo=UTC), expires_at=datetime(1, 1, 1, tzinfo=UTC)),
    ]
    full = [record.create([job]).jobs[0] for job in jobs]
    assert full == [record.get(job.id) for job in jobs]
    summaries = record.create([replace(job, id=SystemClock().job_id()) for job in jobs], summary=True).jobs
    assert sorted(summaries, key=_id) == sorted(record.list(None, None, len(jobs), None).jobs, key=_id)


def test_a_new_job_is_told_with_its_wait(record: Record) -> None:
    """What is due waits for nothing; the rest as long as the record's clock says."""
    created = record.create([a_job(), a_job(scheduled_at=in_(60))])
    assert created.waits_ms[0] == 0
    assert 50_000 < created.waits_ms[1] <= 60_000


def test_creating_twice_under_one_id_creates_once(record: Record, sql: psycopg.Connection) -> None:
    """Asking again after a lost answer, with the same id, changes nothing."""
    job = a_job()
    assert record.create([job]).jobs == record.create([job]).jobs
    assert sql.execute("select count(*) from sweephand.open").fetchone() == (1,)


def test_a_batch_is_created_whole_or_not_at_all(record: Record, sql: psycopg.Connection) -> None:
    """One job that the tables refuse takes the batch with it."""
    with pytest.raises(RecordRefusedError):
        record.create([a_job(), a_job(priority=10)])
    assert sql.execute("select count(*) from sweephand.jobs").fetchone() == (0,)


def test_a_batch_comes_back_in_order(record: Record) -> None:
    """Jobs come back in the order given, in full or as summaries, also when they are there already."""
    jobs = [a_job(max_retries=n) for n in range(20)]
    jobs.sort(key=lambda job: job.id.int, reverse=True)
    for summary in (False, True, False):
        made = record.create(jobs, summary=summary).jobs
        assert [job["max_retries"] for job in made] == [job.max_retries for job in jobs]
        assert all(("payload" in job) is not summary for job in made)
    assert record.create(jobs[:1]).jobs == [record.get(jobs[0].id)]


def test_a_key_names_one_request(record: Record) -> None:
    """The same key and request replay the first job; another request under the key is a mismatch."""
    key = Idempotency("me", "k", "hash")
    first = record.create([a_job()], key)
    again = record.create([a_job()], key)
    other = record.create([a_job()], Idempotency("me", "k", "another"))
    stranger = record.create([a_job()], Idempotency("you", "k", "another"))
    assert (first.outcome, again.outcome) == (CreateOutcome.CREATED, CreateOutcome.REPLAYED)
    assert again.jobs[0]["id"] == first.jobs[0]["id"]
    assert (other.outcome, stranger.outcome) == (CreateOutcome.MISMATCH, CreateOutcome.CREATED)


def test_a_key_is_forgotten_after_a_day(record: Record, sql: psycopg.Connection) -> None:
    """A key of more than 24 hours names a new request, and a tick's page deletes old ones."""
    first = record.create([a_job()], Idempotency("me", "k", "hash"))
    record.create([a_job()], Idempotency("me", "old", "hash"))
    sql.execute("update sweephand.idempotency set created_at = now() - interval '25 hours'")
    again = record.create([a_job()], Idempotency("me", "k", "other"))
    assert again.outcome is CreateOutcome.CREATED
    assert again.jobs[0]["id"] != first.jobs[0]["id"]
    record.restore(["noop"], HORIZON, 10)
    assert sql.execute("select key from sweephand.idempotency").fetchall() == [("k",)]


def test_a_key_used_at_once_by_many_creates_one_job(record: Record) -> None:
    """Eight requests with one key at the same time make one job."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: record.create([a_job()], Idempotency("me", "k", "h")), range(8)))
    assert len({answer.jobs[0]["id"] for answer in answers}) == 1
    assert [answer.outcome for answer in answers].count(CreateOutcome.CREATED) == 1


def test_lists_by_status_and_type(record: Record) -> None:
    """Each status and type lists its own jobs, latest created first."""
    pending, running, completed, cancelled = made(record, a_job(), a_job("other"), a_job(), a_job("other"))
    started(record, running)
    settle(record, done(started(record, completed)[0]))
    record.cancel(uuid.UUID(cancelled))

    def ids(status: str | None = None, type_: str | None = None) -> list[str]:
        return [str(job["id"]) for job in record.list(status, type_, 10, None).jobs]

    assert sorted(ids()) == sorted([pending, running, completed, cancelled])
    assert ids("pending") == [pending]
    assert ids("in_progress") == [running]
    assert ids("completed") == [completed]
    assert ids("cancelled") == [cancelled]
    assert ids("failed") == []
    assert sorted(ids(None, "other")) == sorted([running, cancelled])
    assert ids("cancelled", "noop") == []


def test_pages_of_a_list_join_without_gap_or_double(record: Record) -> None:
    """Walking a list page by page gives every job once, also when jobs are created meanwhile."""
    wanted = made(record, *(a_job() for _ in range(7)))
    seen: list[str] = []
    after = None
    while True:
        page = record.list(None, None, 3, after)
        seen += [str(job["id"]) for job in page.jobs]
        if len(page.jobs) < 3:
            break
        after = page.positions[-1]
        made(record, a_job())
    assert sorted(seen) == sorted(wanted)
    assert seen == sorted(seen, reverse=True)


def test_cancel_wins_or_tells_who_won(record: Record) -> None:
    """A pending job is cancelled, once and again; a started or finished one keeps its status."""
    pending, running, completed = made(record, a_job(), a_job(), a_job())
    started(record, running)
    settle(record, done(started(record, completed)[0]))
    for _ in range(2):
        answer = record.cancel(uuid.UUID(pending))
        assert answer is not None
        assert (answer.cancelled, answer.job["status"]) == (True, "cancelled")
    for job, real in ((running, "in_progress"), (completed, "completed")):
        answer = record.cancel(uuid.UUID(job))
        assert answer is not None
        assert (answer.cancelled, answer.job["status"]) == (False, real)
    assert record.cancel(uuid.uuid4()) is None


def test_a_cancelled_job_never_starts(record: Record) -> None:
    """A start after a cancel says final."""
    [job] = made(record)
    record.cancel(uuid.UUID(job))
    answer = record.start([job], str(uuid.uuid4()), LEASES, exclusive=False, max_bytes=10**7)
    assert not answer.starts
    assert answer.others[job] == (Verdict.FINAL, None)


def test_cancel_and_start_race_to_one_winner(record: Record) -> None:
    """Of a cancel and a start at the same moment, exactly one gets each job, and both say which."""
    jobs = made(record, *(a_job() for _ in range(100)))
    with ThreadPoolExecutor(9) as pool:
        starting = [pool.submit(started, record, *jobs[i : i + 25]) for i in range(0, 100, 25)]
        cancels = list(pool.map(lambda job: record.cancel(uuid.UUID(job)), jobs))
        begun = {start.id for future in starting for start in future.result()}
    cancelled = {job for job, answer in zip(jobs, cancels, strict=True) if answer and answer.cancelled}
    assert not begun & cancelled
    assert begun | cancelled == set(jobs)


# ---------------------------------------------------------------- start


def test_a_start_leases_a_due_job(record: Record) -> None:
    """A due job starts as attempt 1 with its payload and how late it is."""
    [job] = made(record)
    [start] = started(record, job)
    assert (start.id, start.type, start.attempt, start.crashes, start.payload) == (job, "noop", 1, 0, {"n": 1})
    assert 0 <= start.late_ms < 60_000
    assert status(record, job) == "in_progress"


def test_a_start_asked_again_with_its_token_gives_the_same(record: Record) -> None:
    """A lost answer of a start can be asked for again."""
    [job] = made(record)
    token = str(uuid.uuid4())
    first = record.start([job], token, LEASES, exclusive=False, max_bytes=10**7)
    again = record.start([job], token, LEASES, exclusive=False, max_bytes=10**7)
    assert [s.attempt for s in first.starts] == [s.attempt for s in again.starts] == [1]
    assert first.others == {}
    assert again.others[job][0] is Verdict.ALREADY


def test_a_second_start_is_told_how_long_the_lease_lasts(record: Record) -> None:
    """Another token gets `leased` and the wait."""
    [job] = made(record)
    started(record, job)
    verdict, wait = record.start([job], str(uuid.uuid4()), LEASES, exclusive=False, max_bytes=10**7).others[job]
    assert verdict is Verdict.LEASED
    assert wait is not None
    assert 25_000 < wait <= 30_000


def test_what_cannot_start_says_why(record: Record) -> None:
    """Early, finished, unknown and unknown-type jobs are told apart."""
    early, finished, foreign = made(record, a_job(scheduled_at=in_(60)), a_job(), a_job("foreign"))
    settle(record, done(started(record, finished)[0]))
    stranger = str(uuid.uuid4())
    answer = record.start(
        [early, finished, stranger, foreign], str(uuid.uuid4()), LEASES, exclusive=False, max_bytes=10**7
    )
    assert not answer.starts
    assert {job: verdict for job, (verdict, _) in answer.others.items()} == {
        early: Verdict.EARLY,
        finished: Verdict.FINAL,
        stranger: Verdict.UNKNOWN,
        foreign: Verdict.EARLY,
    }
    wait = answer.others[early][1]
    assert wait is not None
    assert 55_000 < wait <= 60_000


def test_a_batch_is_bounded_by_bytes(record: Record) -> None:
    """Once the payloads of a batch fill the bytes asked for, the others say full and stay pending."""
    jobs = made(record, *(NewJob(a_job().id, "noop", {"text": "x" * 1000}) for _ in range(5)))
    answer = record.start(jobs, str(uuid.uuid4()), LEASES, exclusive=False, max_bytes=2500)
    assert [start.id for start in answer.starts] == jobs[:3]
    assert {verdict for verdict, _ in answer.others.values()} == {Verdict.DEFERRED}
    assert status(record, jobs[4]) == "pending"


def test_an_expired_job_fails_without_a_start(record: Record) -> None:
    """Past its `expires_at` a job is not started: it ends failed, with that reason."""
    [job] = made(record, a_job(expires_at=in_(-1)))
    assert started(record, job) == []
    found = record.get(uuid.UUID(job))
    assert found is not None
    assert (found["status"], found["attempt"]) == ("failed", 0)
    assert "expires_at" in str(found["reason"])


def test_two_starts_at_once_share_the_jobs(record: Record) -> None:
    """However many ticks start the same ids at once, each job starts once."""
    jobs = made(record, *(a_job() for _ in range(200)))
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda turn: started(record, *(jobs[turn * 7 :] + jobs[: turn * 7])), range(8)))
    begun = [start.id for batch in batches for start in batch]
    assert sorted(begun) == sorted(jobs)


# ---------------------------------------------------------------- settle


def test_a_completed_job_keeps_its_result(record: Record) -> None:
    """Done completes the job, with its result and times."""
    [job] = made(record)
    [start] = started(record, job)
    assert settle(record, Settlement(job, start.token, Complete({"ok": [1, 2]})))
    found = record.get(uuid.UUID(job))
    assert found is not None
    assert (found["status"], found["attempt"], found["result"]) == ("completed", 1, {"ok": [1, 2]})
    assert found["finished_at"]


def test_a_retry_waits_and_shows_its_error(record: Record) -> None:
    """A retry is pending again with its error on record, due after its delay, and early until then."""
    [job] = made(record)
    [start] = started(record, job)
    answer = record.settle([Settlement(job, start.token, RetryAfter(60, "raised", "boom"))])[0]
    assert (answer.lost, answer.wait_ms) == (False, 60_000)
    found = record.get(uuid.UUID(job))
    assert found is not None
    assert (found["status"], found["attempt"]) == ("pending", 1)
    assert [(e["attempt"], e["kind"], e["error"]) for e in found["errors"]] == [(1, "raised", "boom")]  # type: ignore[union-attr,index,call-overload]
    assert started(record, job) == []


def test_a_dead_job_fails_with_its_reason(record: Record) -> None:
    """Dead fails the job."""
    [job] = made(record)
    [start] = started(record, job)
    settle(record, Settlement(job, start.token, Fail("because", "gave_up", "it said so")))
    found = record.get(uuid.UUID(job))
    assert found is not None
    assert (found["status"], found["reason"]) == ("failed", "because")


def test_an_unstarted_job_counts_nothing(record: Record) -> None:
    """What was leased and never entered is pending at once, and its next start is attempt 1 again."""
    [job] = made(record)
    [start] = started(record, job)
    assert settle(record, Settlement(job, start.token, Release()))
    assert status(record, job) == "pending"
    assert [s.attempt for s in started(record, job)] == [1]


@pytest.mark.parametrize(
    "decision",
    [Complete({"a": 1}), RetryAfter(5, "raised", "x"), Fail("r", "raised", "x")],
    ids=lambda d: type(d).__name__,
)
def test_settling_again_with_the_same_token_says_settled(record: Record, decision: Decision) -> None:
    """A lost answer of a settle can be asked for again, and changes nothing the second time."""
    [job] = made(record)
    [start] = started(record, job)
    assert settle(record, Settlement(job, start.token, decision))
    before = record.get(uuid.UUID(job))
    assert settle(record, Settlement(job, start.token, decision))
    assert record.get(uuid.UUID(job)) == before


def test_a_settle_with_another_token_is_lost(record: Record) -> None:
    """A late writer changes nothing: not the running start, not the finished job."""
    [job] = made(record)
    [start] = started(record, job)
    stale = Settlement(job, str(uuid.uuid4()), Fail("stale", "raised", "stale"))
    assert not settle(record, stale)
    assert status(record, job) == "in_progress"
    settle(record, done(start))
    assert not settle(record, stale)
    assert status(record, job) == "completed"


def test_a_late_settle_counts_while_nobody_else_started(record: Record, sql: psycopg.Connection) -> None:
    """An expired lease that no tick has ended yet still settles: the work is done."""
    [job] = made(record)
    [start] = started(record, job)
    lapse(sql)
    assert settle(record, done(start))
    assert status(record, job) == "completed"


def test_one_lost_settlement_does_not_take_the_others(record: Record) -> None:
    """In a batch each settlement is judged by itself."""
    jobs = made(record, a_job(), a_job())
    starts = started(record, *jobs)
    answers = record.settle([done(starts[0]), Settlement(jobs[1], str(uuid.uuid4()), Complete(None))])
    assert {answer.id: answer.lost for answer in answers} == {jobs[0]: False, jobs[1]: True}


def test_a_result_that_jsonb_cannot_hold_is_refused_whole(record: Record) -> None:
    """A settle with a value that PostgreSQL refuses raises, and settles none of its batch."""
    jobs = made(record, a_job(), a_job())
    starts = started(record, *jobs)
    with pytest.raises(RecordRefusedError):
        record.settle([done(starts[0]), Settlement(jobs[1], starts[1].token, Complete("\0"))])
    assert status(record, jobs[0]) == "in_progress"


# ---------------------------------------------------------------- page


def test_a_page_shows_the_due_in_order(record: Record) -> None:
    """A page has what is pending and due within the horizon, highest priority first, then oldest."""
    soon, low, high, far, running = made(
        record,
        a_job(scheduled_at=in_(60)),
        a_job(),
        a_job(priority=5),
        a_job(scheduled_at=in_(3600)),
        a_job(),
    )
    started(record, running)
    page = record.restore(["noop"], HORIZON, 100)
    assert [due.id for due in page.jobs] == [high, low, soon]
    assert [due.wait_ms > 0 for due in page.jobs] == [False, False, True]
    assert far not in {due.id for due in page.jobs}
    assert set(page.oldest) == {0, 5}
    assert not page.cut
    assert not page.more


def test_pages_follow_one_another(record: Record) -> None:
    """Pages in sequence show every due job once, across priorities and types."""
    kinds = [(type_, priority) for type_ in ("noop", "other") for priority in (0, 3)]
    wanted = made(record, *(a_job(t, priority=p) for t, p in kinds for _ in range(3)))
    seen: list[str] = []
    page = record.restore(["noop", "other"], HORIZON, 5)
    while True:
        seen += [due.id for due in page.jobs]
        if not page.cut:
            break
        page = record.restore(["noop", "other"], HORIZON, 5, page.cut)
    assert sorted(seen) == sorted(wanted)


def test_a_page_leaves_out_other_types_and_says_so(record: Record) -> None:
    """A type that the caller has no handler for waits, and its name and age are told."""
    made(record, a_job("other"))
    page = record.restore(["noop"], HORIZON, 10)
    assert not page.jobs
    assert page.look
    found = record.find_unknown_types(["noop"])
    assert (found.types, set(found.named)) == (1, {"other"})
    page = record.restore(["noop"], HORIZON, 10)
    assert (page.look, set(page.unknown.named)) == (False, {"other"})
    assert not record.restore(["noop", "other"], HORIZON, 10).unknown.named


def test_a_paused_type_is_left_out(record: Record, sql: psycopg.Connection) -> None:
    """A type in `sweephand.paused` is not on the page, and is named as paused."""
    made(record)
    sql.execute("insert into sweephand.paused (type) values ('noop')")
    page = record.restore(["noop"], HORIZON, 10)
    assert not page.jobs
    assert page.paused == {"noop"}
    assert not record.find_unknown_types([]).named


def test_an_expired_lease_goes_back_to_pending(record: Record, sql: psycopg.Connection) -> None:
    """A page ends expired leases: the job is pending, and a settle of the start that was lost comes too late."""
    [job] = made(record)
    [start] = started(record, job)
    lapse(sql)
    page = record.restore(["noop"], HORIZON, 10, entered={start.token: [job]})
    assert (page.rescued, [due.id for due in page.jobs]) == (1, [job])
    [again] = started(record, job)
    assert (again.attempt, again.crashes, again.lost) == (2, 1, 0)
    assert not settle(record, done(start))
    assert settle(record, done(again))


def test_a_job_with_two_crashes_starts_alone(record: Record, sql: psycopg.Connection) -> None:
    """The first repeat runs beside others; a job that was lost with its function twice starts only alone."""
    [job] = made(record)
    for _ in range(2):
        [start] = started(record, job)
        lapse(sql)
        record.restore(["noop"], HORIZON, 10, entered={start.token: [job]})
    answer = record.start([job], str(uuid.uuid4()), LEASES, exclusive=False, max_bytes=10**7)
    assert answer.others[job][0] is Verdict.EXCLUSIVE
    [again] = started(record, job, exclusive=True)
    assert (again.attempt, again.crashes) == (3, 2)


@pytest.mark.parametrize("by", ["page", "start", "settle"])
def test_entries_are_noted_with_any_call(record: Record, sql: psycopg.Connection, by: str) -> None:
    """Each call of a tick can tell that a handler was entered; a lost start then counts as a crash."""
    [job, other] = made(record, a_job(), a_job())
    [start] = started(record, job)
    entered = {start.token: [job]}
    if by == "page":
        record.restore(["noop"], HORIZON, 10, entered=entered)
    elif by == "start":
        record.start([other], str(uuid.uuid4()), LEASES, exclusive=False, max_bytes=10**7, entered=entered)
    else:
        [beside] = started(record, other)
        record.settle([done(beside)], entered)
    lapse(sql)
    record.restore(["noop"], HORIZON, 10)
    found = record.get(uuid.UUID(job))
    assert found is not None
    assert (found["attempt"], found["crashes"]) == (1, 1)


def test_a_start_that_was_not_entered_counts_as_a_crash_from_the_third_on(
    record: Record, sql: psycopg.Connection
) -> None:
    """What was lost before its entry was noted counts nothing twice; each start has a number of its own."""
    [job] = made(record)
    crashes = []
    for loss in range(1, 7):
        [start] = started(record, job, exclusive=True)
        assert start.attempt == loss
        lapse(sql)
        record.restore(["noop"], HORIZON, 10)
        found = record.get(uuid.UUID(job))
        assert found is not None
        crashes.append(found["crashes"])
        status_now, errors = found["status"], found["errors"]
    assert crashes == [0, 0, 1, 2, 3, 4]
    assert status_now == "failed"
    assert isinstance(errors, list)
    assert [error["kind"] for error in errors if isinstance(error, dict)] == ["lost"] * 2 + ["crash"] * 4


def test_four_crashes_fail_a_job(record: Record, sql: psycopg.Connection) -> None:
    """Three starts may be lost with their function; the fourth fails the job, which says so."""
    [job] = made(record)
    for crash in range(4):
        [start] = started(record, job, exclusive=crash > 1)
        lapse(sql)
        page = record.restore(["noop"], HORIZON, 10, entered={start.token: [job]})
        assert page.rescued == 1
    assert page.failed == 1
    found = record.get(uuid.UUID(job))
    assert found is not None
    assert (found["status"], found["attempt"], found["crashes"]) == ("failed", 4, 4)
    assert "lost 4 times" in str(found["reason"])


def test_a_job_inserted_by_sql_is_like_any_other(record: Record, sql: psycopg.Connection) -> None:
    """Plain INSERT and `sweephand.enqueue` make jobs that are pending, due and startable."""
    sql.execute("insert into sweephand.jobs (type, payload) values ('noop', '{\"by\": \"sql\"}')")
    sql.execute("select sweephand.enqueue('noop', '{\"by\": \"enqueue\"}', now() - interval '1 hour', 5)")
    page = record.restore(["noop"], HORIZON, 10)
    starts = started(record, *(due.id for due in page.jobs))
    assert [start.payload["by"] for start in starts] == ["enqueue", "sql"]


def test_health_tells_the_version(record: Record) -> None:
    """Health answers with the version of the record's functions."""
    assert record.health()["schema"] == 1
