"""What the record's errors are taken for, over each transport: the codes are raised by a trigger of a user's."""

from collections.abc import Iterator

import psycopg
import pytest

from sweephand.adapters.sqlstate import error_of
from sweephand.domain.errors import (
    RecordRefusedError,
    RecordSetupError,
    RecordStatementError,
    RecordUnavailableError,
    SweephandError,
)
from sweephand.domain.job import NewJob
from sweephand.ports.record import Record
from tests.record.conftest import a_job, made

RAISED: dict[type[SweephandError], tuple[str, ...]] = {
    RecordStatementError: (
        *("0A000", "2F002", "38000", "39000", "40002", "40P01", "44000", "54000", "55P03", "57014"),
        *("P0001", "P0002", "P0004", "XX000", "XX001"),
    ),
    RecordUnavailableError: ("25006", "53100", "53200", "53400", "58030"),
    RecordRefusedError: ("22012", "22P02", "23505", "23514"),
    RecordSetupError: ("42501", "42P01", "42883", "42703", "3F000"),
}


@pytest.fixture
def raising(sql: psycopg.Connection) -> Iterator[None]:
    """Have an insert of a job fail with the code that its payload says."""
    sql.execute(
        "create function public.users_own() returns trigger language plpgsql as $$ begin"
        " if new.payload ? 'code' then"
        " raise exception 'said by a trigger' using errcode = new.payload ->> 'code'; end if;"
        " return new; end $$"
    )
    sql.execute(
        "create trigger users_own before insert on sweephand.jobs for each row execute function public.users_own()"
    )
    yield
    sql.execute("drop function public.users_own() cascade")


@pytest.mark.parametrize(("kind", "codes"), RAISED.items(), ids=lambda it: getattr(it, "__name__", ""))
@pytest.mark.usefixtures("raising")
def test_each_code_has_its_meaning(record: Record, kind: type[SweephandError], codes: tuple[str, ...]) -> None:
    """What this statement failed with, what passes, what the caller sent and what an operator mends, told apart."""
    found = {}
    for code in codes:
        job = a_job()
        with pytest.raises(SweephandError) as caught:
            record.create([NewJob(job.id, job.type, {"code": code})])
        found[code] = type(caught.value)
    assert found == dict.fromkeys(codes, kind)
    assert len(made(record, a_job())) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, RecordUnavailableError) for code in ("08006", "57P01", "57P03", "500", "503", "540", "429", "")),
        ("40001", RecordStatementError),  # PostgREST begins such a transaction anew for as long as it fails so
        *((code, RecordUnavailableError) for code in ("PGRST000", "PGRST001", "PGRST003", "55006")),
        *((code, RecordSetupError) for code in ("PGRST202", "PGRST301", "42703", "404")),
    ],
)
def test_what_is_away_is_no_fault_of_a_statement(code: str, kind: type[SweephandError]) -> None:
    """A connection that fails, a server that stops, and what stands before PostgREST concern every statement."""
    assert type(error_of("a call", code, "", check="X")) is kind


def test_who_waits_for_the_record_waits_for_a_statement_too() -> None:
    """A statement that failed is handled by whatever handles a record that is away."""
    assert issubclass(RecordStatementError, RecordUnavailableError)
