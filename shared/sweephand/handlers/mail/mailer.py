"""Mail by `MAIL_URL`: through SES, through an SMTP server, or into a folder."""

import copy
import os
import re
import tempfile
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, getaddresses
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

from sweephand.domain.handler import GiveUp
from sweephand.domain.services import Mailer
from sweephand.handlers.mail.address import check_address

WIRE = SMTP.clone(cte_type="7bit")
"""How a message is written out: CRLF, and nothing that needs a server's 8BITMIME or SMTPUTF8."""


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """A finished message and its envelope: bare addresses, blind copies included."""

    body: bytes
    sender: str
    recipients: tuple[str, ...]
    message_id: str
    attempt: int


class Transport(Protocol):
    """Hands a letter over."""

    def deliver(self, letter: OutgoingMail, /) -> str:
        """Deliver `letter` to every recipient or to none; returns and raises as `Mailer.send` does."""
        ...


def open_mailer(url: str | None, sender: str | None) -> Mailer:
    """Return the mailer that `url` asks for; `sender` fills the From of messages that have none.

    - `ses://region`: credentials and `AWS_ENDPOINT_URL` are boto3's to find.
    - `smtp://user:password@host:port?starttls=require|auto|never`: STARTTLS is required when there is a
      password and used when offered otherwise; a password goes out in clear only with
      `cleartext_password=allow`. `cafile=/path.pem` names the authority to trust instead of the system's.
    - `smtps://…`: the same, in TLS from the first byte (`starttls` does not apply).
    - `file:///folder`: one `.eml` file a message, as the receiver would see it.
    - nothing: a mailer that gives up every message and says why.

    `sender` is an address, with or without a display name. Opens no connection.
    Raises `ValueError` for a URL or sender that cannot work; its text holds no password.
    """
    if sender is not None:
        try:
            _only_address(sender)
        except ValueError as problem:
            raise ValueError(f"MAIL_FROM: {problem}") from None
    return ComposingMailer(_transport(_split(url)) if url else NoMail(), sender)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        # Its own text would quote the part that holds the password.
        raise ValueError("MAIL_URL is no URL") from None


def _transport(url: SplitResult) -> Transport:
    # Each transport loads what it needs when it is chosen.
    if url.scheme == "ses":
        from sweephand.handlers.mail.ses import Ses  # noqa: PLC0415

        return Ses.from_url(url)
    if url.scheme in ("smtp", "smtps"):
        from sweephand.handlers.mail.smtp import Smtp  # noqa: PLC0415

        return Smtp.from_url(url)
    if url.scheme == "file":
        return Outbox.from_url(url)
    raise ValueError("MAIL_URL must start with ses://, smtp://, smtps:// or file:///")


@dataclass(frozen=True, slots=True)
class ComposingMailer:
    """The `Mailer` port: completes a message, takes its envelope from its headers, and delivers it."""

    transport: Transport
    sender: str | None

    def send(self, message: EmailMessage) -> str:
        """Send to everyone in To, Cc and Bcc; Bcc itself does not travel. `message` stays as it is."""
        outgoing = copy.deepcopy(message)
        for name, value in (
            ("From", self.sender),
            ("Date", formatdate()),
            ("Message-ID", f"<{uuid4()}@sweephand.invalid>"),
        ):
            if name not in outgoing and value:
                outgoing[name] = value
        return self.transport.deliver(_letter(outgoing))


@dataclass(frozen=True, slots=True)
class NoMail:
    """The transport of an installation that has none."""

    def deliver(self, _letter: OutgoingMail, /) -> str:
        """Give up the letter."""
        raise GiveUp("mail is not set up: MAIL_URL names no mail system")


@dataclass(frozen=True, slots=True)
class Outbox:
    """A folder that gets one `.eml` file a message, named by its Message-ID and attempt."""

    folder: Path

    @classmethod
    def from_url(cls, url: SplitResult) -> "Outbox":
        """Read `file:///folder`."""
        if url.netloc or url.query or url.fragment or url.path in ("", "/"):
            raise ValueError("MAIL_URL for a folder is file:///folder")
        return cls(Path(url.path))

    def deliver(self, letter: OutgoingMail, /) -> str:
        """Write `letter` under its final name in one step; the same attempt again replaces its file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(letter.body)
            Path(temporary).replace(self.folder / _file_name(letter))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return letter.message_id


def _file_name(letter: OutgoingMail) -> str:
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", letter.message_id.strip("<>").partition("@")[0])[:100]
    return f"{stem or 'message'}-{letter.attempt:04}.eml"


def _letter(message: EmailMessage) -> OutgoingMail:
    """Take the envelope from the headers, and Bcc off them."""
    if "From" not in message:
        raise GiveUp("the message has no sender: MAIL_FROM is not set")
    fields = [str(value) for name in ("To", "Cc", "Bcc") for value in message.get_all(name, [])]
    try:
        sender = _only_address(str(message["From"]))
        # One copy each, in the order written, however often an address is named.
        recipients = tuple(dict.fromkeys(check_address(address) for _, address in getaddresses(fields)))
    except ValueError as problem:
        raise GiveUp(f"the message cannot be addressed: {problem}") from None
    if not recipients:
        raise GiveUp("the message has no recipient")
    del message["Bcc"]
    attempt = str(message.get("X-Sweephand-Attempt", "1"))
    return OutgoingMail(
        body=message.as_bytes(policy=WIRE),
        sender=sender,
        recipients=recipients,
        message_id=str(message["Message-ID"]),
        attempt=int(attempt) if attempt.isdecimal() else 1,
    )


def _only_address(sender: str) -> str:
    probe = EmailMessage()
    probe["From"] = sender
    addresses = probe["From"].addresses
    if len(addresses) != 1:
        raise ValueError("the sender is one address, as name@example.com or Name <name@example.com>")
    return check_address(addresses[0].addr_spec)
