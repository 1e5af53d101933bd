"""The index on each kind of server that may keep it."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from infra.local.valkey import Valkey
from shared.adapters.redis_index import RedisIndex, Server


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


@pytest.fixture(params=["tcp", "unix", "cluster", "named cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty server."""
    server: Valkey = request.getfixturevalue("cluster" if "cluster" in request.param else "node")
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    if request.param == "unix":
        return f"unix://:{server.password}@{quote(str(socket_of(server)))}"
    return server.url + ("?cluster=true" if request.param == "named cluster" else "")


def socket_of(server: Valkey) -> Path:
    """Return the socket file of the `node` fixture's server."""
    with redis.Redis.from_url(server.url) as client:
        return Path(str(client.config_get("unixsocket")["unixsocket"]))


@pytest.fixture
def index(url: str) -> Iterator[RedisIndex]:
    """Yield an empty index."""
    made = RedisIndex(Server(url))
    yield made
    made.close()


@pytest.fixture
def one_index(node: Valkey) -> Iterator[RedisIndex]:
    """Yield an empty index on one server, where the kind of server does not matter."""
    with redis.Redis.from_url(node.url) as client:
        client.flushall()
    made = RedisIndex(Server(node.url))
    yield made
    made.close()


@pytest.fixture
def redis_client(node: Valkey) -> Iterator["redis.Redis"]:
    """Yield a client to see what the `one_index` server holds."""
    with redis.Redis.from_url(node.url) as client:
        yield client
