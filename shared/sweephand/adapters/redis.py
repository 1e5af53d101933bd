"""The index on Redis: one ZSET for each lane (a type at a priority), stepped by one Lua script.

Whatever it says or fails with, no caller meets anything but an answer or `IndexUnavailableError`: Redis may be
somebody else's too, and what stands under our keys may be foreign.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import re
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any, NamedTuple, Protocol, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, NoScriptError, ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry

from sweephand.domain.errors import IndexUnavailableError
from sweephand.domain.job import MAX_PRIORITY
from sweephand.ports.index import NO_OPTIONS, Claim, Claimed, ClaimOptions, ClaimQuota, IndexUpdates, Lane
from sweephand.ports.record import Due

STEP = files("sweephand.adapters.lua").joinpath("sync_and_claim.lua").read_text()
WHEN = files("sweephand.adapters.lua").joinpath("look_up.lua").read_text()
CONNECT_TIMEOUT = 1.0
"""Seconds to reach Redis. Short: without an index the record is asked instead."""
ANSWER_TIMEOUT = 1.0
"""Seconds for an answer, which is not waited for twice."""
LISTEN = 20
"""Seconds that a blocking pop waits: one command each, and less than what proxies cut idle connections after."""
DEAF = 1.0
"""Seconds after which a broken wait for kicks is begun again: a kick is kept for longer."""
KICK_MS = 5000
"""How long a kick is kept, as `sync_and_claim.lua` has it."""
_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TYPE = re.compile(rb"[a-z][a-z0-9_.-]{0,63}")
_SHAPES = (b"string", b"list", b"string")
"""What the first keys of a step hold; all others are ZSETs."""
FIXED = 13
"""The keys of a step before its lanes."""
log = logging.getLogger("sweephand")
Answer = TypeVar("Answer")


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

    def zrem(self, name: str, *values: bytes) -> Any:
        """Remove members of a ZSET."""
        ...

    def type(self, name: str) -> Any:
        """Tell what a key holds."""
        ...

    def delete(self, *names: str) -> Any:
        """Remove keys."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def key_of(installation: str, type_: str, priority: int) -> str:
    """Return the ZSET's key."""
    return f"{_prefix(installation)}:due:{type_}:{priority}"


def _kick_key(installation: str) -> str:
    return f"{_prefix(installation)}:notification"


def _fixed_keys(installation: str) -> list[str]:
    prefix = _prefix(installation)
    lanes = [f"{prefix}:lanes:{priority}" for priority in range(MAX_PRIORITY + 1)]
    return [f"{prefix}:generation", _kick_key(installation), f"{prefix}:active", *lanes]


def _prefix(installation: str) -> str:
    """Return what every key of an installation begins with; the braces put them into one slot of a cluster."""
    return f"sweephand:{{{installation}}}"


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
        # Only a connection that broke is made anew: a silence that was waited for once is not waited for again.
        retry = Retry(NoBackoff(), tries - 1, supported_errors=(RedisConnectionError,))
        if self._clustered:
            return redis.RedisCluster.from_url(self._url, retry=retry, **options)
        return redis.Redis.from_url(self._url, retry=retry, retry_on_error=[RedisConnectionError], **options)

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

    def sync_and_claim(
        self,
        installation: str,
        moves: IndexUpdates,
        quotas: Sequence[ClaimQuota] = (),
        ask: ClaimOptions = NO_OPTIONS,
    ) -> Claimed:
        """See the port."""
        places = _Places(installation, moves, quotas)
        argument = _argument(places, moves, quotas, ask)
        answer = self._asked(lambda: _read(places, self._call(places, argument)))
        return self._cleaned(answer) if answer.foreign else answer.step

    def missing(self, installation: str, jobs: Sequence[Due]) -> int:
        """See the port."""
        moves = IndexUpdates(add=list(jobs))
        places = _Places(installation, moves, ())
        argument = _argument(places, moves, (), ClaimOptions(), dry=True)
        return self._asked(lambda: int(self._call(places, argument)[0]))

    def look_up(self, installation: str, job: Due) -> int | None:
        """See the port."""
        key = key_of(installation, job.type, job.priority)
        found = self._asked(lambda: self._connected().eval(WHEN, 1, key, job.id))
        return None if found is None else int(found)

    def listen(self, installation: str, notified: Callable[[Lane | None], None]) -> "Kicks":
        """See the port. Costs a connection, and one command in each LISTEN seconds."""
        return Kicks(
            lambda: self._server.client(answer_timeout=LISTEN + ANSWER_TIMEOUT, tries=1),
            _kick_key(installation),
            notified,
        )

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _call(self, places: "_Places", argument: str) -> Any:
        try:
            return self._eval(places.keys, argument)
        except ResponseError as e:
            if "WRONGTYPE" not in str(e):
                raise
        self._reshape(places)
        return self._eval(places.keys, argument)

    def _reshape(self, places: "_Places") -> None:
        """Delete keys that somebody has put something else into than we keep there."""
        client = self._connected()
        for at, key in enumerate(places.keys):
            shape = client.type(key)
            if shape not in (b"none", _SHAPES[at] if at < len(_SHAPES) else b"zset"):
                log.error("the index holds a %s under %s, which is ours: deleted", shape.decode(), key)
                client.delete(key)

    def _cleaned(self, answer: "_Answer") -> Claimed:
        """Remove members that are no job's, and tell of them."""
        with contextlib.suppress(Exception):  # they will be met again
            client = self._connected()
            for key, member in answer.foreign:
                client.zrem(key, member)
        said = tuple(f"{member[:80]!r} in {key}" for key, member in answer.foreign)
        log.error("the index held %d members that are no job's: %s", len(said), "; ".join(said[:5]))
        return dataclasses.replace(answer.step, foreign=said)

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
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
        except Exception as e:  # also what is no RedisError: a cluster without nodes, an answer of another shape
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

    def __init__(self, connect: Callable[[], Client], key: str, notified: Callable[[Lane | None], None]) -> None:
        self._connect, self._key, self._notified = connect, key, notified
        self._client: Client | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._listen, name="sweephand-kicks", daemon=True).start()

    def close(self) -> None:
        """See `Listener`. The pop ends because its connection does."""
        self._closed.set()
        if self._client is not None:
            disconnect(self._client)

    def _listen(self) -> None:
        heard = True
        while not self._closed.is_set():
            try:
                if self._client is None:
                    self._client = self._connect()  # of a cluster, this asks its nodes: not for the event loop
                popped = self._client.blpop([self._key], timeout=LISTEN)
                heard = True
            except Exception as e:  # noqa: BLE001 - a thread that ended would leave its tick deaf
                if heard and not self._closed.is_set():
                    log.warning("not notified by new jobs for a while: %s", type(e).__name__)
                    self._notified(None)  # what was created meanwhile is seen now, or the index is known to be away
                heard = False
                self._closed.wait(DEAF)
            else:
                if popped is not None:
                    self._pass_on(popped[1])
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()

    def _pass_on(self, kick: bytes) -> None:
        if not self._closed.is_set():
            self._notified(_lane_of(kick))
            return
        assert self._client is not None
        with contextlib.suppress(RedisError, OSError):  # closed while it connected: the kick is for another
            self._client.lpush(self._key, kick.decode(errors="replace"))
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


def _argument(
    places: "_Places", moves: IndexUpdates, quotas: Sequence[ClaimQuota], ask: ClaimOptions, *, dry: bool = False
) -> str:
    """Return the script's argument; `sync_and_claim.lua` says what its fields mean."""
    upto = ask.upto_ms
    return json.dumps(
        {
            "hold": ask.hold_ms,
            "capacities": [max(0, quota.room) for quota in quotas],
            "lanes": [
                [lane.priority, lane.type, pool, *([upto[lane]] if lane in upto else [])]
                for lane, pool in zip(places.lanes, places.pools, strict=True)
            ],
            "remove": _by_place(places, ((c, (c.id,)) for c in moves.remove)),
            "postpone": [[places.of(c), c.id, c.held, ms] for c, ms in moves.postpone],
            "release": [[places.of(c), c.id, c.held, c.score] for c in moves.release],
            "add": _by_place(places, ((d, (d.id, d.wait_ms)) for d in moves.add)),
            "requeue": [[places.of(d), d.id, d.wait_ms] for d in moves.requeue],
            "dry": dry,
            "begins": ask.begins,
            "notify": f"{ask.notify.priority} {ask.notify.type}" if ask.notify else False,
            "count_due": ask.count_due,
            **({"far": ask.far_ms} if ask.far_ms is not None else {}),
            **({"trigger": [ask.trigger.wait_ms, ask.trigger.stay_ms]} if ask.trigger else {}),
            **({"tick": ask.tick.name, "stay": ask.tick.stay_ms, "works": ask.tick.works} if ask.tick else {}),
        },
        separators=(",", ":"),
    )


def _by_place(
    places: "_Places", entries: Iterable[tuple[Claim | Due, tuple[int | str, ...]]]
) -> list[list[int | str]]:
    rows: dict[int, list[int | str]] = {}
    for entry, values in entries:
        at = places.of(entry)
        rows.setdefault(at, [at]).extend(values)
    return list(rows.values())


class _Places:
    """Which keys a step declares, and which pool of the caller may claim from each lane."""

    def __init__(self, installation: str, moves: IndexUpdates, quotas: Sequence[ClaimQuota]) -> None:
        self.at: dict[tuple[str, int], int] = {}
        self.lanes: list[Lane] = []
        self.pools: list[int] = []
        self.keys = _fixed_keys(installation)
        self._installation = installation
        for number, quota in enumerate(quotas, 1):
            for lane in quota.lanes:
                self._add(lane.type, lane.priority, number)
        touched: Iterable[Claim | Due] = (
            *moves.remove,
            *(c for c, _ in moves.postpone),
            *moves.release,
            *moves.add,
            *moves.requeue,
        )
        for entry in touched:
            if (entry.type, entry.priority) not in self.at:
                self._add(entry.type, entry.priority, 0)

    def _add(self, type_: str, priority: int, pool: int) -> None:
        self.keys.append(key_of(self._installation, type_, priority))
        self.lanes.append(Lane(type_, priority))
        self.pools.append(pool)
        self.at[type_, priority] = len(self.lanes)

    def of(self, entry: Claim | Due) -> int:
        return self.at[entry.type, entry.priority]


class _Answer(NamedTuple):
    """What a step answered, and the members in it that are no job's: (key, member)."""

    step: Claimed
    foreign: Sequence[tuple[str, bytes]]


def _read(places: _Places, answer: Any) -> _Answer:
    added, claims, generation, coming, due, asleep, awake, more, grown, lost, wait = answer
    foreign: list[tuple[str, bytes]] = []
    claimed = [claim for row in claims for claim in _claims(places, row, foreign)]
    due_now = ((priority, name, 0) for priority, name in zip(more[::2], more[1::2], strict=True))
    soon = zip(coming[::3], coming[1::3], coming[2::3], strict=True)
    step = Claimed(
        claimed,
        int(added),
        frozenset(places.lanes[int(at) - 1] for at in grown),
        int(generation),
        None if wait < 0 else int(wait),
        list(_lanes(places, soon, foreign)),
        [lane for lane, _ in _lanes(places, due_now, foreign)],
        int(due),
        bool(asleep),
        bool(lost),
        bool(awake),
    )
    return _Answer(step, foreign)


def _lanes(
    places: _Places, rows: Iterable[tuple[int, bytes, int]], foreign: list[tuple[str, bytes]]
) -> Iterable[tuple[Lane, int]]:
    for priority, name, ms in rows:
        if _TYPE.fullmatch(name):
            yield Lane(name.decode(), int(priority)), int(ms)
        else:
            foreign.append((places.keys[3 + int(priority)], name))


def _claims(places: _Places, row: Sequence[Any], foreign: list[tuple[str, bytes]]) -> Iterable[Claim]:
    lane = places.lanes[int(row[0]) - 1]
    hold, due = int(row[1]), row[2]
    for id_, score in zip(due[::2], due[1::2], strict=True):
        place = float(score)
        if _ID.fullmatch(id_):
            yield Claim(id_.decode(), lane.type, lane.priority, int(place) if math.isfinite(place) else 0, hold)
        else:
            foreign.append((places.keys[FIXED + int(row[0]) - 1], id_))


def _lane_of(kick: bytes) -> Lane | None:
    """Return the lane that a kick names; None for a text that is none of ours."""
    priority, _, type_ = kick.partition(b" ")
    if priority.isdigit() and len(priority) == 1 and _TYPE.fullmatch(type_):
        return Lane(type_.decode(), int(priority))
    return None


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
