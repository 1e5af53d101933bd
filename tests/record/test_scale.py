"""What calls cost in pages touched, however much the record holds: counted by PostgreSQL, so no clock decides."""

import json
import uuid
from collections.abc import Iterator, Mapping

import psycopg
import pytest

from infra.local.services.services import Services
from sweephand.adapters import direct as direct_rpc
from sweephand.adapters.clock import SystemClock
from sweephand.ports.record import Record, Start
from tests.record.conftest import LEASES, done
from tests.record.test_retention import DAY

FEW, MANY, DRAINED = 1_000, 100_000, 30_000
TABLES = ("open", "leases", "finished", "jobs")


@pytest.fixture
def unvacuumed(clean: Services) -> Iterator[psycopg.Connection]:
    """Yield a connection of the owner, while no table is vacuumed by itself: dead rows stay."""
    with psycopg.connect(clean.database_url, autocommit=True) as connection:
        for table in TABLES:
            connection.execute(f"vacuum sweephand.{table}")
            connection.execute(f"alter table sweephand.{table} set (autovacuum_enabled = off)")
        yield connection
        for table in TABLES:
            connection.execute(f"alter table sweephand.{table} reset (autovacuum_enabled)")


@pytest.fixture
def direct(clean: Services) -> Iterator[Record]:
    """Yield the record."""
    rpc = direct_rpc.connect(clean.database_url)
    yield Record(rpc)
    rpc.close()


def fill(sql: psycopg.Connection, due: int, later: int) -> None:
    """Insert jobs that are due and jobs of the far future."""
    sql.execute(
        "insert into sweephand.jobs (type, scheduled_at)"
        " select 'noop', now() + case when n <= %s then '0' else n * interval '1 hour' end"
        " from generate_series(1, %s) n",
        (due, due + later),
    )


def drain(record: Record, count: int) -> None:
    """Start and complete jobs, the oldest first, without an index."""
    while count > 0:
        due = record.restore(["noop"], 1000, 500).jobs
        call = record.start([job.id for job in due], str(uuid.uuid4()), LEASES, exclusive=False, max_bytes=10**8)
        record.settle([done(start) for start in call.starts])
        count -= len(call.starts)


def touched(sql: psycopg.Connection, call: str, *values: object) -> int:
    """Return how many pages a call touches, the second time: the first one tidies the index."""
    for _ in range(2):
        row = sql.execute(f"explain (analyze, buffers, format json) select public.sweephand_{call}", values)
        ((found,),) = row.fetchone() or ()
    return int(found["Plan"]["Shared Hit Blocks"]) + int(found["Plan"]["Shared Read Blocks"])


def costs(sql: psycopg.Connection) -> Mapping[str, int]:
    """Return the pages that each call touches."""
    new = json.dumps([{"id": str(SystemClock().job_id()), "type": "noop", "payload": {}}])
    due = [
        job
        for (job,) in sql.execute(
            "select id from sweephand.open where run_at <= now() order by run_at, id limit 100"
        ).fetchall()
    ]
    oldest = sql.execute("select id from sweephand.jobs limit 1").fetchone()
    return {
        "page": touched(sql, "restore_v1(array['noop'], 300000, 500)"),
        "idle page": touched(sql, "restore_v1(array['other'], 300000, 500)"),
        "create": touched(sql, "create_v1(%s)", new),
        "get": touched(sql, "get_v1(%s)", *(oldest or [uuid.uuid4()])),
        **{
            f"list {status}": touched(sql, "list_v1(%s, null, 50)", status)
            for status in (None, "pending", "in_progress", "completed", "failed")
        },
        "start 100": touched(sql, "start_v1(%s::uuid[], gen_random_uuid(), '{\"noop\": 1}')", due),
        "prune": touched(sql, "prune_v1(%s)", DAY),
    }


@pytest.mark.timeout(240)
def test_calls_keep_their_cost(unvacuumed: psycopg.Connection, direct: Record) -> None:
    """A record of a hundred times the size, and one just drained and not yet vacuumed, cost no call much more.

    Also where the sessions made their plans while there was nothing.
    """
    stranger = Start(str(uuid.uuid4()), "noop", 1, 0, 0, 3, 0, {}, str(uuid.uuid4()))
    for _ in range(6):
        costs(unvacuumed)
        unvacuumed.execute("select public.sweephand_cancel_v1(gen_random_uuid())")
        direct.restore(["noop"], 1000, 500)
        direct.start([stranger.id], stranger.token, LEASES, exclusive=False, max_bytes=10**8)
        direct.settle([done(stranger)])
    unvacuumed.execute("delete from sweephand.jobs")
    unvacuumed.execute("vacuum sweephand.jobs")
    unvacuumed.execute("vacuum sweephand.open")
    fill(unvacuumed, FEW, 0)
    small = costs(unvacuumed)
    fill(unvacuumed, DRAINED, MANY)
    large = costs(unvacuumed)
    drain(direct, DRAINED)
    churned = costs(unvacuumed)
    # What else was due or has been started ends too: dead rows alone stand where the oldest job is looked for.
    unvacuumed.execute(
        "delete from sweephand.jobs j using sweephand.open o where o.id = j.id and o.run_at <= now()"
    )
    emptied = costs(unvacuumed)
    page_of_summaries = small["list None"]
    for grown, once_over_the_dead in ((large, 0), (churned, 0), (emptied, DRAINED // 100)):
        for call, cost in grown.items():
            usual = page_of_summaries if call.startswith("list") else small[call]
            dead = once_over_the_dead if "page" in call else 0
            assert cost <= 40 + 2.5 * usual + dead, (call, small, grown)
