"""What a handler's `ctx.http` is: it loads h11, ssl and asyncio's streams when the first call is made."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sweephand.domain.errors import ConfigError
from sweephand.domain.services import HttpAnswer, HttpCall
from sweephand.handlers.http_call.allow import Allowed
from sweephand.handlers.http_call.signing import SigningKeys

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from ssl import SSLContext

    from sweephand.handlers.http_call.client import Client, Rules
    from sweephand.handlers.http_call.hosts import Failing


@dataclass(eq=False)
class HttpService:
    """The `HttpCaller` of a process: one client for each event loop, as connections belong to their loop."""

    allowed: Allowed = field(default_factory=Allowed)
    keys: SigningKeys = field(default_factory=SigningKeys)
    ca_file: str = ""
    resolve: Callable[[str], Sequence[str]] | None = None
    """From a name to its addresses; None: as the system does."""
    _clients: "dict[AbstractEventLoop, Client]" = field(default_factory=dict, init=False)
    _failing: "dict[str, Failing]" = field(default_factory=dict, init=False)
    _tls: "SSLContext | None" = field(default=None, init=False)

    async def call(self, call: HttpCall) -> HttpAnswer:
        """See `HttpCaller`."""
        return await self._client().call(call)

    def close(self, loop: "AbstractEventLoop") -> None:
        """Close the connections that belong to `loop`, which is not running; to be called before it is closed."""
        if client := self._clients.pop(loop, None):
            client.close()
            loop.call_soon(loop.stop)  # a turn of the loop, in which transports close their sockets
            loop.run_forever()

    def tls(self) -> "SSLContext":
        """Return what checks certificates: the system's authorities, and those of `ca_file`.

        Raises `ConfigError` for a file that holds none.
        """
        if self._tls is None:
            import ssl  # noqa: PLC0415 - a tick that calls nobody goes without

            made = ssl.create_default_context()
            try:
                if self.ca_file:
                    made.load_verify_locations(self.ca_file)
            except (OSError, ValueError) as e:
                raise ConfigError(f"HTTP_CA_FILE: {self.ca_file} holds no certificates in PEM form") from e
            self._tls = made
        return self._tls

    def _client(self) -> "Client":
        import asyncio  # noqa: PLC0415 - the API makes a service's settings and calls nobody

        from sweephand.handlers.http_call.client import Client  # noqa: PLC0415 - likewise, and loads h11

        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            for old in [each for each in self._clients if each.is_closed()]:
                del self._clients[old]  # a handler's own: nobody told that it would be closed
            client = self._clients[loop] = Client(self._rules(), self._failing)
        return client

    def _rules(self) -> "Rules":
        from sweephand.handlers.http_call.client import Rules  # noqa: PLC0415 - likewise
        from sweephand.handlers.http_call.lookup import system_addresses  # noqa: PLC0415 - likewise

        return Rules(self.allowed, self.keys, self.resolve or system_addresses, self.tls)


def open_http(allowed: Allowed, ca_file: str, keys: Iterable[str]) -> HttpService:
    """Return what calls URLs. Opens no connection.

    `ca_file`: certificates in PEM form to trust beside the system's, or empty. `keys`: see `SigningKeys.of`.
    Raises `ConfigError`, naming the setting.
    """
    try:
        signing = SigningKeys.of(keys)
    except ValueError as e:
        raise ConfigError(f"WEBHOOK_SIGNING_KEYS: {e}") from None
    if ca_file and not Path(ca_file).is_file():
        raise ConfigError(f"HTTP_CA_FILE: there is no file {ca_file}")
    return HttpService(allowed, signing, ca_file)
