"""A message that is ready to go out, and the protocol of whatever delivers it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """A finished message and its envelope. The addresses are bare, and `recipients` includes Bcc's."""

    body: bytes
    sender: str
    recipients: tuple[str, ...]
    message_id: str
    attempt: int


class Transport(Protocol):
    """Delivers messages."""

    def deliver(self, mail: OutgoingMail, /) -> str:
        """Deliver `mail` to every recipient or to none; return and raise as `Mailer.send` does."""
        ...
