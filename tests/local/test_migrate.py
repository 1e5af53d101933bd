"""Migrations are applied once, in order, and recorded as the Supabase CLI records them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from infra.local.services.postgres import installation
from infra.local.services.services import Services
from infra.supabase.migrate import FOLDER, MigrationError, lacking, migrate, migrations


@pytest.fixture
def database_url(services: Services) -> Iterator[str]:
    """Yield the URL of an empty database of its own."""
    name = f"migrate_{uuid4().hex}"
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield services.postgres.url("postgres", services.secrets.postgres, name)
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two migrations, the second of which needs the first."""
    (tmp_path / "20250102000000_sweephand_b.sql").write_text("insert into t values (1), (2); select 5 % 3;")
    (tmp_path / "20250101000000_sweephand_a.sql").write_text("create table t (i int primary key);")
    return tmp_path


def _rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def test_migrations_are_applied_in_order_and_recorded(database_url: str, folder: Path) -> None:
    """Each is recorded by version, name and text, in the CLI's own table."""
    said: list[str] = []
    names = migrate(database_url, folder=folder, say=said.append)
    assert names == ["20250101000000_sweephand_a", "20250102000000_sweephand_b"]
    assert said == [f"applied {name}" for name in names]
    record = "select version, name, statements from supabase_migrations.schema_migrations order by version"
    assert _rows(database_url, record)[0] == (
        "20250101000000",
        "sweephand_a",
        ["create table t (i int primary key);"],
    )


def test_second_run_applies_nothing(database_url: str, folder: Path) -> None:
    """What is recorded is not run again, whoever recorded it."""
    migrate(database_url, folder=folder, say=lambda _: None)
    assert migrate(database_url, folder=folder, say=lambda _: None) == []


def test_runs_at_once_apply_each_migration_once(database_url: str, folder: Path) -> None:
    """Four deployments that start together share the work without an error."""
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: migrate(database_url, folder=folder, say=lambda _: None), range(4)))
    assert sorted(name for run in runs for name in run) == [str(each) for each in migrations(folder)]


def test_failed_migration_leaves_nothing_of_itself(database_url: str, folder: Path) -> None:
    """A migration is one transaction: its earlier statements and its record go with the failing one."""
    (folder / "20250103000000_sweephand_c.sql").write_text("create table u (); insert into t values (1);")
    with pytest.raises(psycopg.errors.UniqueViolation):
        migrate(database_url, folder=folder, say=lambda _: None)
    count = "select to_regclass('u'), count(*) from supabase_migrations.schema_migrations"
    assert _rows(database_url, count) == [(None, 2)]


def test_database_of_a_newer_sweephand_is_refused(database_url: str, folder: Path) -> None:
    """An older checkout changes nothing in a database that a newer one has migrated."""
    newer = folder / "20250103000000_sweephand_c.sql"
    newer.write_text("create table u ();")
    migrate(database_url, folder=folder, say=lambda _: None)
    newer.unlink()
    (folder / "20250104000000_sweephand_d.sql").write_text("create table v ();")
    with pytest.raises(MigrationError, match=r"newer Sweephand.*20250103000000_sweephand_c"):
        migrate(database_url, folder=folder, say=lambda _: None)
    assert _rows(database_url, "select to_regclass('v')") == [(None,)]


def test_projects_own_migrations_are_left_alone(database_url: str, folder: Path) -> None:
    """The database may be shared: versions that the project itself recorded are no obstacle."""
    migrate(database_url, folder=folder, say=lambda _: None)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "insert into supabase_migrations.schema_migrations (version, name) values ('20990101000000', 'shop')"
        )
    assert migrate(database_url, folder=folder, say=lambda _: None) == []


def test_misnamed_file_is_refused(database_url: str, folder: Path) -> None:
    """The CLI would pass over a file without a version; here it is an error."""
    (folder / "fix.sql").write_text("select 1;")
    with pytest.raises(MigrationError, match=r"fix\.sql"):
        migrate(database_url, folder=folder)


@pytest.mark.parametrize("run", [migrate, lacking], ids=["migrate", "dry run"])
def test_a_changed_migration_is_refused_by_name(
    database_url: str, folder: Path, run: Callable[..., object]
) -> None:
    """A file that was edited after it was applied stops the run, which names it and applies nothing."""
    migrate(database_url, folder=folder, say=_quiet)
    first = folder / "20250101000000_sweephand_a.sql"
    first.write_text(first.read_text().replace("primary key", "unique"))
    (folder / "20250104000000_sweephand_d.sql").write_text("create table v ();")
    with pytest.raises(MigrationError, match="20250101000000_sweephand_a was changed"):
        run(database_url, folder=folder)
    assert _rows(database_url, "select to_regclass('v')") == [(None,)]


def _by_the_cli(text: str) -> list[str]:
    """Return a migration's statements as `supabase db push` keeps them: split at semicolons, and trimmed."""
    quoted = r"--[^\n]*|\$\$.*?\$\$|'[^']*'"
    parts = re.findall(rf"(?:{quoted}|[^;])+", text, re.DOTALL)
    return [part.strip() for part in parts if part.strip()]


def test_migrations_of_the_cli_are_taken_as_they_are(database_url: str) -> None:
    """What `supabase db push` applied and kept, statement by statement, is up to date; an edit of it is refused."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        migrate(database_url, say=_quiet)
        for each in migrations():
            statements = _by_the_cli(each.text.decode())
            assert len(statements) >= 3
            connection.execute(
                "update supabase_migrations.schema_migrations set statements = %s where version = %s",
                (statements, each.version),
            )
        assert migrate(database_url, say=_quiet) == []
        connection.execute(
            "update supabase_migrations.schema_migrations set statements[2] = 'select 1' where version = %s",
            (migrations()[1].version,),
        )
        with pytest.raises(MigrationError, match=f"{migrations()[1]} was changed"):
            migrate(database_url, say=_quiet)


def test_a_migration_kept_without_its_statements_is_taken_as_it_is(database_url: str, folder: Path) -> None:
    """A row that only says that a version was applied is no reason to refuse the file."""
    migrate(database_url, folder=folder, say=_quiet)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update supabase_migrations.schema_migrations set statements = null")
    assert migrate(database_url, folder=folder, say=_quiet) == []


def test_the_numbers_have_no_gap() -> None:
    """The migrations are numbered one by one, so that what is missing is seen."""
    versions = [int(each.version) for each in migrations()]
    assert versions == list(range(versions[0], versions[0] + len(versions)))


GUIDE = (Path(__file__).parents[2] / "infra" / "README.md").read_text()
TEAR_DOWN = re.findall(r"```sql\n(drop schema.+?)```", GUIDE, re.DOTALL)[0]
BACKUP, RESTORE = (
    re.findall(rf"```sh\n({start}.+?)```", GUIDE, re.DOTALL)[0] for start in ("pg_dump", "pg_restore")
)
FUNCTIONS = "select proname from pg_proc where starts_with(proname, 'sweephand_') order by 1"


def _quiet(_line: str) -> None:
    """Say nothing."""


def _run(script: str, url: str, cwd: Path) -> None:
    path = f"{installation() / 'bin'}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "DATABASE_URL": url}
    script = script.replace(".venv/bin/sweephand", f"{sys.executable} -m sweephand")
    root = str(Path(__file__).parents[2])
    env["PYTHONPATH"] = root
    done = subprocess.run(
        ["sh", "-ec", script],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_backup_is_restored_as_the_guide_says(database_url: str, services: Services, tmp_path: Path) -> None:
    """The guide's commands bring jobs and functions into a new database, and migrating it finds nothing to do."""
    migrate(database_url, say=_quiet)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table public.shop as select 1 as i")
        connection.execute("select sweephand.enqueue('kept', '{\"a\": 1}')")
    _run(BACKUP, database_url, tmp_path)
    name = f"restored_{uuid4().hex}"
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            fresh = services.postgres.url("postgres", services.secrets.postgres, name)
            _run(RESTORE, fresh, tmp_path)
            for query in (
                FUNCTIONS,
                "select id, type, payload from sweephand.jobs",
                "select id from sweephand.open",
            ):
                assert _rows(fresh, query) == _rows(database_url, query) != []
            called = "has_function_privilege(%s, oid, 'execute')"
            for role, may in (("service_role", True), ("anon", False)):
                query = FUNCTIONS.replace("proname from", f"distinct {called.replace('%s', repr(role))} from")
                assert _rows(fresh, query) == [(may,)]
            assert migrate(fresh, say=_quiet) == []
            assert _rows(fresh, "select to_regclass('public.shop')") == [(None,)]
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.mark.parametrize("forgets", [True, False], ids=["guide", "older guide"])
def test_torn_down_record_is_made_anew(database_url: str, forgets: bool) -> None:  # noqa: FBT001 - a case
    """After the guide's SQL, and after an older guide's that left the list of migrations, all are applied again."""
    names = migrate(database_url, say=_quiet)
    functions = _rows(database_url, FUNCTIONS)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute((TEAR_DOWN if forgets else TEAR_DOWN.partition("delete from")[0]).encode())
        assert connection.execute(FUNCTIONS.encode()).fetchall() == []
    said: list[str] = []
    assert migrate(database_url, say=said.append) == names
    assert ("the schema sweephand is gone" in said[0]) is not forgets
    assert _rows(database_url, FUNCTIONS) == functions
    assert migrate(database_url, say=_quiet) == []


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("drop schema sweephand cascade", "sweephand should be there and is not"),
        ("drop function public.sweephand_health_v1", "public.sweephand_health_v1 should be there and is not"),
    ],
)
def test_half_of_a_record_is_refused(database_url: str, lost: str, told: str) -> None:
    """What was torn down or restored in part is no database to go on with, and the error says what to do."""
    migrate(database_url, say=_quiet)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(lost.encode())
    with pytest.raises(MigrationError, match=told):
        migrate(database_url, say=_quiet)


def test_stack_has_every_migration_of_the_project(services: Services) -> None:
    """What the tests run on is what the folder says."""
    versions = _rows(services.database_url, "select version from supabase_migrations.schema_migrations")
    assert {version for (version,) in versions} == {each.version for each in migrations(FOLDER)}
