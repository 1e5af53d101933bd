"""What a handler may use of the world, as protocols: its context carries them, so they belong to the domain."""

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
