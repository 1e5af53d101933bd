"""The `IndexServer` port on Redis and Valkey: one server, or a cluster."""

import contextlib
import functools
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, ReadOnlyError, RedisError
from redis.retry import Retry

from sweephand.domain.errors import IndexUnavailableError

CONNECT_TIMEOUT = 1.0
"""Seconds to reach Redis. Short: without an index a tick asks the record instead."""
ANSWER_TIMEOUT = 1.0
"""Seconds to wait for an answer. A command that got none is not sent again."""
LISTEN = 20
"""Seconds that a blocking pop waits: one command each, and shorter than proxies keep an idle connection."""
DEAF = 1.0
"""Seconds after which a broken listener connects again; a notification lives longer."""
NOTIFICATION_MS = 5000
"""How long an element that is put back lives, as in `sync_and_claim.lua`."""
log = logging.getLogger("sweephand")
Client = redis.Redis | redis.RedisCluster


class RedisServer:
    """Runs scripts on the server that a URL names: `redis://`, `rediss://` (TLS) or `unix://`.

    `?cluster=true` makes a cluster's client. Without it, a server that answers MOVED makes the next client one.
    """

    def __init__(self, url: str) -> None:
        self._clustered = "cluster=true" in url.partition("?")[2]
        self._url = url.replace("cluster=true", "").rstrip("?&")
        self._client: Client | None = None
        self._scripts: dict[str, Script] = {}
        self._lock = threading.Lock()

    def client(self, *, answer_timeout: float = ANSWER_TIMEOUT, tries: int = 2) -> Client:
        """Return a new client, which connects when it is first used; raises `ValueError` for a bad URL.

        The client sends a command up to `tries` times while connections break: one may have died while the function
        was frozen. It never sends a command again that got no answer in time.
        """
        options: dict[str, Any] = {"socket_timeout": answer_timeout}
        if not self._url.startswith("unix:"):  # a socket file takes no options of TCP
            options |= {"socket_connect_timeout": CONNECT_TIMEOUT, "socket_keepalive": True}
        retry = Retry(NoBackoff(), tries - 1, supported_errors=(RedisConnectionError,))
        if self._clustered:
            return redis.RedisCluster.from_url(self._url, retry=retry, **options)
        return redis.Redis.from_url(self._url, retry=retry, retry_on_error=[RedisConnectionError], **options)

    def run(self, script: str, keys: Sequence[str], *args: str | bytes) -> Any:
        """See `IndexServer`. Sends one EVALSHA; a server that lacks the script is told it first."""
        try:
            try:
                return self._script(script)(keys, args)
            except (MovedError, ReadOnlyError) as e:
                # MOVED: a cluster. READONLY: this connection leads to the old server of a failover.
                self._clustered |= isinstance(e, MovedError)
                self.close()
                return self._script(script)(keys, args)
        except Exception as e:  # redis-py also raises errors of other kinds, as for a cluster without nodes
            raise IndexUnavailableError(f"The index does not answer: {type(e).__name__}.") from e

    def _script(self, name: str) -> Script:
        with self._lock:
            if self._client is None:
                self._client = self.client()
            if name not in self._scripts:
                self._scripts[name] = self._client.register_script(_text(name))
            return self._scripts[name]

    def listen(self, key: str, heard: Callable[[bytes | None], None]) -> "PopListener":
        """See `IndexServer`. Costs a connection and a thread, and one command in each LISTEN seconds."""
        return PopListener(lambda: self.client(answer_timeout=LISTEN + ANSWER_TIMEOUT, tries=1), key, heard)

    def close(self) -> None:
        """Close the connections; the next call connects anew."""
        with self._lock:
            client, self._client = self._client, None
            self._scripts.clear()
        if client is not None:
            client.close()


@functools.cache
def _text(script: str) -> str:
    return files("sweephand.adapters.lua").joinpath(f"{script}.lua").read_text()


class PopListener:
    """Pops elements of a list with BLPOP, on a thread and a connection of its own: nothing polls.

    The client sends a command once: after `close`, a client that tried again would pop an element that another
    listener waits for.
    """

    def __init__(self, connect: Callable[[], Client], key: str, heard: Callable[[bytes | None], None]) -> None:
        self._connect, self._key, self._heard = connect, key, heard
        self._client: Client | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._listen, name="sweephand-listener", daemon=True).start()

    def close(self) -> None:
        """See `Listener`. Shuts the connection, which ends the pop."""
        self._closed.set()
        if self._client is not None:
            disconnect(self._client)

    def _listen(self) -> None:
        connected = True
        while not self._closed.is_set():
            try:
                if self._client is None:
                    self._client = self._connect()  # a cluster's client asks its nodes here, and may hang
                popped: Any = self._client.blpop([self._key], timeout=LISTEN)
                connected = True
            except Exception as e:  # noqa: BLE001 - a thread that ended would leave its tick deaf
                if connected and not self._closed.is_set():
                    log.warning("no notifications of new jobs for a while: %s", type(e).__name__)
                    self._heard(None)
                connected = False
                self._closed.wait(DEAF)
            else:
                if popped is not None:
                    self._pass_on(popped[1])
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()

    def _pass_on(self, element: bytes) -> None:
        if not self._closed.is_set():
            self._heard(element)
            return
        assert self._client is not None
        with contextlib.suppress(RedisError, OSError):  # popped while it was closed: put back for another listener
            self._client.lpush(self._key, element)
            self._client.pexpire(self._key, NOTIFICATION_MS)


def disconnect(client: Any) -> None:
    """Shut the sockets that `client` has open, so that a thread which waits on one of them goes on now."""
    nodes: list[Any] = client.get_nodes() if hasattr(client, "get_nodes") else [client]
    pools = [getattr(node, "redis_connection", node).connection_pool for node in nodes]
    for pool in pools:
        for connection in (*pool._in_use_connections, *pool._available_connections):  # noqa: SLF001 - no public way
            if (sock := getattr(connection, "_sock", None)) is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
