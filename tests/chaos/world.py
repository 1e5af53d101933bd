"""Where a chaos run takes place: a live stack with a proxy in front of each service, and a second installation."""

import random
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

import psycopg
import redis

from infra.local.services.postgrest import Postgrest
from infra.local.services.services import Services
from infra.local.services.supabase_gateway_server import SupabaseGateway
from infra.local.services.valkey import Valkey
from infra.local.serving.function_server import Functions, FunctionServer
from infra.local.serving.serverless_yml import FILE
from sweephand.layout import MAIN
from sweephand.usecases.tick import claim
from tests.chaos.cluster import Cluster
from tests.chaos.fleet import NEW, Fleet, Tempo
from tests.chaos.load import Asked
from tests.chaos.proxy import Proxy
from tests.chaos.users import User
from tests.chaos.witness import Deployment, Witness

Answer = TypeVar("Answer")
KEY = "chaos-api-key-81c3"
TRANSPORTS = ("rest", "direct")
"""How the functions reach the record: through PostgREST, or in PostgreSQL itself."""
INDEXES = ("single", "cluster")
"""What the index stands on: one Valkey behind a proxy, or three that are a cluster, reached directly."""


class World:
    """Everything that runs; a context manager."""

    def __init__(  # noqa: PLR0913 - each is one setting, by name
        self,
        folder: Path,
        pace: Tempo,
        rng: random.Random,
        *,
        scale: float = 1,
        transport: str = TRANSPORTS[0],
        index: str = INDEXES[0],
    ) -> None:
        """`scale`: by what the lengths of faults are multiplied; 1 is a long run."""
        self.folder, self.rng, self.scale, self.transport = folder, rng, scale, transport
        self.on_wait: Callable[[], None] = lambda: None
        self._open = ExitStack()
        self.stack = Services(folder / "stack", index=index == "single")
        self.valkey = self.stack.valkey
        self.cluster = Cluster(folder / "cluster", self.stack.secrets.valkey) if index == "cluster" else None
        self.asked = Asked()
        self.user = User(self.stack.database_url, self.asked, random.Random(rng.random()))
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self._pace = pace

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._enter(opening)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _enter(self, opening: ExitStack) -> None:
        stack, log = self.stack, self.stack.folder.log
        self.database_proxy = opening.enter_context(Proxy(stack.postgres.port))
        direct = stack.postgrest.database_url
        stack.postgrest.database_url = direct.replace(f":{stack.postgres.port}/", f":{self.database_proxy.port}/")
        opening.enter_context(stack)
        self.rest_proxy = opening.enter_context(Proxy(stack.supabase_gateway.port))
        self.index_proxy = opening.enter_context(Proxy(stack.valkey.port))
        redis_url, second_redis = self._index(opening)
        second = self._second_installation(opening, direct)
        self.installation: str = self.sql("select id from sweephand.installation")[0][0]
        common = {
            "SUPABASE_KEY": stack.secrets.secret_key,
            "STORE": self.transport,
            "LEDGER": str(self.ledger),
            "MAIL_URL": stack.env["MAIL_URL"],
            "STORAGE_PREFIXES": stack.env["STORAGE_PREFIXES"],
            "TICK_BUDGET_SECONDS": "200",
            "SWEEPHAND_API_KEYS": KEY,
            "HANDLERS": NEW,
        }
        first = {
            **common,
            "SUPABASE_URL": f"http://127.0.0.1:{self.rest_proxy.port}",
            "DATABASE_URL": stack.database_url.replace(f":{stack.postgres.port}/", f":{self.database_proxy.port}/"),
            "REDIS_URL": redis_url,
        }
        other = {**common, "SUPABASE_URL": second, "DATABASE_URL": self.second_url, "REDIS_URL": second_redis}
        self.gateway = opening.enter_context(
            FunctionServer("the gateway", Functions(str(MAIN), routes=str(FILE)), env=first, log=log("gateway"))
        )
        self.api_proxy = opening.enter_context(Proxy(self.gateway.port))
        self.api_url = f"http://127.0.0.1:{self.api_proxy.port}"
        self.fleet = Fleet([first, other], self.folder, self._pace, self.rng)
        opening.callback(self.fleet.stop)
        hold = self._pace.hold_ms or claim.HOLD_MS
        installations = [
            Deployment(self.installation, stack.database_url),
            Deployment("second", self.second_url),
        ]
        self.witness = Witness(installations, hold / 1000, self.index, self.asked.touched)
        self.fleet.on_report = self.witness.saw_end

    def _index(self, opening: ExitStack) -> tuple[str, str]:
        """Start what is not of the stack; return the REDIS_URL of each installation.

        The second one's does not say that it names a cluster: its functions learn it from a MOVED.
        """
        stack, log = self.stack, self.stack.folder.log
        if self.cluster is not None:
            opening.enter_context(self.cluster)
            return f"{self.cluster.urls[0]}?cluster=true", self.cluster.urls[1]
        self.spare = opening.enter_context(
            Valkey(self.folder / "spare", password=stack.secrets.valkey, log=log("spare"))
        )
        url = stack.valkey.url.replace(f":{stack.valkey.port}/", f":{self.index_proxy.port}/")
        return url, url

    def _second_installation(self, opening: ExitStack, direct: str) -> str:
        """Make a second record, which shares the Redis; return its SUPABASE_URL."""
        stack, log = self.stack, self.stack.folder.log
        stack.postgrest.stop()
        with psycopg.connect(stack.postgres.url(database="template1"), autocommit=True) as sql:
            sql.execute("create database second template postgres owner postgres")
        stack.postgrest.start()
        with psycopg.connect(self.second_url, autocommit=True) as sql:
            sql.execute("update sweephand.installation set id = 'second'")
        rest = Postgrest(
            direct.replace("/postgres", "/second"), jwt_secret=stack.secrets.jwt, log=log("rest2"), pool=5
        )
        edge = SupabaseGateway(
            postgrest_port=rest.port,
            secret_key=stack.secrets.secret_key,
            publishable_key=stack.secrets.publishable_key,
            jwt_secret=stack.secrets.jwt,
            log=log("edge2"),
        )
        opening.enter_context(rest)
        opening.enter_context(edge)
        return edge.url

    @property
    def record_proxy(self) -> Proxy:
        """What stands between a function and its record."""
        return self.database_proxy if self.transport == "direct" else self.rest_proxy

    @property
    def second_url(self) -> str:
        """DATABASE_URL of the second installation."""
        return self.stack.postgres.url("postgres", self.stack.secrets.postgres, database="second")

    def sql(self, statement: str, *, superuser: bool = False) -> list[tuple[Any, ...]]:
        """Run a statement on the first record, past every proxy."""
        url = self.stack.superuser_url if superuser else self.stack.database_url
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def count_open(self, url: str) -> int:
        """Return how many jobs of the record at `url` have not ended, and schedules that have fires to come."""
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            row = connection.execute(
                "select (select count(*) from sweephand.open) "
                "+ (select count(*) from sweephand.schedules where look_at is not null)"
            ).fetchone()
        assert row is not None
        return int(row[0])

    @property
    def whole_cluster(self) -> Cluster:
        """The cluster of a run that has one."""
        assert self.cluster is not None
        return self.cluster

    def redis(self) -> "redis.Redis":
        """Return a client of the current Valkey, past the proxy."""
        return redis.Redis(port=self.valkey.port, password=self.stack.secrets.valkey)

    def index(self) -> Any:
        """Return a client of the whole index, past the proxy: of the current Valkey, or of the cluster."""
        return self.redis() if self.cluster is None else self.cluster.client()

    def flush_index(self) -> None:
        """Empty the index."""
        if self.cluster is not None:
            self.cluster.flush()
            return
        with self.redis() as client:
            client.flushall()

    def configure_redis(self, values: Mapping[str, str]) -> None:
        """Change the settings of the current Valkey, or of every node."""
        if self.cluster is not None:
            self.cluster.configure(values)
            return
        with self.redis() as client:
            for name, value in values.items():
                client.config_set(name, value)

    def wait(self, seconds: float) -> None:
        """Let the world go on for so long, times the scale."""
        self.wait_exactly(seconds * self.scale)

    def wait_exactly(self, seconds: float) -> None:
        """Let the world go on for so long."""
        until = time.monotonic() + seconds
        while True:
            self.on_wait()
            self.fleet.poll()
            if time.monotonic() >= until:
                return
            time.sleep(0.03)

    def beside(self, act: Callable[[], Answer]) -> Answer:
        """Return what `act` returns, and let the world go on meanwhile."""
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(act)
            while not call.done():
                self.wait_exactly(0.05)
            return call.result()

    def fail_over(self) -> None:
        """Have the other Valkey, empty, take the place of this one, which turns read-only."""
        old, new = self.valkey, self.spare
        with redis.Redis(port=new.port, password=self.stack.secrets.valkey) as client:
            client.flushall()
        with self.redis() as client:
            client.config_set("masterauth", self.stack.secrets.valkey)
            client.replicaof("127.0.0.1", new.port)
        self.index_proxy.switch(new.port)
        self.valkey, self.spare = new, old

    def end_fail_over(self) -> None:
        """Let the old Valkey be one of its own again, empty."""
        with redis.Redis(port=self.spare.port, password=self.stack.secrets.valkey) as client:
            client.replicaof("NO", "ONE")
            client.flushall()

    def copy_index(self) -> Path:
        """Return a copy of what Valkey has on disk just now."""
        target = self.folder / "snapshot"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.valkey.folder, target)
        return target

    def restart_index(self, data: Path | None = None, *, empty: bool = False) -> None:
        """Kill Valkey and start it again: with what it had, with `data`, or empty."""
        self.valkey.kill()
        if empty or data is not None:
            shutil.rmtree(self.valkey.folder)
        if data is not None:
            shutil.copytree(data, self.valkey.folder)
        self.valkey.start()

    def heal(self) -> None:
        """End whatever is still broken."""
        for proxy in (self.rest_proxy, self.database_proxy, self.index_proxy, self.api_proxy):
            proxy.heal()
        self.fleet.skew, self.fleet.size, self.fleet.calm = 0, self._pace.size, True
