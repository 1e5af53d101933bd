"""Mail: what `email_notification` sends through."""

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
