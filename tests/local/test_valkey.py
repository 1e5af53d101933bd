"""Valkey runs as the tests need it: durable or not, with or without a password, as a cluster."""

from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from infra.local.services.service import ServiceError
from infra.local.services.services import Services
from infra.local.services.valkey import Valkey


@pytest.mark.parametrize(("appendonly", "kept"), [(True, b"1"), (False, None)])
def test_append_only_file_decides_what_a_stop_leaves(tmp_path: Path, appendonly: bool, kept: bytes | None) -> None:  # noqa: FBT001
    """With its append-only file the data survives a stop, without it a start is empty."""
    valkey = Valkey(tmp_path / "valkey", appendonly=appendonly)
    valkey.start()
    with redis.Redis.from_url(valkey.url) as client:
        client.set("k", 1)
        valkey.stop()
        valkey.start()
        assert client.get("k") == kept
    valkey.stop()


def test_one_node_can_be_a_cluster(tmp_path: Path) -> None:
    """Options pass through: a server with cluster-enabled and all slots serves a cluster client."""
    valkey = Valkey(tmp_path / "valkey", options={"cluster-enabled": "yes"})
    valkey.start()
    with redis.Redis.from_url(valkey.url) as node:
        node.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
        while node.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            pass
    client = RedisCluster.from_url(valkey.url)
    client.set("{tag}a", 1)
    assert client.get("{tag}a") == b"1"
    client.close()
    valkey.stop()


def test_password_is_demanded(services: Services) -> None:
    """The session's Valkey serves nobody without its password."""
    at_once = Retry(NoBackoff(), 0)
    with redis.Redis(port=services.valkey.port, retry=at_once) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_failed_start_shows_the_log(tmp_path: Path) -> None:
    """When it does not start, the error has the server's own reason."""
    with pytest.raises(ServiceError, match="no-such-option"):
        Valkey(tmp_path / "valkey", options={"no-such-option": "1"}).start()
