"""A TCP proxy on loopback that misbehaves on request, as the network between a function and a service does."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Awaitable, Callable, Coroutine
from math import inf
from typing import Any, Self

from tests.open_connections import abort_connections

CHUNK = 64 * 1024
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Proxy:
    """Passes connections on to `upstream`, a port that may be changed; a context manager.

    `refuse`, `stall`, `swallow` and `answer` begin a fault, `heal` ends it.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self.swallowed = 0
        """Answers that were thrown away."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: set[asyncio.StreamWriter] = set()
        self._refusing = False
        self._flowing = asyncio.Event()
        self._swallow: re.Pattern[bytes] | None = None
        self._times = inf
        self._answer: Serve | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._flowing.set()
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def refuse(self) -> None:
        """Close every connection, and new ones at once."""
        self._refusing = True
        self.cut()

    def stall(self) -> None:
        """Take everything and pass nothing on, in either direction."""
        self._do(self._set_flowing(on=False))

    def swallow(self, pattern: bytes, times: float = inf) -> None:
        """Pass on what is asked, and cut the connection in place of the answer to what matches `pattern`."""
        self._swallow, self._times = re.compile(pattern), times

    def answer(self, serve: Serve) -> None:
        """Have `serve` answer in place of the service."""
        self._answer = serve
        self.cut()

    def cut(self) -> None:
        """Close every connection; new ones are passed on."""
        self._do(self._cut())

    def switch(self, upstream: int) -> None:
        """Pass new connections on to another service, as a name that now points elsewhere; old ones stay."""
        self.upstream = upstream

    def heal(self) -> None:
        """End every fault."""
        self._refusing, self._swallow = False, None
        if self._answer is not None:
            self._answer = None
            self.cut()
        self._do(self._set_flowing(on=True))

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=CHUNK, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._refusing = True
        self._flowing.set()
        self._server.close()
        await asyncio.sleep(0)  # what has just connected begins
        while self._tasks:
            await self._cut()
            await asyncio.wait(self._tasks, timeout=0.1)  # one that was connecting upstream is cut the next time
        await abort_connections()

    async def _set_flowing(self, *, on: bool) -> None:
        if on:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self._refusing:
                pass
            elif self._answer is not None:
                await self._answer(reader, writer)
            else:
                await self._pass_on(reader, writer)
        self._open.discard(writer)
        self._tasks.discard(task)
        writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream, limit=CHUNK)
        self._open.add(up_writer)
        line = _Line()
        pumps = [
            asyncio.ensure_future(self._asked(reader, up_writer, line)),
            asyncio.ensure_future(self._answered(up_reader, writer, line)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self._open.discard(up_writer)
        up_writer.transport.abort()

    async def _asked(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, line: "_Line") -> None:
        while data := await source.read(CHUNK):
            await self._flowing.wait()
            if self._swallow is not None and self._times > 0 and self._swallow.search(data):
                self._times -= 1
                line.doomed = True
            target.write(data)
            await target.drain()

    async def _answered(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, line: "_Line") -> None:
        while data := await source.read(CHUNK):
            await self._flowing.wait()
            if line.doomed:
                self.swallowed += 1
                return
            target.write(data)
            await target.drain()


class _Line:
    """One connection: whether its next answer is to be thrown away."""

    doomed = False


def http_error(status: int, body: bytes, kind: str = "application/json") -> Serve:
    """Return what answers every HTTP request with this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(
                f"HTTP/1.1 {status} Error\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await writer.drain()

    return serve


def redis_error(said: bytes) -> Serve:
    """Return what answers every Redis command with this error, once the client has logged in."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (head := await reader.readline()).startswith(b"*"):
            words = []
            for _ in range(int(head[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            writer.write(
                b"+OK\r\n" if words[0].upper() in (b"AUTH", b"CLIENT", b"SELECT") else b"-" + said + b"\r\n"
            )
            await writer.drain()

    return serve
