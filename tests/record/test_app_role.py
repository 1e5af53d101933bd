"""What an application's own role may do: enqueue, by the grant that the migration documents, and nothing else."""

import re
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import CheckViolation, InsufficientPrivilege

from infra.local.services.services import Services
from infra.supabase.migrate import migrations

GRANT = re.findall(
    r"--   (grant usage on schema sweephand to app;.+)",
    next(each.text.decode() for each in migrations() if each.name == "sweephand_api"),
)[0]


@pytest.fixture
def app(clean: Services) -> Iterator[psycopg.Connection]:
    """Yield a connection as a role that has what the documented grant gives it, and nothing else."""
    role = f"app_{uuid.uuid4().hex[:8]}"
    name = sql.Identifier(role)
    with psycopg.connect(clean.superuser_url, autocommit=True) as owner:
        owner.execute(sql.SQL("create role {}").format(name))
        with owner.transaction():
            owner.execute("set local role postgres")
            owner.execute(GRANT.replace("to app", f"to {role}").encode())
        with psycopg.connect(clean.superuser_url) as connection:
            connection.execute(sql.SQL("set session authorization {}").format(name))
            connection.commit()
            yield connection
        owner.execute(sql.SQL("drop owned by {0}; drop role {0}").format(name))


def test_an_applications_role_enqueues_in_its_own_transaction(
    app: psycopg.Connection, database: psycopg.Connection
) -> None:
    """With the documented grant a role enqueues: kept when it commits, gone when it rolls back."""
    app.execute("select sweephand.enqueue('noop', '{\"by\": \"app\"}', priority => 3)")
    app.rollback()
    assert database.execute("select count(*) from sweephand.jobs").fetchone() == (0,)
    enqueued = app.execute("select sweephand.enqueue('noop', '{\"by\": \"app\"}', priority => 3)").fetchone()
    app.commit()
    row = database.execute("select id, payload, priority, status from sweephand.job_state").fetchone()
    assert row == (*(enqueued or ()), {"by": "app"}, 3, "pending")


def test_an_applications_role_is_refused_what_nobody_may_insert(app: psycopg.Connection) -> None:
    """What the table refuses from its owner it refuses through `enqueue` too."""
    with pytest.raises(CheckViolation):
        app.execute("select sweephand.enqueue('Not A Name')")


def test_an_applications_role_can_do_nothing_else(app: psycopg.Connection) -> None:
    """It executes no other function of ours, reads and writes no table, and builds nothing on our types."""
    rows = app.execute(
        "select p.oid::regprocedure::text, has_function_privilege(p.oid, 'execute') from pg_proc p"
        " join pg_namespace n on n.oid = p.pronamespace"
        " where n.nspname = 'sweephand' or n.nspname = 'public' and starts_with(p.proname, 'sweephand_')"
    ).fetchall()
    assert len(rows) > 30
    assert [name.partition("(")[0] for name, may in rows if may] == ["sweephand.enqueue"]
    tables = app.execute(
        "select oid::regclass::text, relkind = 'v' from pg_class"
        " where relnamespace = 'sweephand'::regnamespace and relkind in ('r', 'v')"
    ).fetchall()
    assert len(tables) > 10
    for table, is_view in tables:
        writes = () if is_view else ("delete from {}", "truncate {}", "insert into {} default values")
        for statement in ("select from {}", *writes):
            with pytest.raises(InsufficientPrivilege):
                app.execute(statement.format(table).encode())
            app.rollback()
    with pytest.raises(InsufficientPrivilege):
        app.execute("create temp table mine (e sweephand.ending)")


def test_a_role_cannot_lend_enqueue_a_function_of_its_own(
    app: psycopg.Connection, database: psycopg.Connection
) -> None:
    """A caller's search_path and temporary objects do not reach what runs with the owner's rights."""
    app.execute("create temp table jobs (id uuid)")
    app.execute("create domain pg_temp.text as int check (false)")
    app.execute("set search_path = pg_temp, sweephand")
    app.execute("select enqueue('noop')")
    app.commit()
    assert database.execute("select type from sweephand.open").fetchall() == [("noop",)]


def test_a_function_of_a_later_migration_is_closed(clean: Services, app: psycopg.Connection) -> None:
    """A new function is nobody's once its migration has ended as every migration does."""
    for each in migrations():
        assert each.text.decode().rstrip().endswith("call sweephand.seal();"), each
    with psycopg.connect(clean.database_url, autocommit=True) as owner:
        for name in ("sweephand.of_tomorrow", "public.sweephand_of_tomorrow_v1"):
            owner.execute(f"create function {name}() returns int language sql as 'select 1'".encode())
        try:
            owner.execute("call sweephand.seal()")
            for name in ("sweephand.of_tomorrow", "public.sweephand_of_tomorrow_v1"):
                with pytest.raises(InsufficientPrivilege):
                    app.execute(f"select {name}()".encode())
                app.rollback()
            may = "select has_function_privilege('service_role', 'public.sweephand_of_tomorrow_v1()', 'execute')"
            assert owner.execute(may).fetchone() == (True,)
        finally:
            owner.execute("drop function sweephand.of_tomorrow(), public.sweephand_of_tomorrow_v1()")
