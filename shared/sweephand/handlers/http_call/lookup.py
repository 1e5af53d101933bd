"""From a name to addresses, once for each call, off the event loop."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import TypeAlias

from sweephand.handlers.http_call.addresses import Address

Resolver: TypeAlias = Callable[[str], Sequence[str]]
"""From a host's name to its addresses as text; blocks, and raises `OSError` for a name that has none."""


def system_addresses(name: str) -> list[str]:
    """Return the addresses of `name`, in the order in which the system would try them (RFC 6724)."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Lookups:
    """Looks names up in threads; calls that want the same name at the same time share one answer.

    A thread of its own for each, which ends with the process: a resolver that hangs holds up neither the pool in
    which the tick talks to the record, nor the process's end.
    """

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._under_way: dict[str, asyncio.Future[list[Address]]] = {}

    async def addresses(self, name: str) -> list[Address]:
        """Return the addresses of `name`; raises `OSError`."""
        answer = self._under_way.get(name)
        if answer is None:
            answer = self._under_way[name] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(lambda answer: self._ended(name, answer))
            threading.Thread(target=self._look_up, args=(name, answer), daemon=True).start()
        return await asyncio.shield(answer)  # another call may be waiting for it

    def _ended(self, name: str, answer: "asyncio.Future[list[Address]]") -> None:
        del self._under_way[name]
        if not answer.cancelled():
            answer.exception()  # all who waited may have gone

    def _look_up(self, name: str, answer: "asyncio.Future[list[Address]]") -> None:
        found: list[Address] = []
        error: Exception | None = None
        try:
            found = [ip_address(text) for text in self._resolve(name)]
        except (OSError, ValueError) as e:  # ValueError: a scope behind an address, or a name that IDNA refuses
            error = OSError(f"{name} cannot be looked up: {getattr(e, 'strerror', None) or e}")
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            answer.get_loop().call_soon_threadsafe(_set, answer, found, error)


def _set(answer: "asyncio.Future[list[Address]]", found: list[Address], error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(found)
