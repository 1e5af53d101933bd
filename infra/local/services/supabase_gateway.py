"""The Supabase gateway: passes `/rest/v1/*` on to PostgREST, and turns API keys into the tokens that it knows.

Run as a module, this file is the gateway's process, with its settings as JSON in SUPABASE_GATEWAY. Each client's
connection has a connection to PostgREST of its own, and bodies are streamed both ways: all that a tick asks of the
record passes here.
"""

import asyncio
import json
import os
import signal

import h11

from .supabase_keys import Keys, Unauthorized

PREFIX = b"/rest/v1"
CHUNK = 256 * 1024
"""Bytes that one read takes at most."""
MAX_UNWANTED = 4 * 1024 * 1024
"""Bytes of a refused request that are read before its connection is closed."""


class Refusal(Exception):  # noqa: N818 - an answer, no failure
    """An answer that the gateway gives itself, in place of PostgREST."""

    def __init__(self, status: int, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = json.dumps({"message": message, "hint": hint}).encode()


class HttpConnection:
    """A connection of the gateway, to a client or to PostgREST, with h11's state of it."""

    def __init__(
        self, role: type[h11.SERVER | h11.CLIENT], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=64 * 1024)
        self.reader = reader
        self.writer = writer

    async def receive(self) -> h11.Event | type[h11.PAUSED]:
        """Return the next event. Raises h11.RemoteProtocolError for bytes that are no HTTP or end too early."""
        while True:
            event = self.http.next_event()
            if not isinstance(event, type) or event is h11.PAUSED:
                return event
            if self.http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.http.receive_data(await self.reader.read(CHUNK))

    async def send(self, event: h11.Event) -> None:
        """Write one event; wait while the other side is slow."""
        if data := self.http.send(event):
            self.writer.write(data)
            await self.writer.drain()

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another request."""
        done = self.http.our_state is h11.DONE and self.http.their_state is h11.DONE
        return done and not self.reader.at_eof() and not self.writer.is_closing()


class Gateway:
    """The gateway of one Supabase project."""

    def __init__(self, keys: Keys, postgrest_port: int) -> None:
        self.keys = keys
        self.postgrest_port = postgrest_port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one client, one after another, until it closes the connection."""
        client = HttpConnection(h11.SERVER, reader, writer)
        upstream: HttpConnection | None = None
        try:
            while isinstance(request := await client.receive(), h11.Request):
                upstream = await self._exchange(client, request, upstream)
                if not client.reusable:
                    break
                client.http.start_next_cycle()
        except (h11.ProtocolError, OSError):
            pass  # the client is gone or speaks no HTTP: there is nobody to answer
        finally:
            _close(client)
            _close(upstream)

    async def _exchange(
        self, client: HttpConnection, request: h11.Request, upstream: HttpConnection | None
    ) -> HttpConnection | None:
        """Pass a request on and its answer back. Return the connection to PostgREST, None where it is closed."""
        try:
            onward = self._translate(request)
            upstream = await self._connect(upstream)
            await upstream.send(onward)
            await _pass_body(client, upstream)
            await _pass_answer(upstream, client)
        except Refusal as refusal:
            await _answer(client, refusal)
        except (h11.RemoteProtocolError, OSError):
            if client.http.our_state is not h11.SEND_RESPONSE:
                raise  # the answer has begun: all that we can do is cut it short
            await _answer(client, Refusal(502, "An invalid response was received from the upstream server"))
        if upstream and not upstream.reusable:
            _close(upstream)
            return None
        return upstream

    def _translate(self, request: h11.Request) -> h11.Request:
        path, mark, query = request.target.partition(b"?")
        if path != PREFIX and not path.startswith(PREFIX + b"/"):
            raise Refusal(404, "no Route matched with those values")
        try:
            headers = self.keys.authorize(list(request.headers))
        except Unauthorized as error:
            raise Refusal(401, str(error), error.hint) from None
        target = (path[len(PREFIX) :] or b"/") + mark + query
        return h11.Request(method=request.method, target=target, headers=headers)

    async def _connect(self, last: HttpConnection | None) -> HttpConnection:
        if last and last.reusable:
            last.http.start_next_cycle()
            return last
        _close(last)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.postgrest_port)
        except OSError:
            raise Refusal(503, "PostgREST is not running") from None
        return HttpConnection(h11.CLIENT, reader, writer)


async def _pass_body(source: HttpConnection, target: HttpConnection) -> None:
    while isinstance(event := await source.receive(), h11.Data):
        await target.send(h11.Data(data=event.data))
    if isinstance(event, h11.EndOfMessage):
        await target.send(event)


async def _pass_answer(upstream: HttpConnection, client: HttpConnection) -> None:
    while isinstance(event := await upstream.receive(), h11.InformationalResponse):
        pass  # our own 100 is already sent
    if not isinstance(event, h11.Response):
        raise h11.RemoteProtocolError("the connection was closed before an answer")
    await client.send(event)
    await _pass_body(upstream, client)


async def _answer(client: HttpConnection, refusal: Refusal) -> None:
    # The rest of the request is read first, up to a limit: closing on unread bytes would reset the connection, and
    # the client would lose the answer.
    left = MAX_UNWANTED
    while client.http.their_state is h11.SEND_BODY and left > 0:
        event = await client.receive()
        left -= len(event.data) if isinstance(event, h11.Data) else 0
    headers = [("content-type", "application/json"), ("content-length", str(len(refusal.body)))]
    if left <= 0:
        headers.append(("connection", "close"))
    await client.send(h11.Response(status_code=refusal.status, headers=headers))
    await client.send(h11.Data(data=refusal.body))
    await client.send(h11.EndOfMessage())


def _close(peer: HttpConnection | None) -> None:
    if peer:
        peer.writer.close()


async def _main() -> None:
    settings = json.loads(os.environ["SUPABASE_GATEWAY"])
    port, postgrest_port = settings.pop("port"), settings.pop("postgrest_port")
    gateway = Gateway(Keys.of(**settings), postgrest_port)
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", port, limit=CHUNK, backlog=1024)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(_main())
