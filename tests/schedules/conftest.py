"""The record with schedules, over a clock that a test sets."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from infra.local.services.services import Services
from sweephand.adapters import direct
from sweephand.handlers import registry
from sweephand.ports.record import Page, Record
from sweephand.usecases.tick.fires import make_fires

HANDLERS = registry.load(["tests.http.handlers"])
TYPES = ["anything"]
JOB = {"type": "anything", "payload": {}}
START = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)


class Clock:
    """The record's clock, which stands still until a test moves it."""

    def __init__(self, sql: psycopg.Connection) -> None:
        self._sql = sql
        self.now = START

    def set(self, now: datetime) -> None:
        """Let the record read this time."""
        self.now = now
        self._sql.execute("update public.clock_of_tests set at = %s", (now,))

    def move(self, **by: float) -> None:
        """Let time pass."""
        self.set(self.now + timedelta(**by))


class Schedules:
    """What a test does with schedules: insert them, let ticks look, see jobs."""

    def __init__(self, sql: psycopg.Connection, record: Record, clock: Clock) -> None:
        self.sql, self.record, self.clock = sql, record, clock

    def insert(self, name: str, **columns: Any) -> str:
        """Insert a schedule by SQL, `{}` being jobs that return at once, and return its id."""
        values = {"name": name, "job": JOB} | columns
        values = {key: Jsonb(value) if isinstance(value, dict) else value for key, value in values.items()}
        names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        row = self.sql.execute(
            f"insert into sweephand.schedules ({names}) values ({marks}) returning id",
            list(values.values()),
        ).fetchone()
        assert row
        return str(row[0])

    def page(self) -> Page:
        """Read a page as a tick does."""
        return self.record.restore(TYPES, 300_000, 500)

    def look(self) -> int:
        """Do what a tick does with schedules, until none is due; return how many calls it made."""
        calls = 0
        while (due := self.page().schedules) is not None and make_fires(self.record, HANDLERS, due):
            calls += 1
        return calls

    def fires(self, name: str) -> list[datetime]:
        """Return the fires that have a job, in order."""
        rows = self.sql.execute(
            "select fire_at from sweephand.jobs where schedule = %s and fire_at is not null order by fire_at",
            (name,),
        ).fetchall()
        return [at.astimezone(UTC) for (at,) in rows]

    def jobs(self, name: str) -> list[str]:
        """Return the ids of its jobs in the order of their due times."""
        rows = self.sql.execute(
            "select id from sweephand.jobs where schedule = %s order by run_at, id", (name,)
        ).fetchall()
        return [str(id_) for (id_,) in rows]

    def row(self, name: str) -> dict[str, Any]:
        """Return its row."""
        cursor = self.sql.execute("select to_jsonb(s) from sweephand.schedules s where name = %s", (name,))
        row = cursor.fetchone()
        assert row
        found: dict[str, Any] = row[0]
        return found


@pytest.fixture
def clock(clean: Services) -> Iterator[Clock]:
    """Yield the record's clock at START; afterwards it is PostgreSQL's again."""
    with psycopg.connect(clean.database_url, autocommit=True) as sql:
        sql.execute("create table public.clock_of_tests as select now() as at")
        sql.execute(
            "create or replace function sweephand.clock() returns timestamptz language sql stable as "
            "$$ select at from public.clock_of_tests $$"
        )
        made = Clock(sql)
        made.set(START)
        yield made
        sql.execute(
            "create or replace function sweephand.clock() returns timestamptz language sql stable as "
            "$$ select now() $$"
        )
        sql.execute("drop table public.clock_of_tests")


@pytest.fixture
def schedules(clean: Services, clock: Clock) -> Iterator[Schedules]:
    """Yield an empty record with schedules, at START."""
    rpc = direct.connect(clean.database_url)
    with psycopg.connect(clean.database_url, autocommit=True) as sql:
        yield Schedules(sql, Record(rpc), clock)
    rpc.close()
