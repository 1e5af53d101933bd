"""The fixtures of all tests: the real services, started once, and emptied before each test that uses them."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql

from infra.local.services.services import Services
from tests.certificate import certificate

__all__ = ["certificate"]

KEPT_TABLES = ("settings", "installation")
"""Tables of the schema `sweephand` that hold no jobs: emptying them would undo a migration."""


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Yield every service, migrated. The whole session shares them; a test that stops one starts it again."""
    with Services(tmp_path_factory.mktemp("services")) as running:
        yield running


@pytest.fixture(scope="session")
def stack(services: Services) -> Services:
    """Return the services under their former name."""
    return services


@pytest.fixture
def clean(services: Services) -> Services:
    """Return the services with no job in the record, an empty index, no mail in the outbox and no objects."""
    empty_record(services.superuser_url)
    with redis.Redis.from_url(services.valkey.url) as client:
        client.flushall()
    for folder in ("outbox", "objects"):
        empty_folder(services.folder.path / folder)
    return services


@pytest.fixture
def database(clean: Services) -> Iterator[psycopg.Connection]:
    """Yield a connection to the emptied record as its owner, each statement a transaction of its own."""
    with psycopg.connect(clean.database_url, autocommit=True) as connection:
        yield connection


def empty_record(superuser_url: str) -> None:
    """Truncate every table of the schema `sweephand` but KEPT_TABLES."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        rows = connection.execute(
            "select tablename from pg_tables where schemaname = 'sweephand' and tablename <> all(%s)",
            (list(KEPT_TABLES),),
        ).fetchall()
        if rows:
            tables = sql.SQL(", ").join(sql.Identifier("sweephand", name) for (name,) in rows)
            connection.execute(sql.SQL("truncate {} cascade").format(tables))


def empty_folder(folder: Path) -> None:
    """Remove the files below `folder`."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()


SLOW = ("chaos", "tick", "model", "e2e", "deploy", "package", "schedules")
"""Folders of tests that take seconds each: they go first, so that the two workers end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow folders first, and each file's tests in their order."""
    tests = Path(__file__).parent

    def turn(item: pytest.Item) -> int:
        folder = item.path.relative_to(tests).parts[0] if item.path.is_relative_to(tests) else ""
        return SLOW.index(folder) if folder in SLOW else len(SLOW)

    items.sort(key=turn)
