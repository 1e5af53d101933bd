"""What the tables themselves refuse, whoever writes to them."""

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege, ObjectNotInPrerequisiteState

from infra.local.services.services import Services
from sweephand.domain.job import MAX_CRASHES

OURS = (
    "select oid::regprocedure::text from pg_proc"
    " where proname like 'sweephand\\_%%' or pronamespace = %s::regnamespace"
)


@pytest.mark.parametrize(
    "columns",
    [
        "type = 'Not A Name'",
        "priority = 10",
        "priority = -1",
        "max_retries = 101",
        "max_retries = -1",
        "payload = '[]'",
        "scheduled_at = 'infinity'",
    ],
)
def test_a_job_cannot_hold_nonsense(database: psycopg.Connection, columns: str) -> None:
    """An INSERT with an impossible value fails."""
    name, _, value = columns.partition(" = ")
    fields = {"type": "'noop'"} | {name: value}
    with pytest.raises(CheckViolation):
        database.execute(f"insert into sweephand.jobs ({', '.join(fields)}) values ({', '.join(fields.values())})")


def test_a_job_is_never_changed(database: psycopg.Connection) -> None:
    """An UPDATE of a job's row fails and says what to do instead."""
    database.execute("insert into sweephand.jobs (type) values ('noop')")
    with pytest.raises(ObjectNotInPrerequisiteState, match="cancel the job"):
        database.execute("update sweephand.jobs set priority = 1")


def test_deleting_a_job_deletes_all_of_it(database: psycopg.Connection) -> None:
    """No row of a deleted job stays anywhere."""
    database.execute("insert into sweephand.jobs (type) values ('noop')")
    database.execute("delete from sweephand.jobs")
    for table in ("open", "leases", "finished", "errors"):
        assert database.execute(f"select count(*) from sweephand.{table}").fetchone() == (0,)


def test_an_insert_runs_in_its_own_transaction(clean: Services) -> None:
    """A job inserted in a transaction that is rolled back never was."""
    with psycopg.connect(clean.database_url) as connection:
        connection.execute("select sweephand.enqueue('noop')")
        connection.rollback()
        assert connection.execute("select count(*) from sweephand.open").fetchone() == (0,)


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_the_public_roles_can_do_nothing(clean: Services, role: str) -> None:
    """`anon` and `authenticated` may execute no function of ours and read no table."""
    with psycopg.connect(clean.superuser_url, autocommit=True) as connection:
        functions = [name for (name,) in connection.execute(OURS, ("sweephand",)).fetchall()]
        assert len(functions) > 10
        for name in functions:
            answer = connection.execute("select has_function_privilege(%s, %s, 'execute')", (role, name))
            assert answer.fetchone() == (False,), name
        connection.execute(f"set role {role}")
        with pytest.raises(InsufficientPrivilege):
            connection.execute("select * from sweephand.jobs")


def test_every_table_has_row_security(database: psycopg.Connection) -> None:
    """Row security is on for every table, with no policy."""
    rows = database.execute(
        "select relname, relrowsecurity from pg_class"
        " where relnamespace = 'sweephand'::regnamespace and relkind = 'r'"
    ).fetchall()
    assert len(rows) == 12
    assert all(on for _, on in rows)
    assert database.execute("select count(*) from pg_policies where schemaname = 'sweephand'").fetchone() == (0,)


def test_what_is_held_to_index_scans_is_not_compiled(database: psycopg.Connection) -> None:
    """Every function that switches plans off switches JIT off too, and plans anew for each call."""
    rows = database.execute(
        "select oid::regproc::text, array_to_string(proconfig, ' ') from pg_proc"
        " where array_to_string(proconfig, ' ') like '%enable_hashjoin=off%'"
    ).fetchall()
    assert len(rows) >= 8
    for name, settings in rows:
        assert {"jit=off", "plan_cache_mode=force_custom_plan"} <= set(settings.split()), name


def test_calls_from_outside_hold_what_they_call(database: psycopg.Connection) -> None:
    """Every call of ours that joins tables is held to index scans; what it calls runs under its settings."""
    rows = database.execute(
        "select proname, coalesce(array_to_string(proconfig, ' '), '') like '%enable_seqscan=off%' from pg_proc"
        " where pronamespace = 'public'::regnamespace and starts_with(proname, 'sweephand_')"
    ).fetchall()
    free = {name for name, held in rows if not held}
    # These read one job by its id, insert, or read one row.
    assert free == {
        *("sweephand_get_v1", "sweephand_create_v1", "sweephand_health_v1", "sweephand_set_aside_v1"),
        "sweephand_get_schedule_v1",
    }


def test_python_and_sql_count_crashes_alike(database: psycopg.Connection) -> None:
    """`MAX_CRASHES` in Python is `sweephand.max_crashes()` in SQL."""
    assert database.execute("select sweephand.max_crashes()").fetchone() == (MAX_CRASHES,)
