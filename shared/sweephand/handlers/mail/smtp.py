"""Mail through an SMTP server."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, unquote

from sweephand.domain.handler import GiveUp
from sweephand.handlers.mail.outgoing import OutgoingMail

TIMEOUT = 8
"""How long the server may take to answer one command, in seconds."""
_OPTIONS = frozenset({"starttls", "cleartext_password", "cafile"})
_PERMANENT = 500


class Tls(StrEnum):
    """How a connection is protected."""

    IMPLICIT = "implicit"
    """TLS from the first byte (`smtps://`)."""
    REQUIRE = "require"
    """STARTTLS; without it nothing is sent."""
    AUTO = "auto"
    """STARTTLS if the server offers it, else clear text."""
    NEVER = "never"
    """Clear text."""


@dataclass(frozen=True, slots=True)
class Smtp:
    """Delivers each message over a connection of its own, to all recipients or to none."""

    host: str
    port: int
    tls: Tls
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    cafile: str | None = None

    @classmethod
    def from_url(cls, url: SplitResult) -> "Smtp":
        """Read `smtp://` and `smtps://` URLs as `open_mailer` describes them. Raises `ValueError` for any other."""
        options = dict(parse_qsl(url.query, keep_blank_values=True))
        if not url.hostname or url.path.strip("/") or url.fragment or not options.keys() <= _OPTIONS:
            raise ValueError("MAIL_URL for SMTP is smtp://user:password@host:port?starttls=…&cafile=…")
        tls = _tls(url, options)
        return cls(
            host=url.hostname,
            port=_port(url) or (465 if tls is Tls.IMPLICIT else 587),
            tls=tls,
            user=unquote(url.username) if url.username else None,
            password=unquote(url.password) if url.password else None,
            cafile=options.get("cafile"),
        )

    def deliver(self, mail: OutgoingMail, /) -> str:
        """Run one SMTP transaction and return the Message-ID: SMTP has no common way to tell a server's own id."""
        with self._connected(helo=mail.sender.rpartition("@")[2]) as server:
            _accepted(server.mail(mail.sender), "the sender")
            for recipient in mail.recipients:
                # Stop at the first refusal, before the text is sent.
                # Otherwise the accepted recipients would get the message again at each attempt.
                _accepted(server.rcpt(recipient), "a recipient")
            try:
                _accepted(server.data(mail.body), "the message")
            except smtplib.SMTPDataError as error:
                raise _refusal(error.smtp_code, error.smtp_error, "the message") from None
        return mail.message_id

    @contextmanager
    def _connected(self, helo: str) -> Iterator[smtplib.SMTP]:
        context = ssl.create_default_context(cafile=self.cafile)
        # Without `local_hostname` smtplib would ask the DNS for a name, without a time limit.
        if self.tls is Tls.IMPLICIT:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, local_hostname=helo, timeout=TIMEOUT, context=context
            )
        else:
            server = smtplib.SMTP(self.host, self.port, local_hostname=helo, timeout=TIMEOUT)
        try:
            self._secure(server, context)
            if self.user is not None:
                server.login(self.user, self.password or "")
            yield server
        finally:
            _leave(server)

    def _secure(self, server: smtplib.SMTP, context: ssl.SSLContext) -> None:
        server.ehlo_or_helo_if_needed()
        if self.tls is Tls.REQUIRE or (self.tls is Tls.AUTO and server.has_extn("starttls")):
            # Raises SMTPNotSupportedError if the server does not offer STARTTLS.
            server.starttls(context=context)
            server.ehlo()


def _tls(url: SplitResult, options: dict[str, str]) -> Tls:
    starttls = options.get("starttls")
    if url.scheme == "smtps":
        if starttls is not None:
            raise ValueError("MAIL_URL: smtps:// is in TLS already, starttls does not apply")
        return Tls.IMPLICIT
    if starttls not in (None, Tls.REQUIRE, Tls.AUTO, Tls.NEVER):
        raise ValueError("MAIL_URL: starttls is require, auto or never")
    if url.username is None:
        return Tls(starttls or Tls.AUTO)
    if starttls in (None, Tls.REQUIRE):
        return Tls.REQUIRE
    if options.get("cleartext_password") != "allow":
        raise ValueError(
            f"MAIL_URL: starttls={starttls} could send the password in clear: add cleartext_password=allow"
        )
    return Tls(starttls)


def _port(url: SplitResult) -> int | None:
    try:
        return url.port
    except ValueError:
        # The original error's text quotes the text in the port's place, which may be the end of a password.
        raise ValueError("MAIL_URL: the port is no number from 0 to 65535 (escape / ? # @ in a password)") from None


def _accepted(reply: tuple[int, bytes], what: str) -> None:
    code, text = reply
    if code not in (250, 251):
        raise _refusal(code, text, what)


def _refusal(code: int, text: bytes | str, what: str) -> Exception:
    """Return the error to raise for a refusal: `GiveUp` for 5xx replies, which are final, else a retryable one."""
    decoded = text if isinstance(text, str) else text.decode("utf-8", "replace")
    reply = " ".join(decoded.split())[:200]
    if code >= _PERMANENT:
        return GiveUp(f"the mail server refused {what}: {code} {reply}")
    return smtplib.SMTPResponseException(code, reply)


def _leave(server: smtplib.SMTP) -> None:
    try:
        server.quit()
    except (smtplib.SMTPException, OSError):
        # The server has accepted or refused the message already.
        server.close()
