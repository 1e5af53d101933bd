"""Every service that Sweephand stands on, under one folder: for `sweephand dev` and for the tests."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ...supabase.migrate import FOLDER, migrate
from .folder import DataFolder
from .postgres import Postgres
from .postgrest import Postgrest, create_roles
from .service import Service
from .supabase_gateway_server import SupabaseGateway
from .supabase_keys import service_role_jwt
from .valkey import Valkey


class Services:
    """PostgreSQL, PostgREST behind Supabase's front door, and Valkey; migrated and ready.

    A context manager. Each service is an attribute (`postgres`, `postgrest`, `edge`, `valkey`) with start,
    stop, kill and signal, and keeps its port; all of them end with this process, whichever way it ends.
    """

    def __init__(  # noqa: PLR0913 - each is one setting, by name
        self,
        path: Path,
        *,
        ports: Mapping[str, int] | None = None,
        record: bool = True,
        index: bool = True,
        migrations: Path = FOLDER,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Keep all data in the folder `path`, which is made and locked at once.

        `ports` fixes those of services by their attribute's name; `record` and `index` say whether Supabase's
        part and Valkey are started; `say` gets a line for each step. Raises ServiceError when the
        folder is in use.
        """
        self.folder = DataFolder(path)
        self.folder.hold()
        self._record, self._index, self._migrations, self._say = record, index, migrations, say
        self.secrets = self.folder.secrets()
        ports = ports or {}
        log = self.folder.log
        self.postgres = Postgres(
            self.folder.path / "postgres",
            password=self.secrets.superuser,
            port=ports.get("postgres"),
            log=log("postgres"),
        )
        self.postgrest = Postgrest(
            self.postgres.url("authenticator", self.secrets.authenticator),
            jwt_secret=self.secrets.jwt,
            port=ports.get("postgrest"),
            log=log("postgrest"),
        )
        self.edge = SupabaseGateway(
            upstream_port=self.postgrest.port,
            secret_key=self.secrets.secret_key,
            publishable_key=self.secrets.publishable_key,
            jwt_secret=self.secrets.jwt,
            port=ports.get("edge"),
            log=log("edge"),
        )
        self.valkey = Valkey(
            self.folder.path / "valkey",
            password=self.secrets.valkey,
            port=ports.get("valkey"),
            log=log("valkey"),
        )

    @property
    def database_url(self) -> str:
        """DATABASE_URL: the role `postgres`, which owns the database but is no superuser, as on Supabase."""
        return self.postgres.url("postgres", self.secrets.postgres)

    @property
    def superuser_url(self) -> str:
        """The same database as its superuser, `supabase_admin`."""
        return self.postgres.url()

    @property
    def service_role_key(self) -> str:
        """The legacy `service_role` key, good beside the new-style one in SUPABASE_KEY."""
        return service_role_jwt(self.secrets.jwt)

    @property
    def services(self) -> list[Service]:
        """What is started, those first that others use."""
        record: list[Service] = [self.postgres, self.postgrest, self.edge] if self._record else []
        return [*([self.valkey] if self._index else []), *record]

    @property
    def env(self) -> dict[str, str]:
        """Return what the functions, the CLI and `psql` or `redis-cli` need to use this stack."""
        path = self.folder.path
        # As they are: neither of the two settings knows of `%` escapes.
        values = {"MAIL_URL": f"file://{path}/outbox", "STORAGE_PREFIXES": f"file://{path}/objects/"}
        if self._record:
            values |= {
                "SUPABASE_URL": self.edge.url,
                "SUPABASE_KEY": self.secrets.secret_key,
                "DATABASE_URL": self.database_url,
            }
        if self._index:
            values["REDIS_URL"] = self.valkey.url
        return values

    def start(self) -> None:
        """Start every service, side by side where none waits for another.

        Raises ServiceError, MigrationError or psycopg.Error; nothing runs then.
        """
        try:
            # Valkey reads its data while PostgreSQL starts.
            if self._index:
                self.valkey.spawn()
            if self._record:
                self._start_record()
            if self._index:
                self.valkey.wait_ready()
                self._say(f"Valkey on port {self.valkey.port}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every service, those that use another first, and let others use the folder."""
        with ExitStack() as steps:
            steps.callback(self.folder.release)
            for service in self.services:
                steps.callback(service.stop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_record(self) -> None:
        self.edge.spawn()
        self.postgres.start()
        self._say(f"PostgreSQL on port {self.postgres.port}")
        create_roles(self.superuser_url, postgres=self.secrets.postgres, authenticator=self.secrets.authenticator)
        migrate(self.database_url, folder=self._migrations, say=self._say)
        self.postgrest.start()
        self.edge.wait_ready()
        self._say(f"PostgREST as Supabase serves it, on port {self.edge.port}")
