"""A real SMTP server for the tests, which gives the replies that a test chooses."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

USER, PASSWORD = "user@example.com", "p@ss/w:rd?#%"


@dataclass
class Received:
    """One message that the server accepted."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    in_tls: bool


@dataclass
class Mailbox:
    """What arrived, and the replies to give to MAIL, to each recipient and to DATA."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    logins: list[tuple[str, str, bool]] = field(default_factory=list)
    sender_reply: str | None = None
    recipient_replies: dict[str, str] = field(default_factory=dict)
    data_reply: str | None = None

    async def handle_MAIL(  # noqa: N802 - aiosmtpd looks for this name
        self, _server: Any, _session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        """Accept the sender, or give the reply that the test chose."""
        if self.sender_reply:
            return self.sender_reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - likewise
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """Accept a recipient, or give the reply that the test chose."""
        if address in self.recipient_replies:
            return self.recipient_replies[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - likewise
        self, _server: Any, session: Any, envelope: Any
    ) -> str:
        """Keep the message, or give the reply that the test chose."""
        if self.data_reply:
            return self.data_reply
        message = message_from_bytes(envelope.content.replace(b"\r\n", b"\n"), policy=default)
        assert isinstance(message, EmailMessage)
        self.received.append(Received(envelope.mail_from, envelope.rcpt_tos, message, session.ssl is not None))
        return "250 queued"

    def authenticate(self, _server: Any, session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        """Accept one login."""
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode(), session.ssl is not None))
        good = (data.login.decode(), data.password.decode()) == (USER, PASSWORD)
        # A refusal that is not "handled" is one that the server still has to answer.
        return AuthResult(success=good, handled=good)


class AnyPort(Controller):
    """A controller on a port that the system chose."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]  # aiosmtpd types this one not


@contextmanager
def serve(
    *, starttls: ssl.SSLContext | None = None, implicit: ssl.SSLContext | None = None, login: bool = False
) -> Iterator[Mailbox]:
    """Run a server on a free port of 127.0.0.1, and end its thread."""
    mailbox = Mailbox()
    controller = AnyPort(
        mailbox,
        hostname="127.0.0.1",
        port=0,
        tls_context=starttls,
        ssl_context=implicit,
        authenticator=mailbox.authenticate if login else None,
        # Whether a password may travel in clear is for the client to decide, and for these tests to see.
        auth_require_tls=False,
    )
    controller.start()
    mailbox.port = controller.port
    try:
        yield mailbox
    finally:
        controller.stop()
