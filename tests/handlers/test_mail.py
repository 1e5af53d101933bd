import pickle
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from sweephand.domain.handler import GiveUp
from sweephand.handlers.mail.mailer import open_mailer


def note(**headers: str) -> EmailMessage:
    """Return a short message to `to@example.com` with `headers` (`_` for `-`)."""
    message = EmailMessage()
    for name, value in ({"To": "to@example.com", "Subject": "Hello"} | headers).items():
        message[name.replace("_", "-")] = value
    message.set_content("Text\n")
    return message


def only(folder: Path) -> EmailMessage:
    """Return the one message in `folder`."""
    (path,) = folder.iterdir()
    message = message_from_bytes(path.read_bytes(), policy=default)
    assert isinstance(message, EmailMessage)
    return message


def test_the_outbox_gets_one_file_a_message(tmp_path: Path) -> None:
    """A folder gets an .eml file named by the Message-ID and the attempt, with CRLF and nothing beside it."""
    mailer = open_mailer(f"file://{tmp_path}/out", "Sweephand <from@example.com>")
    sent = mailer.send(note(Message_ID="<job-1@sweephand.invalid>", X_Sweephand_Attempt="2"))
    assert sent == "<job-1@sweephand.invalid>"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["job-1-0002.eml"]
    assert b"\r\n\r\nText\r\n" in (tmp_path / "out/job-1-0002.eml").read_bytes()


def test_missing_headers_are_filled_in(tmp_path: Path) -> None:
    """From, Date and Message-ID are added where they are missing, and kept where they are not."""
    open_mailer(f"file://{tmp_path}/a", "Sweephand <from@example.com>").send(note())
    filled = only(tmp_path / "a")
    assert filled["From"] == "Sweephand <from@example.com>"
    assert filled["Date"].datetime is not None
    assert filled["Message-ID"].endswith("@sweephand.invalid>")
    open_mailer(f"file://{tmp_path}/b", "from@example.com").send(note(From="own@example.com"))
    assert only(tmp_path / "b")["From"] == "own@example.com"


def test_sending_leaves_the_message_as_it_was(tmp_path: Path) -> None:
    """Sending leaves the handler's message as it was, so it can be sent again."""
    message = note(Bcc="hidden@example.com")
    before = message.as_bytes()
    open_mailer(f"file://{tmp_path}/a", "from@example.com").send(message)
    assert message.as_bytes() == before


def test_blind_copies_do_not_show(tmp_path: Path) -> None:
    """A receiver does not see the Bcc header."""
    open_mailer(f"file://{tmp_path}/a", "from@example.com").send(note(Bcc="hidden@example.com"))
    (path,) = (tmp_path / "a").iterdir()
    assert b"hidden" not in path.read_bytes()


def test_a_hostile_message_id_stays_in_the_folder(tmp_path: Path) -> None:
    """A Message-ID cannot name a file elsewhere."""
    mailer = open_mailer(f"file://{tmp_path}/out", "from@example.com")
    mailer.send(note(Message_ID="<../../evil@x>", X_Sweephand_Attempt="../1"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_evil-0001.eml"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (EmailMessage(), "no recipient"),
        (note(To="not an address"), "cannot be addressed"),
        (note(To="to@exämple.com"), "cannot be addressed"),
        (note(From="a@example.com, b@example.com"), "cannot be addressed"),
    ],
)
def test_a_message_that_cannot_be_addressed_gives_up(tmp_path: Path, message: EmailMessage, reason: str) -> None:
    """No retry cures a message without a good sender and recipients."""
    with pytest.raises(GiveUp, match=reason):
        open_mailer(f"file://{tmp_path}", "from@example.com").send(message)
    assert list(tmp_path.iterdir()) == []


def test_mail_that_is_not_set_up_gives_up(tmp_path: Path) -> None:
    """Without MAIL_URL or MAIL_FROM a job is given up, and the reason names the missing setting."""
    with pytest.raises(GiveUp, match="MAIL_URL"):
        open_mailer(None, "from@example.com").send(note())
    with pytest.raises(GiveUp, match="MAIL_FROM"):
        open_mailer(f"file://{tmp_path}", None).send(note())


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "nonsense",
        "ses://",
        "ses://eu-west-1/x",
        "ses://evil.example.com",
        "file://host/out",
        "file:///",
        "smtp://",
        "smtp://user:hunter2@",
        "smtp://user:hunter2@host/path",
        "smtp://user:hunter2@host:port",
        "smtp://user:hun/ter2@host",
        "smtp://user:hunter2@host?starttls=maybe",
        "smtp://user:hunter2@host?startls=never",
        "smtp://user:hunter2@host?starttls=auto",
        "smtp://user:hunter2@host?starttls=never",
        "smtps://user:hunter2@host?starttls=never",
        "smtp://user:hunter2@ho\u2100st",
        "smtp://user:hunter2@[host",
    ],
)
def test_a_mail_url_that_cannot_work_stops_the_start(url: str) -> None:
    """A mistake in MAIL_URL raises when the mailer is made, and the error's text holds no password."""
    with pytest.raises(ValueError, match="MAIL_URL") as refused:
        open_mailer(url, "from@example.com")
    assert "hun" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("sender", ["", "nobody", "a@example.com, b@example.com", "A <a@example>"])
def test_a_sender_that_cannot_work_stops_the_start(sender: str) -> None:
    """MAIL_FROM is one address, with or without a name."""
    with pytest.raises(ValueError, match="MAIL_FROM"):
        open_mailer("file:///tmp/out", sender)


@pytest.mark.parametrize("url", ["ses://eu-west-1", "smtp://u:p@host", "file:///tmp/out", None])
def test_a_mailer_can_be_sent_to_another_process(url: str | None) -> None:
    """A mailer can be pickled, as a handler's context is sent to child processes."""
    mailer = open_mailer(url, "from@example.com")
    assert pickle.loads(pickle.dumps(mailer)) == mailer


def test_a_mailer_prints_without_its_password() -> None:
    """A mailer in a log or a traceback does not show the password."""
    assert "hunter2" not in repr(open_mailer("smtp://user:hunter2@host", "from@example.com"))
