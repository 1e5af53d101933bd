import smtplib
import socket
import ssl
import threading
from urllib.parse import quote

import pytest

from sweephand.domain.handler import GiveUp
from sweephand.domain.services import Mailer
from sweephand.handlers.mail import smtp
from sweephand.handlers.mail.mailer import open_mailer
from tests.certificate import Certificate
from tests.handlers.smtp_server import PASSWORD, USER, serve
from tests.handlers.test_mail import note

LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"


def mailer(port: int, *, scheme: str = "smtp", login: str = "", options: str = "") -> Mailer:
    """Return a mailer for the server at `port`."""
    return open_mailer(f"{scheme}://{login}127.0.0.1:{port}{options}", "from@example.com")


def test_a_message_reaches_every_recipient() -> None:
    """To, Cc and Bcc are delivered, each once; Bcc is not in the message."""
    with serve() as server:
        message = note(Cc="cc@example.com, to@example.com", Bcc="bcc@example.com")
        sent = mailer(server.port).send(message)
    (got,) = server.received
    assert got.sender == "from@example.com"
    assert got.recipients == ["to@example.com", "cc@example.com", "bcc@example.com"]
    assert "Bcc" not in got.message
    assert got.message["Message-ID"] == sent
    assert got.message.get_content() == "Text\n"


def test_a_line_with_a_dot_arrives_whole() -> None:
    """A dot alone on a line does not end the message."""
    message = note()
    message.set_content("one\n.\n..two\n")
    with serve() as server:
        mailer(server.port).send(message)
    assert server.received[0].message.get_content() == "one\n.\n..two\n"


def test_starttls_is_used_when_offered(certificate: Certificate) -> None:
    """Without a password TLS is used if the server offers it."""
    with serve(starttls=certificate.server) as server:
        mailer(server.port, options=f"?cafile={certificate.cafile}").send(note())
    assert server.received[0].in_tls


def test_a_certificate_that_is_not_trusted_is_refused(certificate: Certificate) -> None:
    """The certificate is checked also where TLS is optional."""
    with serve(starttls=certificate.server) as server, pytest.raises(ssl.SSLCertVerificationError):
        mailer(server.port).send(note())
    assert server.received == []


def test_starttls_can_be_demanded() -> None:
    """With starttls=require nothing is sent to a server without TLS, and the job is tried again."""
    with serve() as server, pytest.raises(smtplib.SMTPNotSupportedError):
        mailer(server.port, options="?starttls=require").send(note())
    assert server.received == []


def test_starttls_can_be_left_out(certificate: Certificate) -> None:
    """With starttls=never the server's offer of TLS is ignored."""
    with serve(starttls=certificate.server) as server:
        mailer(server.port, options="?starttls=never").send(note())
    assert not server.received[0].in_tls


def test_smtps_is_tls_from_the_first_byte(certificate: Certificate) -> None:
    """An smtps URL connects in TLS, checks the certificate and logs in."""
    with serve(implicit=certificate.server, login=True) as server:
        options = f"?cafile={certificate.cafile}"
        mailer(server.port, scheme="smtps", login=LOGIN, options=options).send(note())
    assert len(server.received) == 1
    assert [login[:2] for login in server.logins] == [(USER, PASSWORD)]


def test_a_password_goes_out_in_tls(certificate: Certificate) -> None:
    """With a password STARTTLS comes first, and escapes in the URL are undone."""
    with serve(starttls=certificate.server, login=True) as server:
        mailer(server.port, login=LOGIN, options=f"?cafile={certificate.cafile}").send(note())
    assert server.logins == [(USER, PASSWORD, True)]


def test_a_password_is_not_sent_in_clear() -> None:
    """A server without TLS gets no password, unless the URL says cleartext_password=allow."""
    with serve(login=True) as server:
        with pytest.raises(smtplib.SMTPNotSupportedError):
            mailer(server.port, login=LOGIN).send(note())
        assert server.logins == []
        options = "?starttls=never&cleartext_password=allow"
        mailer(server.port, login=LOGIN, options=options).send(note())
        assert server.logins == [(USER, PASSWORD, False)]


def test_a_wrong_password_is_not_shown() -> None:
    """A refused login raises an error that is retried and holds no password."""
    options = "?starttls=never&cleartext_password=allow"
    with serve(login=True) as server, pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        mailer(server.port, login="user:hunter2@", options=options).send(note())
    assert "hunter2" not in repr(refused.value)


@pytest.mark.parametrize("part", ["sender", "recipient", "data"])
def test_a_final_refusal_gives_up(part: str) -> None:
    """A 5xx reply to any command gives the job up, with the server's words as its reason."""
    with serve() as server:
        if part == "sender":
            server.sender_reply = "553 no such sender"
        elif part == "recipient":
            server.recipient_replies["to@example.com"] = "550 no such user"
        else:
            server.data_reply = "554 looks like spam"
        with pytest.raises(GiveUp, match=r"the mail server refused .*: 55[034] (no such|looks like)"):
            mailer(server.port).send(note())
    assert server.received == []


@pytest.mark.parametrize("part", ["sender", "recipient", "data"])
def test_a_temporary_refusal_is_worth_a_retry(part: str) -> None:
    """A 4xx reply to any command is raised as it is, so the job is retried."""
    with serve() as server:
        if part == "sender":
            server.sender_reply = "451 later"
        elif part == "recipient":
            server.recipient_replies["to@example.com"] = "450 greylisted"
        else:
            server.data_reply = "452 disk full"
        with pytest.raises(smtplib.SMTPResponseException, match=r"45[012]"):
            mailer(server.port).send(note())
    assert server.received == []


def test_all_recipients_get_the_message_or_none() -> None:
    """One refused recipient stops the message for all, so a retry sends no one a second copy."""
    with serve() as server:
        server.recipient_replies["second@example.com"] = "450 busy"
        message = note(Cc="second@example.com")
        with pytest.raises(smtplib.SMTPResponseException):
            mailer(server.port).send(message)
        assert server.received == []
        server.recipient_replies.clear()
        mailer(server.port).send(message)
    assert [got.recipients for got in server.received] == [["to@example.com", "second@example.com"]]


def test_a_server_that_is_not_there_is_worth_a_retry() -> None:
    """A refused connection raises its own error, so the job is retried."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            mailer(taken.getsockname()[1]).send(note())


def test_a_silent_server_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts the connection and then stays silent costs one time limit."""
    monkeypatch.setattr(smtp, "TIMEOUT", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"),
    ):
        mailer(server.getsockname()[1]).send(note())


def test_the_server_leaves_no_thread() -> None:
    """The SMTP server of these tests leaves no thread behind."""
    before = threading.active_count()
    with serve() as server:
        mailer(server.port).send(note())
    assert threading.active_count() == before
