"""The mailer that `MAIL_URL` names: SES, an SMTP server, or a folder."""

import copy
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, getaddresses
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

from sweephand.domain.handler import GiveUp
from sweephand.domain.services import Mailer
from sweephand.handlers.mail.address import check_address
from sweephand.handlers.mail.outbox import Outbox
from sweephand.handlers.mail.outgoing import OutgoingMail, Transport

WIRE = SMTP.clone(cte_type="7bit")
"""How a message is written out: CRLF line ends, and nothing that needs a server's 8BITMIME or SMTPUTF8."""


def open_mailer(url: str | None, sender: str | None) -> Mailer:
    """Return the mailer that `url` names. `sender` becomes the From of each message that has none.

    - `ses://region`: boto3 finds the credentials and `AWS_ENDPOINT_URL` by itself.
    - `smtp://user:password@host:port?starttls=require|auto|never`: with a password STARTTLS is required;
      without one it is used if the server offers it. The password is never sent in clear text,
      unless the URL says `cleartext_password=allow`. `cafile=/path.pem` names a certificate authority
      to trust instead of the system's.
    - `smtps://…`: the same, in TLS from the first byte (`starttls` does not apply).
    - `file:///folder`: writes one `.eml` file for each message, as the receiver would see it.
    - None or empty: the mailer gives up every message and says why.

    `sender` is an address, with or without a display name. No connection is opened yet.
    Raises `ValueError` for a URL or a sender that cannot work; the error's text never holds the password.
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
        # The original error's text would quote the part that holds the password.
        raise ValueError("MAIL_URL is no URL") from None


def _transport(url: SplitResult) -> Transport:
    if url.scheme == "ses":
        from sweephand.handlers.mail.ses import Ses  # noqa: PLC0415 - only SES loads its module

        return Ses.from_url(url)
    if url.scheme in ("smtp", "smtps"):
        from sweephand.handlers.mail.smtp import Smtp  # noqa: PLC0415 - only SMTP loads smtplib and ssl

        return Smtp.from_url(url)
    if url.scheme == "file":
        return Outbox.from_url(url)
    raise ValueError("MAIL_URL must start with ses://, smtp://, smtps:// or file:///")


@dataclass(frozen=True, slots=True)
class ComposingMailer:
    """The `Mailer` of every installation: completes a message's headers, reads its envelope from them, delivers."""

    transport: Transport
    sender: str | None

    def send(self, message: EmailMessage) -> str:
        """Send to everyone in To, Cc and Bcc, without the Bcc header. `message` itself is not changed."""
        complete = copy.deepcopy(message)
        for name, value in (
            ("From", self.sender),
            ("Date", formatdate()),
            ("Message-ID", f"<{uuid4()}@sweephand.invalid>"),
        ):
            if name not in complete and value:
                complete[name] = value
        return self.transport.deliver(_outgoing(complete))


@dataclass(frozen=True, slots=True)
class NoMail:
    """The transport of an installation without a mail system."""

    def deliver(self, _mail: OutgoingMail, /) -> str:
        """Give the message up."""
        raise GiveUp("mail is not set up: MAIL_URL names no mail system")


def _outgoing(message: EmailMessage) -> OutgoingMail:
    """Read the envelope from the headers of `message`, and remove its Bcc.

    Raises `GiveUp` if the message has no sender, no recipient, or an address that is none.
    """
    if "From" not in message:
        raise GiveUp("the message has no sender: MAIL_FROM is not set")
    fields = [str(value) for name in ("To", "Cc", "Bcc") for value in message.get_all(name, [])]
    try:
        sender = _only_address(str(message["From"]))
        # An address that is named twice gets one copy. The order stays as written.
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
