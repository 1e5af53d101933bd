"""One HTTP/1.1 connection: h11 decides what may be said, asyncio carries it."""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import SupportsIndex

import h11

from sweephand.handlers.http_call.addresses import Address

CHUNK = 64 * 1024
MAX_HEAD = 32 * 1024
"""Bytes of an answer's status line and headers."""
MAX_INTERIM = 10
"""Answers of 1xx that may precede the real one."""


class ConnectionLostError(Exception):
    """The connection broke, or the server said what is not HTTP; `unanswered`: before it said anything at all."""

    def __init__(self, reason: str, *, unanswered: bool) -> None:
        super().__init__(reason)
        self.unanswered = unanswered


class _Broken(Exception):  # noqa: N818 - never leaves this file
    """The server ended or said what no answer is."""


@dataclass(frozen=True, slots=True)
class Read:
    """An answer as it was read: of its body at most as much as was asked for."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    truncated: bool


class _Reader(asyncio.StreamReader):
    """Notes what a server says that nobody asked, such as a 408 before it closes an idle connection."""

    idle = False
    unasked = False

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Take what has arrived."""
        self.unasked |= self.idle
        super().feed_data(data)


class Connection:
    """An open connection to `address`, for one exchange after another."""

    def __init__(self, address: Address, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self.address = address
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self.idle_since = 0.0
        """When its last exchange ended, on the event loop's clock."""

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow."""
        idle = self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE
        silent = not self._reader.unasked and self._http.trailing_data == (b"", False)
        return idle and silent and not self._writer.is_closing() and not self._reader.at_eof()

    def abort(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()

    async def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes, limit: int) -> Read:
        """Send a request and read the answer, of its body `limit` bytes; raises `ConnectionLostError`.

        Where more follows, or the server wants no further request, the connection is not `reusable` afterwards.
        """
        heard = self._reader.idle = False
        try:
            await self._send(method, path, headers, body)
            head = await self._head()
            heard = True
            read = await self._body(head, limit)
        except (h11.RemoteProtocolError, OSError, _Broken) as e:
            raise ConnectionLostError(_reason(e), unanswered=not heard and not self._begun()) from e
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._reader.idle = True
        return read

    def _begun(self) -> bool:
        """Tell whether the server has said anything in this exchange."""
        return bool(self._http.trailing_data[0])

    async def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        request = h11.Request(
            method=method, target=path, headers=[(name, value) for name, value in headers.items()]
        )
        data = [self._http.send(request)]
        if body:
            data.append(self._http.send(h11.Data(data=body)))
        data.append(self._http.send(h11.EndOfMessage()))
        try:
            self._writer.write(b"".join(part for part in data if part))
            await self._writer.drain()
        except ConnectionError:
            if not self._reader.at_eof():  # it may have answered before it closed
                return
            raise

    async def _head(self) -> h11.Response:
        for _ in range(MAX_INTERIM + 1):
            event = await self._event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise _Broken("the server closed the connection without an answer")
        raise _Broken(f"the server sent more than {MAX_INTERIM} interim answers")

    async def _body(self, head: h11.Response, limit: int) -> Read:
        body = bytearray()
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers)
        while True:
            event = await self._event()
            if isinstance(event, h11.EndOfMessage):
                return Read(head.status_code, headers, bytes(body), truncated=False)
            if not isinstance(event, h11.Data):
                raise _Broken("the server closed the connection within its answer")
            body += event.data
            if len(body) > limit:
                return Read(head.status_code, headers, bytes(body[:limit]), truncated=True)

    async def _event(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(CHUNK))
            elif isinstance(event, h11.Event):
                return event
            else:  # h11.PAUSED: what follows is another protocol, which nobody asked for
                raise _Broken("the server switched to another protocol")


async def connect(address: Address, port: int, name: str, tls: ssl.SSLContext | None) -> Connection:
    """Connect to `address` itself; raises `OSError`.

    With `tls`, the server's certificate must be one for `name`, which it is also told (SNI). No name is looked up.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
    loop = asyncio.get_running_loop()
    raw = socket.socket(family, socket.SOCK_STREAM)
    try:
        raw.settimeout(0)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(raw, (str(address), port))
    except BaseException:
        raw.close()
        raise
    reader = _Reader(limit=CHUNK, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(
        lambda: protocol, sock=raw, ssl=tls, server_hostname=name if tls else None
    )
    return Connection(address, reader, asyncio.StreamWriter(transport, protocol, reader, loop))


def reason_of(error: Exception) -> str:
    """Return the system's words for an error; asyncio's own hold addresses as Python writes them."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else type(error).__name__


def _reason(error: Exception) -> str:
    if isinstance(error, h11.RemoteProtocolError):
        return f"the answer is not HTTP/1.1: {error}"
    if isinstance(error, _Broken):
        return str(error)
    return f"the connection broke: {reason_of(error)}"
