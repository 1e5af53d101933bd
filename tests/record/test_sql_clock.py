"""The record's clock: one SQL function, which a test's database may replace."""

import re
import uuid
from collections.abc import Iterator
from datetime import datetime

import psycopg
import pytest
from psycopg import sql

from infra.local.services.services import Services
from infra.supabase.migrate import migrate, migrations
from sweephand.adapters import direct as direct_rpc
from sweephand.ports.record import Record, Verdict
from tests.record.conftest import LEASES, a_job, made, started


@pytest.fixture
def own_database(stack: Services) -> Iterator[str]:
    """Yield the URL of a migrated database of the test's own, whose clock it may replace."""
    name = f"clock_{uuid.uuid4().hex}"
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        url = stack.postgres.url("postgres", stack.secrets.postgres, name)
        migrate(url, say=lambda _: None)
        yield url
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def test_all_sql_reads_the_time_from_one_function(own_database: str) -> None:
    """Where `sweephand.clock()` says another year, jobs are made, come due, start, expire and end in that year."""
    rpc = direct_rpc.connect(own_database)
    record = Record(rpc)
    with psycopg.connect(own_database, autocommit=True) as connection:

        def at(time: str) -> None:
            connection.execute(
                f"create or replace function sweephand.clock() returns timestamptz language sql stable"
                f" as $$ select timestamptz '{time}' $$".encode()
            )

        at("2040-02-29 12:00:00+00")
        in_an_hour = datetime.fromisoformat("2040-02-29T13:00:00+00:00")
        job, later, expires = made(
            record,
            a_job(),
            a_job(scheduled_at=in_an_hour),
            a_job(expires_at=in_an_hour),
        )
        assert {due.id: due.wait_ms for due in record.restore(["noop"], 10**7, 10).jobs} == {
            job: 0, later: 3_600_000, expires: 0
        }  # fmt: skip
        [start] = started(record, job)
        assert (start.late_ms, record.health()["now"]) == (0, "2040-02-29T12:00:00.000Z")
        at("2040-02-29 13:00:00+00")
        page = record.restore(["noop"], 10**7, 10)
        assert (page.rescued, page.failed, {due.id for due in page.jobs}) == (1, 1, {job, later})
        late = record.start([job, expires], str(uuid.uuid4()), LEASES, exclusive=False, max_bytes=10**7)
        assert (late.starts[0].late_ms, late.others[expires][0]) == (3_600_000, Verdict.FINAL)
        times = connection.execute("select created_at, started_at, finished_at from sweephand.job_state").fetchall()
        assert {time.year for row in times for time in row if time} == {2040}
    rpc.close()


def test_no_sql_of_ours_reads_another_clock() -> None:
    """No migration names a clock of PostgreSQL's outside `sweephand.clock()`."""
    clocks = (
        r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp)\(\)|\bcurrent_(time|date)|\blocaltime"
    )
    found = [
        line
        for each in migrations()
        for line in each.text.decode().splitlines()
        if re.search(clocks, line.partition("--")[0])
    ]
    assert len(found) == 1
    assert found[0].startswith("create function sweephand.clock()")


def test_the_clock_costs_no_call(database: psycopg.Connection) -> None:
    """The planner puts `now()` into each statement in place of the function."""
    rows = database.execute(
        "explain (verbose, costs off) select * from sweephand.open where run_at <= sweephand.clock()"
    )
    plan = " ".join(line for (line,) in rows.fetchall())
    assert "now()" in plan
    assert "clock" not in plan
