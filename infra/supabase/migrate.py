"""Applies the migrations to a database, in agreement with the Supabase CLI about which are applied.

Both keep the record in `supabase_migrations.schema_migrations`, so `sweephand migrate` and
`supabase db push` can take turns. The project's own migrations may lie in the same database: a version
that this folder lacks is theirs, unless its name starts with `sweephand`: then a newer Sweephand was here.

A released migration is never edited: a database that has it would not get the edit. Both programs keep the
statements that they applied, so a checksum of these tells whether the file has changed since.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

FOLDER = Path(__file__).parent / "migrations"
OURS = "sweephand"
"""What tells our migrations from the project's own: `20250101000000_sweephand_jobs.sql`."""
LOCK = 0x7377656570
"""The advisory lock that keeps two runs apart: "sweep" in ASCII."""


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


def checksum(statements: str) -> str:
    """Return a checksum of SQL that is the same for a file and for the statements that the CLI makes of it.

    The CLI splits a file at its semicolons and trims the parts, but keeps everything else, comments included
    (`pkg/parser` in supabase/cli). So white space and semicolons do not count here.
    """
    return hashlib.sha256(re.sub(r"[\s;]+", "", statements).encode()).hexdigest()[:12]


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
    by telling PostgREST to read the schema anew. Where all was torn down, all is applied again. Raises
    MigrationError when the database was migrated by a newer Sweephand, lacks a part of what was applied, or has
    applied a migration whose file has changed since; psycopg.Error when it cannot be reached or a statement
    fails (nothing of that migration is left then).
    """
    applied = []
    ours = migrations(folder)
    # A pooler may give the next transaction another connection, which knows no prepared statement.
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as connection:
        _create_record(connection)
        _refuse_newer(connection, ours)
        _compare(connection, ours, say)
        _refuse_changed(connection, ours)
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
        _refuse_changed(connection, ours)
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
            f"the database was migrated by a newer Sweephand ({', '.join(newer)}): update this one first"
        )


def _refuse_changed(connection: psycopg.Connection, ours: list[Migration]) -> None:
    """Refuse a folder in which a migration differs from what was applied under its version.

    A row without statements says nothing: `supabase migration repair` may have made it without the file.
    """
    rows = connection.execute(
        "select version, array_to_string(statements, '') from supabase_migrations.schema_migrations"
        " where version = any(%s) and cardinality(statements) > 0",
        ([migration.version for migration in ours],),
    ).fetchall()
    applied = {str(version): checksum(statements) for version, statements in rows}
    for migration in ours:
        there, here = applied.get(migration.version), checksum(migration.text.decode())
        if there not in (None, here):
            raise MigrationError(
                f"{migration} was changed after this database applied it (checksum {there} there, {here} here): "
                "take back the change, and put it into a new migration"
            )


def _compare(connection: psycopg.Connection, ours: list[Migration], say: Callable[[str], None]) -> None:
    """Hold the record against what is there: forget it where all was torn down, refuse what is neither."""
    with connection.transaction():
        _lock(connection)
        rows = connection.execute(
            "select version from supabase_migrations.schema_migrations where version = any(%s)",
            ([migration.version for migration in ours],),
        ).fetchall()
        applied = {version for (version,) in rows}
        schemas, functions = _made(b"\n".join(each.text for each in ours if each.version in applied))
        gone = [name for name in schemas if not _is_there(connection, "pg_namespace where nspname = %s", name)]
        missing = [name for name in functions if not _is_there(connection, FUNCTION, name)]
        if gone == schemas and missing == functions and gone:
            connection.execute(
                "delete from supabase_migrations.schema_migrations where version = any(%s)", (sorted(applied),)
            )
            say(f"the schema {gone[0]} is gone, though the record has its migrations: they are applied anew")
        elif gone or missing:
            left = ", ".join([*gone, *(f"public.{name}" for name in missing)])
            raise MigrationError(
                f"{left} should be there and is not: restore the whole backup, or end the tear-down, "
                "as infra/README.md says"
            )


FUNCTION = "pg_proc where pronamespace = 'public'::regnamespace and proname = %s"


def _made(text: bytes) -> tuple[list[str], list[str]]:
    """Return the schemas and the functions of `public` that statements of `text` leave, in order."""
    schemas = re.findall(r"^create schema (\w+)", text.decode(), re.MULTILINE)
    functions: dict[str, None] = {}
    statement = r"^(create|create or replace|drop) function (?:if exists )?public\.(\w+)"
    for verb, name in re.findall(statement, text.decode(), re.MULTILINE):
        if verb == "drop":
            functions.pop(name, None)
        else:
            functions[name] = None
    return schemas, list(functions)


def _is_there(connection: psycopg.Connection, where: LiteralString, name: str) -> bool:
    return connection.execute(sql.SQL("select from ") + sql.SQL(where), (name,)).fetchone() is not None


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
