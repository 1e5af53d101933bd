"""The index on Redis: one ZSET per type and priority, stepped by one Lua script."""

import contextlib
import hashlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, NoScriptError, ReadOnlyError, RedisError
from redis.retry import Retry

from shared.domain.errors import IndexUnavailableError
from shared.domain.job import MAX_PRIORITY
from shared.ports.index import PLAIN, Ask, Claimed, Lane, Moves, Step
from shared.ports.record import Due

STEP = files("shared.adapters.lua").joinpath("step.lua").read_text()
WHEN = files("shared.adapters.lua").joinpath("when.lua").read_text()
CONNECT_TIMEOUT = 2.0
"""Seconds to reach Redis. Short: without an index the record is asked instead."""
ANSWER_TIMEOUT = 2.0
"""Seconds for an answer."""
LISTEN = 20
"""Seconds that a blocking pop waits: one command each, and less than what proxies cut idle connections after."""
DEAF = 1.0
"""Seconds after which a broken wait for kicks is begun again: a kick is kept for longer."""
KICK_MS = 5000
"""How long a kick is kept, as `step.lua` has it."""
log = logging.getLogger("minutehand")


class Client(Protocol):
    """A `redis` client, of one node or of a cluster, as far as it is used here."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: str) -> Any:
        """Run a script that the server knows."""
        ...

    def eval(self, script: str, numkeys: int, *keys_and_args: str) -> Any:
        """Run a script, which makes the server know it."""
        ...

    def blpop(self, keys: list[str], timeout: float) -> Any:
        """Wait for an element of a list."""
        ...

    def lpush(self, name: str, *values: str) -> Any:
        """Put an element into a list."""
        ...

    def pexpire(self, name: str, time: int) -> Any:
        """Have a key forgotten in so many ms."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def key_of(installation: str, type_: str, priority: int) -> str:
    """Return the ZSET's key."""
    return f"{_prefix(installation)}:due:{type_}:{priority}"


def _kick_key(installation: str) -> str:
    return f"{_prefix(installation)}:kick"


def _awake_key(installation: str) -> str:
    return f"{_prefix(installation)}:awake"


def _prefix(installation: str) -> str:
    """Return what every key of an installation begins with; the braces put them into one slot of a cluster."""
    return f"minutehand:{{{installation}}}"


class Server:
    """What makes clients for a URL: `redis://`, `rediss://` (TLS) or `unix://`.

    A connection that died while the function was frozen is made anew once. `?cluster=true` asks for a cluster's
    client; without it one is made after a server has answered MOVED.
    """

    def __init__(self, url: str) -> None:
        self._clustered = "cluster=true" in url.partition("?")[2]
        self._url = url.replace("cluster=true", "").rstrip("?&")

    def client(self, *, answer_timeout: float = ANSWER_TIMEOUT, tries: int = 2) -> Client:
        """Return a new client, which connects when it is first used; raises `ValueError` for a bad URL.

        It makes a command `tries` times while connections break.
        """
        options: dict[str, Any] = {"socket_timeout": answer_timeout}
        if not self._url.startswith("unix:"):  # a socket file takes no options of TCP
            options |= {"socket_connect_timeout": CONNECT_TIMEOUT, "socket_keepalive": True}
        if self._clustered:
            options |= {} if tries > 1 else {"retry": Retry(NoBackoff(), 0)}
            return redis.RedisCluster.from_url(self._url, **options)
        options |= {"retry": Retry(NoBackoff(), tries - 1), "retry_on_error": [RedisConnectionError]}
        return redis.Redis.from_url(self._url, **options)

    def moved(self) -> None:
        """Make clients of a cluster from now on."""
        self._clustered = True


class RedisIndex:
    """The `Index` port; may be used from several threads."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._sha = ""

    def step(self, installation: str, moves: Moves, lanes: Sequence[Lane] = (), ask: Ask = PLAIN) -> Step:
        """See the port."""
        places = _Places(installation, moves, lanes)
        added, claims, generation, next_ms, due, asleep, awake = self._call(
            places.keys, _argument(places, moves, lanes, ask)
        )
        claimed = [claim for row in claims for claim in _claims(places, row)]
        wait = None if next_ms < 0 else int(next_ms)
        return Step(claimed, int(added), int(generation), wait, int(due), bool(asleep), bool(awake))

    def missing(self, installation: str, jobs: Sequence[Due]) -> int:
        """See the port."""
        moves = Moves(add=list(jobs))
        places = _Places(installation, moves, ())
        return int(self._call(places.keys, _argument(places, moves, (), Ask(), dry=True))[0])

    def when(self, installation: str, job: Due) -> int | None:
        """See the port."""
        key = key_of(installation, job.type, job.priority)
        found = self._asked(lambda: self._connected().eval(WHEN, 1, key, job.id))
        return None if found is None else int(found)

    def listen(self, installation: str, woken: Callable[[], None]) -> "Kicks":
        """See the port. Costs a connection, and one command in each LISTEN seconds."""
        client = self._server.client(answer_timeout=LISTEN + ANSWER_TIMEOUT, tries=1)
        return Kicks(client, _kick_key(installation), woken)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _call(self, keys: Sequence[str], argument: str) -> Any:
        return self._asked(lambda: self._eval(keys, argument))

    def _asked(self, ask: Callable[[], Any]) -> Any:
        try:
            try:
                return ask()
            except MovedError:
                self._server.moved()
                self.close()
                return ask()
            except ReadOnlyError:  # after a failover this connection still leads to the old server
                self.close()
                return ask()
        except (RedisError, OSError) as e:
            raise IndexUnavailableError(f"The index does not answer: {type(e).__name__}.") from e

    def _eval(self, keys: Sequence[str], argument: str) -> Any:
        client = self._connected()
        try:
            if self._sha:
                return client.evalsha(self._sha, len(keys), *keys, argument)
        except NoScriptError:
            pass  # a new or restarted server: tell it the script, below
        answer = client.eval(STEP, len(keys), *keys, argument)
        self._sha = _sha1(STEP)
        return answer

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = self._server.client()
            return self._client


class Kicks:
    """Waits for kicks on a thread and a connection of its own, by a blocking pop: no polling.

    Its client tries a command once: one that tried again would pop on after `close`, for as long as a pop waits,
    and keep the kick from who listens then.
    """

    def __init__(self, client: Client, key: str, woken: Callable[[], None]) -> None:
        self._client, self._key, self._woken = client, key, woken
        self._closed = threading.Event()
        threading.Thread(target=self._listen, name="minutehand-kicks", daemon=True).start()

    def close(self) -> None:
        """See `Listener`. The pop ends because its connection does."""
        self._closed.set()
        disconnect(self._client)

    def _listen(self) -> None:
        heard = True
        while not self._closed.is_set():
            try:
                popped = self._client.blpop([self._key], timeout=LISTEN)
                heard = True
            except (RedisError, OSError, ValueError) as e:
                if heard and not self._closed.is_set():
                    log.warning("not woken by new jobs for a while: %s", type(e).__name__)
                    self._woken()  # what was created meanwhile is seen now, or the index is known to be away
                heard = False
                self._closed.wait(DEAF)
            else:
                if popped is not None:
                    self._pass_on()
        self._client.close()

    def _pass_on(self) -> None:
        if not self._closed.is_set():
            self._woken()
            return
        with contextlib.suppress(RedisError, OSError):  # closed while it connected: the kick is for another
            self._client.lpush(self._key, "1")
            self._client.pexpire(self._key, KICK_MS)


def disconnect(client: Any) -> None:
    """Shut the sockets that `client` has open, so that a call which waits on one ends now."""
    nodes: list[Any] = client.get_nodes() if hasattr(client, "get_nodes") else [client]
    pools = [getattr(node, "redis_connection", node).connection_pool for node in nodes]
    for pool in pools:
        for connection in (*pool._in_use_connections, *pool._available_connections):  # noqa: SLF001 - no public way
            if (sock := getattr(connection, "_sock", None)) is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


def _argument(places: "_Places", moves: Moves, lanes: Sequence[Lane], ask: Ask, *, dry: bool = False) -> str:
    """Return the script's argument; `step.lua` says what its fields mean."""
    return json.dumps(
        {
            "hold": ask.hold_ms,
            "room": [max(0, lane.room) for lane in lanes],
            "lane": places.lanes,
            "remove": _by_place(places, moves.remove),
            "wait": [[places.of(c), c.id, c.hold, ms] for c, ms in moves.wait],
            "back": [[places.of(c), c.id, c.hold, c.score] for c in moves.back],
            "add": [[places.of(d), d.id, d.wait_ms] for d in moves.add],
            "again": [[places.of(d), d.id, d.wait_ms] for d in moves.again],
            "dry": dry,
            "enter": ask.enter,
            "kick": ask.kick,
            "count": ask.count,
            **({"wake": [ask.wake.wait_ms, ask.wake.stay_ms]} if ask.wake else {}),
            **({"tick": ask.tick.name, "stay": ask.tick.stay_ms, "busy": ask.tick.busy} if ask.tick else {}),
        },
        separators=(",", ":"),
    )


def _by_place(places: "_Places", claimed: Iterable[Claimed]) -> list[list[int | str]]:
    ids: dict[int, list[int | str]] = {}
    for claim in claimed:
        at = places.of(claim)
        ids.setdefault(at, [at]).append(claim.id)
    return list(ids.values())


class _Places:
    """Which keys a step declares, in the order to claim from, and which lane may claim from each."""

    def __init__(self, installation: str, moves: Moves, lanes: Sequence[Lane]) -> None:
        self.at: dict[tuple[str, int], int] = {}
        self.lanes: list[int] = []
        self.keys = [f"{_prefix(installation)}:generation", _kick_key(installation), _awake_key(installation)]
        self._installation = installation
        for priority in range(MAX_PRIORITY, -1, -1):
            for number, lane in enumerate(lanes, 1):
                for type_ in lane.types:
                    self._add(type_, priority, number)
        touched: Iterable[Claimed | Due] = (
            *moves.remove,
            *(c for c, _ in moves.wait),
            *moves.back,
            *moves.add,
            *moves.again,
        )
        for entry in touched:
            if (entry.type, entry.priority) not in self.at:
                self._add(entry.type, entry.priority, 0)

    def _add(self, type_: str, priority: int, lane: int) -> None:
        self.keys.append(key_of(self._installation, type_, priority))
        self.lanes.append(lane)
        self.at[type_, priority] = len(self.lanes)

    def of(self, entry: Claimed | Due) -> int:
        return self.at[entry.type, entry.priority]

    def named(self, at: int) -> tuple[str, int]:
        return list(self.at)[at - 1]


def _claims(places: _Places, row: Sequence[Any]) -> Iterable[Claimed]:
    type_, priority = places.named(int(row[0]))
    hold, due = int(row[1]), row[2]
    for id_, score in zip(due[::2], due[1::2], strict=True):
        yield Claimed(id_.decode(), type_, priority, int(float(score)), hold)


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
