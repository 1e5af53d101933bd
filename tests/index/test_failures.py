"""What the index does when its server does not do its part."""

import signal

import pytest
import redis

from infra.local.services.service import free_port
from infra.local.services.valkey import Valkey
from sweephand.domain.errors import IndexUnavailableError
from sweephand.ports.index import Index, IndexUpdates
from tests.index.conftest import TlsProxy, opened
from tests.index.test_contract import HERE, add, claim, due, ns


def test_no_server_is_unavailable() -> None:
    """Without a server every call says so."""
    with opened(f"redis://127.0.0.1:{free_port()}/0") as index, pytest.raises(IndexUnavailableError):
        index.sync_and_claim(HERE, IndexUpdates(add=[due(1)]))


def test_a_dead_connection_is_made_anew(one_index: Index, redis_client: "redis.Redis") -> None:
    """A connection that the server closed while the function was frozen costs nothing but a new one."""
    add(one_index, due(1))
    redis_client.client_kill_filter(_type="normal", skipme=True)
    assert ns(claim(one_index)) == [1]


def test_a_server_that_forgot_the_script_is_told_again(one_index: Index, redis_client: "redis.Redis") -> None:
    """After SCRIPT FLUSH, as after a restart, the next call works."""
    add(one_index, due(1))
    redis_client.script_flush()
    assert ns(claim(one_index)) == [1]


def test_a_server_without_memory_is_unavailable(one_index: Index, redis_client: "redis.Redis") -> None:
    """-OOM on a write is an index that does not answer, not a crash."""
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(IndexUnavailableError):
            add(one_index, due(1))
    finally:
        redis_client.config_set("maxmemory", 0)


def test_a_stalled_server_is_unavailable_in_time(one_index: Index, node: Valkey) -> None:
    """A server that takes the connection and never answers is given up after the answer's time limit."""
    add(one_index, due(1))
    node.signal(signal.SIGSTOP)
    try:
        with pytest.raises(IndexUnavailableError):
            claim(one_index)
    finally:
        node.signal(signal.SIGCONT)


def test_a_wrong_password_is_unavailable(node: Valkey) -> None:
    """A refused password is an index that does not answer; the message names no secret."""
    with opened(_with_wrong(node.url)) as index, pytest.raises(IndexUnavailableError) as error:
        claim(index)
    assert "wrong" not in str(error.value)


def _with_wrong(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://:wrong@{rest.rpartition('@')[2]}"


def test_a_certificate_that_nobody_vouches_for_is_refused(tls: TlsProxy, node: Valkey) -> None:
    """With TLS the server's certificate is checked: an unknown one is an index that does not answer."""
    url = f"rediss://:{node.password}@127.0.0.1:{tls.port}/0"
    with opened(url) as index, pytest.raises(IndexUnavailableError):
        claim(index)
