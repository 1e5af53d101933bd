"""Applies the migrations to a database, in agreement with the Supabase CLI about which are applied.

Both keep the record in `supabase_migrations.schema_migrations`, so `minutehand migrate` and
`supabase db push` can take turns. The project's own migrations may lie in the same database: a version
that this folder lacks is theirs, unless its name starts with `minutehand`: then a newer Minutehand was here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

FOLDER = Path(__file__).parent / "supabase" / "migrations"
OURS = "minutehand"
"""What tells our migrations from the project's own: `20250101000000_minutehand_jobs.sql`."""
LOCK = 0x6D696E75746568
"""The advisory lock that keeps two runs apart: "minuteh" in ASCII."""


class MigrationError(Exception):
    """The database and the folder do not fit together; the message says how."""


@dataclass(frozen=True, slots=True, order=True)
class Migration:
    """One file of the folder."""

    version: str
    name: str
    text: bytes

    def __str__(self) -> str:
        """Return the file's name without its suffix."""
        return f"{self.version}_{self.name}"


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """Return the folder's migrations in order. Raises MigrationError for a name that the CLI would skip."""
    found = []
    for path in folder.glob("*.sql"):
        parts = re.fullmatch(r"(\d+)_(.*)\.sql", path.name)
        if parts is None:
            raise MigrationError(f"{path} is not named <digits>_<what>.sql")
        found.append(Migration(parts[1], parts[2], path.read_bytes()))
    return sorted(found)


def migrate(database_url: str, *, folder: Path = FOLDER, say: Callable[[str], None] = print) -> list[str]:
    """Apply what the database lacks, each migration in a transaction of its own; return their names.

    Safe to run twice and at once, also through a pooler that hands out a connection per transaction. Ends
    by telling PostgREST to read the schema anew. Raises MigrationError when the database was migrated by a
    newer Minutehand, psycopg.Error when it cannot be reached or a statement fails (nothing of that
    migration is left then).
    """
    applied = []
    ours = migrations(folder)
    # A pooler may give the next transaction another connection, which knows no prepared statement.
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as connection:
        _create_record(connection)
        _refuse_newer(connection, ours)
        for migration in ours:
            if _apply(connection, migration):
                say(f"applied {migration}")
                applied.append(str(migration))
        connection.execute("notify pgrst, 'reload schema'")
    if not applied:
        say("nothing to apply: the database is up to date")
    return applied


def lacking(database_url: str, *, folder: Path = FOLDER) -> list[Migration]:
    """Return the folder's migrations that the database lacks, in order, and change nothing.

    A database that the CLI has never seen lacks all of them. Raises as `migrate` does.
    """
    ours = migrations(folder)
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as connection:
        known = connection.execute("select to_regclass('supabase_migrations.schema_migrations')").fetchone()
        if known is None or known[0] is None:
            return ours
        _refuse_newer(connection, ours)
        rows = connection.execute("select version from supabase_migrations.schema_migrations").fetchall()
    done = {version for (version,) in rows}
    return [migration for migration in ours if migration.version not in done]


def _create_record(connection: psycopg.Connection) -> None:
    with connection.transaction():
        _lock(connection)
        connection.execute("create schema if not exists supabase_migrations")
        connection.execute(
            "create table if not exists supabase_migrations.schema_migrations"
            " (version text not null primary key, statements text[], name text)"
        )


def _refuse_newer(connection: psycopg.Connection, ours: list[Migration]) -> None:
    known = [migration.version for migration in ours]
    rows = connection.execute(
        "select version || '_' || name from supabase_migrations.schema_migrations"
        " where starts_with(name, %s) and version <> all(%s) order by version",
        (OURS, known),
    )
    if newer := [str(name) for (name,) in rows]:
        raise MigrationError(
            f"the database was migrated by a newer Minutehand ({', '.join(newer)}): update this one first"
        )


def _apply(connection: psycopg.Connection, migration: Migration) -> bool:
    with connection.transaction():
        _lock(connection)
        done = connection.execute(
            "select true from supabase_migrations.schema_migrations where version = %s", (migration.version,)
        )
        if done.fetchone():
            return False
        connection.execute(migration.text)
        connection.execute(
            "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)",
            (migration.version, migration.name, [migration.text.decode()]),
        )
    return True


def _lock(connection: psycopg.Connection) -> None:
    # Of the transaction, not of the session: a pooler hands the session to others.
    connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
