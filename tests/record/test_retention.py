"""What is deleted of finished jobs, and when."""

import uuid

import psycopg

from sweephand.domain.json_value import JsonValue
from sweephand.domain.retry_policy import RetryAfter
from sweephand.ports.record import Record, Settlement
from sweephand.usecases import retention
from sweephand.usecases.retention import SWEEP_EVERY, Retention
from tests.record.conftest import a_job, done, made, started

DAY = 86400


def finished(record: Record, count: int, type_: str = "noop") -> list[str]:
    """Create jobs and complete them."""
    ids = made(record, *(a_job(type_) for _ in range(count)))
    record.settle([done(start) for start in started(record, *ids)])
    return ids


def age(sql: psycopg.Connection, *ids: str, created: str = "40 days", ended: str = "31 days") -> None:
    """Let jobs have been created and finished so long ago."""
    sql.execute(
        "update sweephand.finished set created_at = now() - %s::interval, finished_at = now() - %s::interval"
        " where id = any(%s)",
        (created, ended, list(ids)),
    )


def left(sql: psycopg.Connection) -> set[str]:
    """Return the ids of all jobs."""
    return {str(job) for (job,) in sql.execute("select id from sweephand.jobs").fetchall()}


def test_old_finished_jobs_are_deleted_whole(record: Record, sql: psycopg.Connection) -> None:
    """What finished before the limit goes with all that belongs to it; younger and open jobs stay."""
    old, young, late = finished(record, 2), finished(record, 1), finished(record, 1)
    cancelled, pending, running, failing = made(record, a_job(), a_job(), a_job(), a_job())
    record.cancel(uuid.UUID(cancelled))
    started(record, running)
    [start] = started(record, failing)
    record.settle([Settlement(start.id, start.token, RetryAfter(60, "raised", "x"))])
    age(sql, *old, cancelled)
    age(sql, *late, ended="29 days")
    assert list(retention.prune(record, 30 * DAY)) == [3]
    assert left(sql) == {*young, *late, pending, running, failing}
    assert record.get(uuid.UUID(old[0])) is None
    assert sql.execute("select count(*) from sweephand.finished").fetchone() == (2,)


def test_a_call_is_bounded_and_says_where_to_go_on(record: Record, sql: psycopg.Connection) -> None:
    """A call looks at no more than its limit, over statuses and types; together the calls see everything once."""
    old = [*finished(record, 7), *finished(record, 5, "other")]
    age(sql, *old[::2])
    age(sql, *old[1::2], ended="1 day")
    after: JsonValue = None
    deleted: list[int] = []
    while not deleted or after is not None:
        pruned = record.prune(30 * DAY, 2, after)
        deleted.append(pruned.deleted)
        after = pruned.next
    assert sum(deleted) == 6
    assert max(deleted) <= 2
    assert left(sql) == set(old[1::2])


def test_a_sweep_rests_when_it_has_seen_all(record: Record, sql: psycopg.Connection) -> None:
    """Steps go on where the last one stopped; after the last of a sweep none is due for SWEEP_EVERY."""
    age(sql, *finished(record, 3))
    sweeper = Retention(record, 30 * DAY)
    assert sweeper.due(0)
    assert sweeper.step(0) == 3
    assert not sweeper.due(SWEEP_EVERY - 1)
    assert sweeper.due(SWEEP_EVERY)


def test_what_is_old_is_found_without_reading_what_is_not(record: Record, sql: psycopg.Connection) -> None:
    """Finding nothing to delete among 20,000 finished jobs touches a handful of pages."""
    sql.execute(
        "insert into sweephand.finished (id, type, status, created_at, run_at, started_at, attempt, crashes)"
        " select gen_random_uuid(), 'noop', 'completed', now(), now(), now(), 1, 0 from generate_series(1, 20000)"
    )
    touched = [
        plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        for _ in range(2)
        for ((plan,),) in sql.execute(
            "explain (analyze, buffers, format json) select public.sweephand_prune_v1(86400)"
        ).fetchall()
    ]
    assert touched[-1] < 50
    assert record.prune(DAY, 1000).next is None
