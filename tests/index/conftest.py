"""The index on each kind of server that may keep it."""

import asyncio
import contextlib
import shutil
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from infra.local.services.valkey import Valkey
from sweephand.adapters.redis import RedisServer
from sweephand.ports.index import Index
from tests.certificate import Certificate
from tests.open_connections import abort_connections


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server by itself, which listens on a socket file too."""
    folder = tmp_path_factory.mktemp("node")
    with Valkey(folder, password="pa55word", options={"unixsocket": str(folder / "s")}) as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server that is a cluster of one: it takes cluster rules, as ElastiCache Serverless does."""
    with Valkey(tmp_path_factory.mktemp("cluster"), options={"cluster-enabled": "yes"}) as server:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                pass
        yield server


class TlsProxy:
    """Speaks TLS to clients and passes what they say to a server that does not: as Upstash is reached."""

    def __init__(self, server_port: int, context: ssl.SSLContext) -> None:
        self._upstream, self._context = server_port, context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop serving and cut what is open."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await abort_connections()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))
        finally:
            for one in (writer, up_writer):
                one.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture(scope="session")
def tls(node: Valkey, certificate: Certificate) -> Iterator[TlsProxy]:
    """Yield a TLS front of the `node` server."""
    proxy = TlsProxy(node.port, certificate.server)
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Redis itself, where the machine has one."""
    found = shutil.which("redis-server")
    assert found is not None
    with Valkey(tmp_path_factory.mktemp("redis"), binary=Path(found)) as server:
        yield server


KINDS = [
    "tcp",
    "unix",
    "tls",
    "cluster",
    "named cluster",
    *(["redis-server"] if shutil.which("redis-server") else []),
]
"""Kinds of server: Valkey comes with the tests, Redis is one more where it is installed, as in CI."""


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty server."""
    names = {"cluster": "cluster", "named cluster": "cluster", "redis-server": "redis_server"}
    server: Valkey = request.getfixturevalue(names.get(request.param, "node"))
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    if request.param == "tls":
        port = request.getfixturevalue("tls").port
        cafile = request.getfixturevalue("certificate").cafile
        return f"rediss://:{server.password}@127.0.0.1:{port}/0?ssl_ca_certs={quote(str(cafile))}"
    if request.param == "unix":
        return f"unix://:{server.password}@{quote(str(socket_of(server)))}"
    return server.url + ("?cluster=true" if request.param == "named cluster" else "")


def socket_of(server: Valkey) -> Path:
    """Return the socket file of the `node` fixture's server."""
    with redis.Redis.from_url(server.url) as client:
        return Path(str(client.config_get("unixsocket")["unixsocket"]))


@contextlib.contextmanager
def opened(url: str) -> Iterator[Index]:
    """Yield the index on the server that `url` names."""
    server = RedisServer(url)
    yield Index(server)
    server.close()


@pytest.fixture
def index(url: str) -> Iterator[Index]:
    """Yield an empty index."""
    with opened(url) as made:
        yield made


@pytest.fixture
def one_index(node: Valkey) -> Iterator[Index]:
    """Yield an empty index on one server, where the kind of server does not matter."""
    with redis.Redis.from_url(node.url) as client:
        client.flushall()
    with opened(node.url) as made:
        yield made


@pytest.fixture
def redis_client(node: Valkey) -> Iterator["redis.Redis"]:
    """Yield a client to see what the `one_index` server holds."""
    with redis.Redis.from_url(node.url) as client:
        yield client
