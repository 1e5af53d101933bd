"""Every service that Sweephand stands on, under one folder: for `sweephand dev` and for the tests."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ...supabase.migrate import FOLDER, migrate
from .data_folder import DataFolder
from .postgres import Postgres
from .postgrest import Postgrest, create_roles
from .service import Service
from .supabase_gateway_server import SupabaseGateway
from .supabase_keys import service_role_jwt
from .valkey import Valkey


class Services:
    """PostgreSQL, PostgREST behind a Supabase gateway, and Valkey; migrated and ready.

    A context manager. Each service is an attribute (`postgres`, `postgrest`, `supabase_gateway`, `valkey`) with
    start, stop, kill and signal, and keeps its port. All of them end with this process, however it ends.
    """

    def __init__(  # noqa: PLR0913 - each is one setting, by name
        self,
        path: Path,
        *,
        ports: Mapping[str, int] | None = None,
        record: bool = True,
        rest: bool = True,
        index: bool = True,
        migrations: Path = FOLDER,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Make the folder `path`, which keeps all data, and lock it at once.

        `ports` fixes the ports of services by their attribute's name. `record` starts PostgreSQL, `rest` PostgREST
        and its gateway before it, `index` Valkey; without `rest` the functions call PostgreSQL itself. `say` gets a
        line for each step. Raises ServiceError when another process uses the folder.
        """
        self.folder = DataFolder(path)
        self.folder.lock()
        self._record, self._rest, self._index = record, record and rest, index
        self._migrations, self._say = migrations, say
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
        self.supabase_gateway = SupabaseGateway(
            postgrest_port=self.postgrest.port,
            secret_key=self.secrets.secret_key,
            publishable_key=self.secrets.publishable_key,
            jwt_secret=self.secrets.jwt,
            port=ports.get("supabase_gateway"),
            log=log("supabase_gateway"),
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
        """The legacy `service_role` key, which works beside the new-style one in SUPABASE_KEY."""
        return service_role_jwt(self.secrets.jwt)

    @property
    def started(self) -> list[Service]:
        """The services that `start` starts; each comes after those that it uses."""
        index: list[Service] = [self.valkey] if self._index else []
        record: list[Service] = [self.postgres] if self._record else []
        rest: list[Service] = [self.postgrest, self.supabase_gateway] if self._rest else []
        return [*index, *record, *rest]

    @property
    def env(self) -> dict[str, str]:
        """The settings by which the functions, the command line, `psql` and `redis-cli` use these services."""
        path = self.folder.path
        # The path stands unescaped: neither setting knows `%` escapes.
        values = {"MAIL_URL": f"file://{path}/outbox", "STORAGE_PREFIXES": f"file://{path}/objects/"}
        if self._record:
            values["DATABASE_URL"] = self.database_url
            if self._rest:
                values |= {"SUPABASE_URL": self.supabase_gateway.url, "SUPABASE_KEY": self.secrets.secret_key}
            else:
                values["STORE"] = "direct"
        if self._index:
            values["REDIS_URL"] = self.valkey.url
        return values

    def start(self) -> None:
        """Start every service, side by side where none waits for another.

        Raises ServiceError, MigrationError or psycopg.Error; no service runs then.
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
        """Stop every service, each before those that it uses, and unlock the folder."""
        with ExitStack() as steps:
            steps.callback(self.folder.unlock)
            for service in self.started:
                steps.callback(service.stop)

    def __enter__(self) -> Self:
        """Start every service."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every service."""
        self.stop()

    def _start_record(self) -> None:
        if self._rest:
            self.supabase_gateway.spawn()
        self.postgres.start()
        self._say(f"PostgreSQL on port {self.postgres.port}")
        create_roles(self.superuser_url, postgres=self.secrets.postgres, authenticator=self.secrets.authenticator)
        migrate(self.database_url, folder=self._migrations, say=self._say)
        if self._rest:
            self.postgrest.start()
            self.supabase_gateway.wait_ready()
            self._say(f"PostgREST as Supabase serves it, on port {self.supabase_gateway.port}")
