"""What users of the database, of Redis and of the handlers do beside a tick: each delays only what it touches."""

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

import psycopg
import pytest

from infra.local.services.service import free_port
from sweephand import app
from sweephand.ports.index import ClaimOptions, ClaimQuota, IndexUpdates, Lane
from sweephand.usecases.tick.report import Report
from tests.tick.conftest import Deployment, forget


@pytest.fixture(params=["rest", "direct"])
def deployment(
    deployment: Deployment, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Deployment:
    """Return a deployment over each transport."""
    monkeypatch.setenv("STORE", request.param)
    monkeypatch.setenv("DATABASE_URL", deployment.stack.database_url)
    forget()
    return deployment


@pytest.fixture
def without_index(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Return a deployment without Redis."""
    monkeypatch.setenv("REDIS_URL", "")
    forget()
    return deployment


@contextmanager
def user(deployment: Deployment) -> Iterator[psycopg.Connection]:
    """Yield a connection of a user of the database, whose transaction stays open and is rolled back at the end."""
    with psycopg.connect(deployment.stack.database_url) as connection:
        yield connection
        connection.rollback()


class Ticking:
    """Runs a tick in a thread of its own."""

    def __init__(self, deployment: Deployment, budget: float = 30, linger: float = 0) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._call = self._pool.submit(deployment.tick, budget, linger)

    def report(self) -> Report:
        """Wait for its end; raises what it raised."""
        self._pool.shutdown()
        return self._call.result()


# ---------------------------------------------------------------- another life of an id


@pytest.mark.parametrize("seconds", [1.0, 0.4])
@pytest.mark.parametrize("type_", ["slow", "slow_boom"])
def test_another_life_of_an_id_is_a_job_of_its_own(deployment: Deployment, type_: str, seconds: float) -> None:
    """A user deletes a running job and inserts another under its id: neither gets the other's end, and ticks go on.

    The transaction is open while the old one is settled (0.4 s), or committed before that (1 s).
    """
    job = deployment.create(type_, {"seconds": seconds})
    beside = deployment.create("slow", {"seconds": seconds})
    ticking = Ticking(deployment)
    deployment.wait_for_entry(2)
    with psycopg.connect(deployment.stack.database_url) as sql:
        sql.execute("delete from sweephand.jobs where id = %s", (job,))
        sql.execute("insert into sweephand.jobs (id, type, payload) values (%s, 'slow_boom', '{\"n\": 7}')", (job,))
        if seconds < 1:
            time.sleep(1.2)  # the time that the transaction is open is the test
        sql.commit()
    ticking.report()
    deployment.lapse()
    deployment.redis.flushall()
    deployment.tick()
    found = deployment.job(job)
    assert (found["status"], found["attempt"], found["result"], found["errors"]) == ("completed", 1, {"n": 7}, [])
    assert deployment.job(beside)["status"] == "completed"


def test_a_lease_of_another_life_is_nobodys(deployment: Deployment) -> None:
    """A lease that an older life of an id left behind neither keeps the new one from its start nor ends it."""
    job = deployment.create("note", {"n": 1})
    deployment.sql.execute(
        "insert into sweephand.leases (id, token, created_at, started_at, until)"
        " values (%s, gen_random_uuid(), now() - interval '1 h', now(), now() + interval '1 h')",
        (job,),
    )
    assert deployment.tick().completed == 1
    assert deployment.job(job)["result"] == {"n": 1}


# ---------------------------------------------------------------- transactions that stay open


def test_an_open_delete_delays_one_job(deployment: Deployment) -> None:
    """A user's delete of a due job, not committed: all others run and are settled; what it holds is tried again."""
    held = deployment.create("note")
    others = [deployment.create("note") for _ in range(50)]
    with user(deployment) as sql:
        sql.execute("delete from sweephand.jobs where id = %s", (held,))
        ticking = Ticking(deployment)
        deployment.wait_for_entry(50)
        deadline = time.monotonic() + 10
        while deployment.statuses()["completed"] < 50:
            assert time.monotonic() < deadline, deployment.statuses()
    report = ticking.report()
    assert report.busy_settles >= 1
    assert deployment.statuses() == {"completed": 51}
    assert deployment.entries() == dict.fromkeys([held, *others], 1)


def test_an_open_cancel_delays_one_job(deployment: Deployment) -> None:
    """A cancel that is not committed: the job is left alone, all others run, and the tick does not wait for it."""
    held = deployment.create("note")
    for _ in range(50):
        deployment.create("note")
    with user(deployment) as sql:
        sql.execute("select public.sweephand_cancel_v1(%s)", (held,))
        began = time.monotonic()
        report = deployment.tick()
        assert time.monotonic() - began < 10
    assert report.completed == 50
    assert report.busy_starts >= 1
    deployment.redis.flushall()
    assert deployment.tick().completed == 1


def test_thousands_of_held_rows_hide_nothing(without_index: Deployment) -> None:
    """Without an index too: pages pass over what was told to be busy, and show what stands behind it."""
    deployment = without_index
    deployment.insert("note", 1200)
    with user(deployment) as sql:
        for (job,) in sql.execute("select id from sweephand.open").fetchall():
            sql.execute("select from sweephand.open where id = %s for update", (job,))
            sql.execute(
                "insert into sweephand.leases (id, token, created_at, started_at, until)"
                " select id, gen_random_uuid(), created_at, now(), now() + interval '1 s'"
                " from sweephand.open where id = %s",
                (job,),
            )
        behind = deployment.insert("note", 5)
        report = deployment.tick(budget=20)
    assert report.completed == 5
    assert deployment.entries() == dict.fromkeys(behind, 1)


def test_bulk_deletes_and_settles_deadlock_nobody(deployment: Deployment) -> None:
    """A user's bulk deletes beside ticks: none of them fails, and no tick does."""
    failed: list[BaseException] = []
    over = threading.Event()

    def delete() -> None:
        try:
            while not over.is_set():
                with psycopg.connect(deployment.stack.database_url) as sql:
                    sql.execute(
                        "delete from sweephand.jobs where id in"
                        " (select id from sweephand.open order by random() limit 200)"
                    )
                time.sleep(0.02)
        except BaseException as e:  # noqa: BLE001 - told below
            failed.append(e)

    deployment.insert("note", 6000)
    deleting = threading.Thread(target=delete)
    deleting.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: deployment.tick(20), range(2)))
    finally:
        over.set()
        deleting.join()
    assert not failed
    deployment.lapse()
    deployment.redis.flushall()
    deployment.tick()
    assert set(deployment.statuses()) <= {"completed"}
    assert max(deployment.entries().values()) == 1


# ---------------------------------------------------------------- rows that fail


def test_a_row_that_fails_a_settle_takes_no_other_with_it(deployment: Deployment) -> None:
    """A trigger of the user's raises for one job: the others are settled, and it is named."""
    bad = deployment.create("boom", max_retries=0)
    others = [deployment.create("note") for _ in range(30)]
    with bad_row(deployment, bad, "sweephand.finished"):
        report = deployment.tick(budget=9)
    assert report.completed == len(others)
    assert set(report.bad) == {bad}


def test_a_row_that_fails_a_start_takes_no_other_with_it(deployment: Deployment) -> None:
    """The same for a start: and `explain` says why it waits."""
    bad = deployment.create("note")
    others = [deployment.create("note") for _ in range(30)]
    with bad_row(deployment, bad, "sweephand.leases"):
        report = deployment.tick(budget=9)
        assert report.completed == len(others)
        assert set(report.bad) == {bad}
        found = app.record().explain(uuid.UUID(bad))
        assert found is not None
        assert "no such luck" in str(found["aside"])


def test_a_row_that_fails_a_rescue_takes_no_other_with_it(deployment: Deployment) -> None:
    """A lease that cannot be ended fails no page, and keeps no other lease from its end."""
    jobs = deployment.insert("note", 20)
    record = app.record()
    record.start(jobs, str(uuid.uuid4()), {"note": 1000}, exclusive=False, max_bytes=10**7)
    deployment.lapse()
    with bad_row(deployment, jobs[3], "sweephand.open", "update"):
        report = deployment.tick(budget=9)
    assert report.completed == 19
    assert set(report.bad) == {jobs[3]}


@contextmanager
def bad_row(deployment: Deployment, job: str, table: str, event: str = "insert") -> Iterator[None]:
    """Have a user's trigger raise for one job."""
    deployment.sql.execute(
        "create or replace function public.no_luck() returns trigger language plpgsql as $$ begin"
        f" if new.id = '{job}' then raise exception 'no such luck'; end if; return new; end $$;"
        f" create trigger no_luck before {event} on {table} for each row execute function public.no_luck()"
    )
    try:
        yield
    finally:
        deployment.sql.execute(f"drop trigger no_luck on {table}; drop function public.no_luck()")


# ---------------------------------------------------------------- a slow type's backlog


def test_a_slow_types_backlog_starves_nobody(deployment: Deployment) -> None:
    """Beside 700 due jobs that take their processes for seconds, instant ones run: by SQL, future, flushed."""
    deployment.insert("slow_process", 700, '{"seconds": 1}')
    flushed = [deployment.create("note") for _ in range(10)]
    deployment.redis.flushall()
    sql = deployment.insert("note", 10)
    soon = deployment.insert("note", 10, scheduled_at=datetime.now(UTC) + timedelta(seconds=4))
    created = [deployment.create("note") for _ in range(10)]
    deployment.tick(budget=16)
    assert {*flushed, *sql, *soon, *created} <= set(deployment.entries())
    times = deployment.times()
    due = time.time() - 16
    assert all(times[job] < due + 15 for job in (*flushed, *sql, *soon, *created))


def test_a_slow_types_backlog_starves_nobody_without_an_index(without_index: Deployment) -> None:
    """The same where the page itself is the batch."""
    without_index.insert("slow_process", 700, '{"seconds": 1}')
    jobs = without_index.insert("note", 10)
    without_index.tick(budget=10)
    assert set(jobs) <= set(without_index.entries())


def test_what_is_due_later_does_not_hide_what_is_due_soon(deployment: Deployment) -> None:
    """A tick waits for what comes due in seconds, although hundreds of a higher priority come due in minutes."""
    deployment.insert("note", 600, priority=5, scheduled_at=datetime.now(UTC) + timedelta(minutes=4))
    soon = deployment.insert("note", 3, scheduled_at=datetime.now(UTC) + timedelta(seconds=4))
    deployment.tick(budget=20, linger=15)
    assert deployment.entries() == dict.fromkeys(soon, 1)


@pytest.mark.parametrize("index", [True, False], ids=["index", "no index"])
def test_two_types_of_one_priority_share_the_starts(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, *, index: bool
) -> None:
    """A type with an old, long backlog and one with a new, short one get the same share of the starts."""
    if not index:
        monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("ASYNC_SLOTS", "40")
    forget()
    deployment.insert("slow", 3000, '{"seconds": 0.2}')
    deployment.insert("longest", 150)
    process = deployment.spawn("--budget", "28")
    deployment.wait_for_entry(300)
    process.terminate()
    process.communicate(timeout=60)
    types: dict[str, str] = dict(deployment.sql.execute("select id::text, type from sweephand.jobs").fetchall())
    first = [types[job] for job in deployment.order()[:300]]
    assert first.count("longest") >= 75


def test_within_a_lane_the_oldest_goes_first(deployment: Deployment) -> None:
    """Jobs that the index lost start before those that were created later and stand in it."""
    old = deployment.insert("note", 3000)
    deployment.sql.execute("update sweephand.open set run_at = run_at - interval '1 min'")
    new = [deployment.create("note") for _ in range(20)]
    deployment.tick()
    order = deployment.order()
    assert set(order) == {*old, *new}
    assert set(order[:2900]) <= set(old)


# ---------------------------------------------------------------- drained


def test_ticks_at_once_leave_nothing_due(deployment: Deployment) -> None:
    """Three ticks on a backlog and an empty index: none leaves while there is something that it could start."""
    deployment.insert("note", 6000)
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda _: deployment.tick(60), range(3)))
    assert deployment.statuses() == {"completed": 6000}
    assert min(report.completed for report in reports) > 500


def test_the_claims_of_a_dead_tick_hide_nothing(deployment: Deployment) -> None:
    """What a dead tick has claimed is waited for, or said; what stands behind it is drained."""
    deployment.insert("note", 3000)
    app.page_reader()
    page = app.record().restore(["note"], 1000, 500)
    index = app.index()
    assert index is not None
    index.sync_and_claim(
        page.installation,
        IndexUpdates(add=list(page.jobs)),
        [ClaimQuota([Lane("note", 0)], 500)],
        ClaimOptions(10_000),
    )
    first = deployment.tick()
    assert (first.completed, first.stopped) == (2500, "held")
    second = deployment.tick(linger=20)
    assert (second.completed, second.stopped) == (500, "drained")


# ---------------------------------------------------------------- an index that fails or lies


def test_a_cluster_without_nodes_is_an_index_that_is_away(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tick drains the record."""
    jobs = deployment.insert("note", 20)
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0?cluster=true")
    forget()
    report = deployment.tick(linger=5)
    assert report.completed == 20
    assert report.index_errors >= 1
    assert deployment.entries() == dict.fromkeys(jobs, 1)


def test_foreign_content_of_the_index_ends_no_tick(deployment: Deployment) -> None:
    """Members that are no ids, odd scores, ids of nobody, keys of another kind: all jobs run, and it is told."""
    jobs = [deployment.create("note") for _ in range(10)]
    (prefix,) = {
        key.decode().rpartition(":due:")[0] for key in cast("list[bytes]", deployment.redis.keys("*:due:*"))
    }
    deployment.redis.zadd(
        f"{prefix}:due:note:0", {"foreign": 1, "\0": float("-inf"), str(uuid.uuid4()): 1, jobs[3]: float("inf")}
    )
    deployment.redis.zadd(f"{prefix}:lanes:9", {"No Type": 1, "unheard.of": float("-inf")})
    deployment.redis.set(f"{prefix}:lanes:5", "text")
    deployment.redis.hset(f"{prefix}:due:note:5", "a", "b")
    report = deployment.tick()
    assert (report.completed, report.index_errors) == (10, 0)
    assert report.index_foreign == 3
    assert len(report.index_foreign_named) == 3


# ---------------------------------------------------------------- and more


def test_what_expired_ends_whatever_its_type(deployment: Deployment) -> None:
    """A job past its `expires_at` ends as failed also where its type is paused, or nobody's."""
    past = datetime.now(UTC) - timedelta(seconds=5)
    [paused] = deployment.insert("note", expires_at=past)
    deployment.sql.execute("insert into sweephand.paused (type) values ('note')")
    (unknown,) = deployment.sql.execute(
        "insert into sweephand.jobs (type, expires_at) values ('nobodys', now() - interval '5 s')"
        " returning id::text"
    ).fetchone() or ("",)
    [retried] = deployment.insert("slow", expires_at=past)
    deployment.sql.execute("update sweephand.open set attempt = 1 where id = %s", (retried,))
    assert deployment.tick().failed == 3
    assert {deployment.job(job)["status"] for job in (paused, unknown, retried)} == {"failed"}
    assert "was not started before" in deployment.job(paused)["reason"]
    assert deployment.job(retried)["reason"] == "expired: attempt 2 was not started before its expires_at"


def test_types_that_no_tick_knows_are_counted(deployment: Deployment) -> None:
    """A report names a hundred of them at most, counts all, and their age counts as the oldest due one's."""
    deployment.sql.execute(
        "insert into sweephand.jobs (type) select 'nobodys.' || n from generate_series(1, 150) n"
    )
    deployment.sql.execute("update sweephand.open set run_at = now() - interval '1 h'")
    deployment.tick()
    report = deployment.tick()
    assert (len(report.unknown_types), report.unknown_types_count) == (100, 150)
    assert report.oldest_due_age_s > 3500
    assert len(str(report.json())) < 8000


def test_truncating_jobs_leaves_nothing_behind(deployment: Deployment) -> None:
    """`truncate sweephand.jobs` forgets all of every job, as a delete does."""
    deployment.insert("note", 3)
    deployment.sql.execute("truncate sweephand.jobs")
    assert deployment.sql.execute("select count(*) from sweephand.open").fetchone() == (0,)
    assert deployment.tick().started == 0


@pytest.mark.parametrize("at", ["4714-11-24 BC", "0001-12-31 BC", "10000-01-01", "infinity", "-infinity"])
def test_a_time_that_no_caller_can_read_is_refused(deployment: Deployment, at: str) -> None:
    """Times lie in the years 1 to 9999, as RFC 3339 has them."""
    with pytest.raises(psycopg.errors.CheckViolation):
        deployment.sql.execute("insert into sweephand.jobs (type, scheduled_at) values ('note', %s)", (at,))


def test_after_a_killed_tick_its_jobs_run_beside_others(deployment: Deployment) -> None:
    """A hundred slow jobs that were lost with their function once run together, and fresh ones with them."""
    deployment.insert("slow", 100, '{"seconds": 1}')
    process = deployment.spawn()
    deployment.wait_for_entry(100)
    time.sleep(1.5)  # so that their entries are noted, or they end
    process.kill()
    process.communicate()
    deployment.lapse()
    deployment.redis.flushall()
    fresh = deployment.insert("note", 10)
    report = deployment.tick(budget=12)
    assert set(fresh) <= set(deployment.entries())
    assert deployment.statuses() == {"completed": 110}
    assert report.duration_ms < 8000
