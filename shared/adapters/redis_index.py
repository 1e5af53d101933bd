"""The index on Redis: one ZSET per type and priority, stepped by one Lua script."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.domain.errors import IndexUnavailableError
from shared.domain.job import MAX_PRIORITY
from shared.ports.index import Claimed, Lane, Moves, Step
from shared.ports.record import Due

STEP = files("shared.adapters.lua").joinpath("step.lua").read_text()
CONNECT_TIMEOUT = 2.0
"""Seconds to reach Redis. Short: without an index the record is asked instead."""
ANSWER_TIMEOUT = 2.0
"""Seconds for an answer."""


class Client(Protocol):
    """A `redis` client, of one node or of a cluster, as far as it is used here."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: str) -> Any:
        """Run a script that the server knows."""
        ...

    def eval(self, script: str, numkeys: int, *keys_and_args: str) -> Any:
        """Run a script, which makes the server know it."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def key_of(installation: str, type_: str, priority: int) -> str:
    """Return the ZSET's key. The braces put all keys of an installation into one slot of a cluster."""
    return f"minutehand:{{{installation}}}:due:{type_}:{priority}"


def connect(url: str) -> Callable[[], Client]:
    """Return what makes a client for `url` (`redis://`, `rediss://`, `unix://`), first for one node.

    A connection that died while the function was frozen is made anew once. A server that is part of a cluster
    answers MOVED to a client that does not know it: then, and with `?cluster=true`, a cluster client is made.
    """
    clustered = "cluster=true" in url.partition("?")[2]
    bare = url.replace("cluster=true", "").rstrip("?&")
    options: dict[str, Any] = {"socket_timeout": ANSWER_TIMEOUT}
    if not url.startswith("unix:"):
        options |= {"socket_connect_timeout": CONNECT_TIMEOUT, "socket_keepalive": True}

    def make() -> Client:
        nonlocal clustered
        if clustered:
            return redis.RedisCluster.from_url(bare, **options)
        clustered = True  # only asked again after MOVED
        return redis.Redis.from_url(
            bare, retry=Retry(NoBackoff(), 1), retry_on_error=[RedisConnectionError], **options
        )

    return make


class RedisIndex:
    """The `Index` port."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._client: Client | None = None
        self._sha = ""

    def step(self, installation: str, moves: Moves, lanes: Sequence[Lane] = (), hold_ms: int = 0) -> Step:
        """See the port."""
        places = _Places(installation, moves, lanes)
        ask = _ask(places, moves, lanes, hold_ms)
        added, claims = self._call(places.keys, ask)
        return Step([claim for row in claims for claim in _claims(places, row)], int(added))

    def missing(self, installation: str, jobs: Sequence[Due]) -> int:
        """See the port."""
        moves = Moves(add=list(jobs))
        places = _Places(installation, moves, ())
        return int(self._call(places.keys, _ask(places, moves, (), 0, dry=True))[0])

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _call(self, keys: Sequence[str], ask: str) -> Any:
        try:
            try:
                return self._eval(keys, ask)
            except MovedError:
                self.close()
                return self._eval(keys, ask)
        except (RedisError, RedisConnectionError, RedisTimeoutError, OSError) as e:
            raise IndexUnavailableError(f"The index does not answer: {type(e).__name__}.") from e

    def _eval(self, keys: Sequence[str], ask: str) -> Any:
        if self._client is None:
            self._client = self._make()
        try:
            if self._sha:
                return self._client.evalsha(self._sha, len(keys), *keys, ask)
        except NoScriptError:
            pass  # a new or restarted server: tell it the script, below
        answer = self._client.eval(STEP, len(keys), *keys, ask)
        self._sha = _sha1(STEP)
        return answer


def _ask(places: "_Places", moves: Moves, lanes: Sequence[Lane], hold_ms: int, *, dry: bool = False) -> str:
    """Return the script's argument; `step.lua` says what its fields mean."""
    return json.dumps(
        {
            "hold": hold_ms,
            "room": [max(0, lane.room) for lane in lanes],
            "lane": places.lanes,
            "remove": [[places.of(c), c.id] for c in moves.remove],
            "wait": [[places.of(c), c.id, c.hold, ms] for c, ms in moves.wait],
            "back": [[places.of(c), c.id, c.hold, c.score] for c in moves.back],
            "add": [[places.of(d), d.id, d.wait_ms] for d in moves.add],
            "dry": dry,
        },
        separators=(",", ":"),
    )


class _Places:
    """Which keys a step declares, in the order to claim from, and which lane may claim from each."""

    def __init__(self, installation: str, moves: Moves, lanes: Sequence[Lane]) -> None:
        self.at: dict[tuple[str, int], int] = {}
        self.lanes: list[int] = []
        self.keys: list[str] = []
        self._installation = installation
        for priority in range(MAX_PRIORITY, -1, -1):
            for number, lane in enumerate(lanes, 1):
                for type_ in lane.types:
                    self._add(type_, priority, number)
        touched: Iterable[Claimed | Due] = (*moves.remove, *(c for c, _ in moves.wait), *moves.back, *moves.add)
        for entry in touched:
            if (entry.type, entry.priority) not in self.at:
                self._add(entry.type, entry.priority, 0)

    def _add(self, type_: str, priority: int, lane: int) -> None:
        self.keys.append(key_of(self._installation, type_, priority))
        self.lanes.append(lane)
        self.at[type_, priority] = len(self.keys)

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
