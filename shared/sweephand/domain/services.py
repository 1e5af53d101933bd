"""What a handler may use of the world, as protocols: its context carries them, so they belong to the domain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Protocol


class Mailer(Protocol):
    """Hands one message to a mail system."""

    def send(self, message: EmailMessage) -> str:
        """Send `message` and return the id that the mail system knows it by.

        Raises `GiveUp` when the mail system refuses the message for good (a 5xx reply, a bad address);
        any other failure is worth a retry and raises as it is.
        """
        ...


class ObjectStore(Protocol):
    """Reads and writes whole objects, only under the prefixes that the operator allowed."""

    def read(self, url: str, *, limit: int) -> bytes:
        """Return the object at `url` (`s3://`, `gs://` or `file://`).

        Raises `GiveUp` when the URL is not allowed, the object does not exist,
        or it is larger than `limit` bytes; any other failure is worth a retry and raises as it is.
        """
        ...

    def write(self, url: str, body: bytes, *, content_type: str) -> None:
        """Put `body` at `url`, whole or not at all; an existing object is replaced.

        Raises `GiveUp` when the URL is not allowed.
        """
        ...


class NoAnswerError(Exception):
    """A call brought no whole answer: no address, no connection, an answer that broke off, or too late."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One request to any URL."""

    url: str
    message_id: str
    """The `webhook-id`: the same for every attempt to deliver the same message."""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout: float = 30.0
    """Seconds for all of it: lookup, connecting, TLS, sending, waiting, reading, and redirects."""
    max_redirects: int = 0
    limit: int = 32 * 1024
    """Bytes of the answer's body that are read."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server said, be it good or bad."""

    status: int
    headers: Mapping[str, str]
    """Names are in lower case; values of one name are joined by a comma."""
    body: bytes
    truncated: bool
    """Whether the body goes on after these bytes."""
    url: str
    """What was called in the end."""
    redirect: str | None
    """Where a 3xx leads that was not followed."""


class HttpCaller(Protocol):
    """Calls URLs, only where the operator lets it."""

    async def call(self, call: HttpCall) -> HttpAnswer:
        """Make the call, signed, and return the answer, whatever its status.

        Raises `GiveUp` when the URL, or an address that it leads to, is refused; `NoAnswerError` when there was no
        whole answer in time; `Postpone` when nothing was sent because the host is full or keeps failing.
        """
        ...
