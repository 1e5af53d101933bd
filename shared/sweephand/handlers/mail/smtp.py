"""Mail through an SMTP server."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, unquote

from sweephand.domain.handler import GiveUp
from sweephand.handlers.mail.mailer import OutgoingMail

TIMEOUT = 8
"""How long one step of the dialogue may take, in seconds."""
_OPTIONS = frozenset({"starttls", "cleartext_password", "cafile"})
_PERMANENT = 500


class Tls(StrEnum):
    """How a connection is protected."""

    IMPLICIT = "implicit"
    """TLS from the first byte (`smtps://`)."""
    REQUIRE = "require"
    """STARTTLS, and nothing is sent without it."""
    AUTO = "auto"
    """STARTTLS if the server offers it."""
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Smtp:
    """Hands messages over in one connection each, to all recipients or to none."""

    host: str
    port: int
    tls: Tls
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    cafile: str | None = None

    @classmethod
    def from_url(cls, url: SplitResult) -> "Smtp":
        """Read `smtp://` and `smtps://` URLs as `open_mailer` describes them."""
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

    def deliver(self, letter: OutgoingMail, /) -> str:
        """Run one SMTP transaction; returns the Message-ID, for servers name no id in a common form."""
        with self._connected(helo=letter.sender.rpartition("@")[2]) as server:
            _accepted(server.mail(letter.sender), "the sender")
            for recipient in letter.recipients:
                # The first refusal ends it, before any text is sent: else some would get it at each attempt.
                _accepted(server.rcpt(recipient), "a recipient")
            try:
                _accepted(server.data(letter.body), "the message")
            except smtplib.SMTPDataError as error:
                raise _refusal(error.smtp_code, error.smtp_error, "the message") from None
        return letter.message_id

    @contextmanager
    def _connected(self, helo: str) -> Iterator[smtplib.SMTP]:
        context = ssl.create_default_context(cafile=self.cafile)
        # The name is given because smtplib would ask the DNS for one, without a time limit.
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
        wanted = self.tls is Tls.REQUIRE or (self.tls is Tls.AUTO and server.has_extn("starttls"))
        if wanted:
            # Raises SMTPNotSupportedError where it is not offered.
            server.starttls(context=context)
            server.ehlo()


def _tls(url: SplitResult, options: dict[str, str]) -> Tls:
    asked = options.get("starttls")
    if url.scheme == "smtps":
        if asked is not None:
            raise ValueError("MAIL_URL: smtps:// is in TLS already, starttls does not apply")
        return Tls.IMPLICIT
    if asked not in (None, Tls.REQUIRE, Tls.AUTO, Tls.NEVER):
        raise ValueError("MAIL_URL: starttls is require, auto or never")
    if url.username is None:
        return Tls(asked or Tls.AUTO)
    if asked in (None, Tls.REQUIRE):
        return Tls.REQUIRE
    if options.get("cleartext_password") != "allow":
        raise ValueError(f"MAIL_URL: starttls={asked} could send the password in clear: cleartext_password=allow")
    return Tls(asked)


def _port(url: SplitResult) -> int | None:
    try:
        return url.port
    except ValueError:
        # Not as it came: what stands where the port should be may be the end of a password.
        raise ValueError("MAIL_URL: the port is no number from 0 to 65535 (escape / ? # @ in a password)") from None


def _accepted(reply: tuple[int, bytes], what: str) -> None:
    code, text = reply
    if code not in (250, 251):
        raise _refusal(code, text, what)


def _refusal(code: int, text: bytes | str, what: str) -> Exception:
    """Return what a refusal calls for: 5xx is final, anything else is worth a retry."""
    plain = text if isinstance(text, str) else text.decode("utf-8", "replace")
    said = " ".join(plain.split())[:200]
    if code >= _PERMANENT:
        return GiveUp(f"the mail server refused {what}: {code} {said}")
    return smtplib.SMTPResponseException(code, said)


def _leave(server: smtplib.SMTP) -> None:
    try:
        server.quit()
    except (smtplib.SMTPException, OSError):
        # The message's fate is settled by now; how the connection ends does not change it.
        server.close()
