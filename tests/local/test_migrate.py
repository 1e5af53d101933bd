"""Migrations are applied once, in order, and recorded as the Supabase CLI records them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from infra.local.stack import Stack
from infra.migrate import FOLDER, MigrationError, migrate, migrations


@pytest.fixture
def database_url(stack: Stack) -> Iterator[str]:
    """Yield the URL of an empty database of its own."""
    name = f"migrate_{uuid4().hex}"
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield stack.postgres.url("postgres", stack.secrets.postgres, name)
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two migrations, the second of which needs the first."""
    (tmp_path / "20250102000000_minutehand_b.sql").write_text("insert into t values (1), (2); select 5 % 3;")
    (tmp_path / "20250101000000_minutehand_a.sql").write_text("create table t (i int primary key);")
    return tmp_path


def _rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def test_migrations_are_applied_in_order_and_recorded(database_url: str, folder: Path) -> None:
    """Each is recorded by version, name and text, in the CLI's own table."""
    said: list[str] = []
    names = migrate(database_url, folder=folder, say=said.append)
    assert names == ["20250101000000_minutehand_a", "20250102000000_minutehand_b"]
    assert said == [f"applied {name}" for name in names]
    record = "select version, name, statements from supabase_migrations.schema_migrations order by version"
    assert _rows(database_url, record)[0] == (
        "20250101000000",
        "minutehand_a",
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
    (folder / "20250103000000_minutehand_c.sql").write_text("create table u (); insert into t values (1);")
    with pytest.raises(psycopg.errors.UniqueViolation):
        migrate(database_url, folder=folder, say=lambda _: None)
    count = "select to_regclass('u'), count(*) from supabase_migrations.schema_migrations"
    assert _rows(database_url, count) == [(None, 2)]


def test_database_of_a_newer_minutehand_is_refused(database_url: str, folder: Path) -> None:
    """An older checkout changes nothing in a database that a newer one has migrated."""
    newer = folder / "20250103000000_minutehand_c.sql"
    newer.write_text("create table u ();")
    migrate(database_url, folder=folder, say=lambda _: None)
    newer.unlink()
    (folder / "20250104000000_minutehand_d.sql").write_text("create table v ();")
    with pytest.raises(MigrationError, match=r"newer Minutehand.*20250103000000_minutehand_c"):
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


def test_stack_has_every_migration_of_the_project(stack: Stack) -> None:
    """What the tests run on is what the folder says."""
    versions = _rows(stack.database_url, "select version from supabase_migrations.schema_migrations")
    assert {version for (version,) in versions} == {each.version for each in migrations(FOLDER)}
