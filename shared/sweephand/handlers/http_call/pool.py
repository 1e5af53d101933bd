"""Connections that are kept for the next call of the same place."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

from sweephand.handlers.http_call.addresses import Address
from sweephand.handlers.http_call.connection import Connection
from sweephand.handlers.http_call.target import Target

KEPT = 4.0
"""Seconds that an unused connection is kept: Node's servers close theirs after 5."""
MAX_KEPT = 200
"""Connections kept in all."""

_Key: TypeAlias = tuple[str, str, int, Address]
"""Scheme, host, port, address: a connection serves a call only where this call's lookup names its address."""


class Pool:
    """Kept connections of one event loop, the last used first."""

    def __init__(self) -> None:
        self._kept: dict[_Key, deque[Connection]] = {}
        self._count = 0
        self._sweep: asyncio.TimerHandle | None = None

    def take(self, target: Target, addresses: Iterable[Address]) -> Connection | None:
        """Return a kept connection to one of `addresses`, all of them judged, that is still open, or None."""
        return next(filter(None, (self._take(_key(target, address)) for address in addresses)), None)

    def _take(self, key: _Key) -> Connection | None:
        kept = self._kept.get(key)
        while kept:
            connection = kept.pop()
            self._count -= 1
            if not kept:
                del self._kept[key]
            if connection.reusable and connection.idle_since > asyncio.get_running_loop().time() - KEPT:
                return connection
            connection.abort()
        return None

    def give(self, target: Target, connection: Connection) -> None:
        """Keep `connection`, or close it where it is spent or enough are kept."""
        if not connection.reusable or self._count >= MAX_KEPT:
            connection.abort()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._kept.setdefault(_key(target, connection.address), deque()).append(connection)
        self._count += 1
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(KEPT, self._close_old)

    def close(self) -> None:
        """Close all that is kept."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for kept in self._kept.values():
            for connection in kept:
                connection.abort()
        self._kept.clear()
        self._count = 0

    def _close_old(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        for key, kept in list(self._kept.items()):
            while kept and kept[0].idle_since <= loop.time() - KEPT:
                kept.popleft().abort()
                self._count -= 1
            if not kept:
                del self._kept[key]
        if self._kept:
            self._sweep = loop.call_later(KEPT / 2, self._close_old)


def _key(target: Target, address: Address) -> _Key:
    return target.scheme, target.host, target.port, address
