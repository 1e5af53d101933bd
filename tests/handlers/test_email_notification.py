from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sweephand.handlers.email_notification import EmailPayload, email_notification
from sweephand.handlers.mail.mailer import open_mailer
from tests.handlers.conftest import JOB_ID, context
from tests.handlers.smtp_server import serve

EXAMPLE: dict[str, Any] = {
    "to": "test@example.com",
    "subject": "Hello!",
    "message": "This is a test job.",
}


def sent(folder: Path, **changes: Any) -> EmailMessage:
    """Run the example job, with `changes` to its payload, and return what arrived."""
    mailer = open_mailer(f"file://{folder}/outbox", "Sweephand <from@example.com>")
    payload = EmailPayload.model_validate(EXAMPLE | changes)
    answer = email_notification(payload, context(mail=mailer))
    assert answer == {"message_id": f"<{JOB_ID}@sweephand.invalid>"}
    message = message_from_bytes(
        (folder / f"outbox/{JOB_ID}-0001.eml").read_bytes().replace(b"\r\n", b"\n"), policy=default
    )
    assert isinstance(message, EmailMessage)
    return message


def text(message: EmailMessage, kind: str) -> str:
    """Return the body of `kind`."""
    part = message.get_body((kind,))
    assert part is not None
    content = part.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")


def test_the_example_arrives(tmp_path: Path) -> None:
    """The smallest payload is a whole message: from, to, subject, text, date."""
    message = sent(tmp_path)
    assert message["From"] == "Sweephand <from@example.com>"
    assert message["To"] == "test@example.com"
    assert message["Subject"] == "Hello!"
    assert message["Auto-Submitted"] == "auto-generated"
    assert text(message, "plain") == "This is a test job.\n"


def test_html_travels_beside_the_text(tmp_path: Path) -> None:
    """A message with html has both forms, the plain one first."""
    message = sent(tmp_path, html="<p>Grüße</p>")
    assert message.get_content_type() == "multipart/alternative"
    assert text(message, "plain") == "This is a test job.\n"
    assert text(message, "html") == "<p>Grüße</p>\n"


def test_any_script_arrives_in_seven_bits(tmp_path: Path) -> None:
    """Subject and text may be in any script, and only ASCII bytes are sent."""
    subject = "Grüße, κόσμε, мир 🎉 " * 12
    message = sent(tmp_path, subject=subject.strip(), message="Zażółć\n漢字\n")
    assert message["Subject"] == subject.strip()
    assert text(message, "plain") == "Zażółć\n漢字\n"
    (path,) = (tmp_path / "outbox").iterdir()
    assert path.read_bytes().isascii()
    assert max(map(len, path.read_bytes().splitlines())) < 100


def test_many_people_can_be_addressed() -> None:
    """Every address of to, cc, bcc and reply_to reaches the server."""
    payload = EmailPayload(
        to=["a@example.com", "b@example.com"],
        cc=["c@example.com"],
        bcc=["d@example.com"],
        reply_to="answers@example.com",
        subject="x",
        message="y",
    )
    with serve() as server:
        mailer = open_mailer(f"smtp://127.0.0.1:{server.port}", "from@example.com")
        email_notification(payload, context(mail=mailer))
    (got,) = server.received
    assert got.recipients == [f"{name}@example.com" for name in "abcd"]
    assert got.message["To"] == "a@example.com, b@example.com"
    assert got.message["Reply-To"] == "answers@example.com"
    assert b"d@example.com" not in got.message.as_bytes()


def test_every_attempt_has_the_same_message_id(tmp_path: Path) -> None:
    """A receiver can tell a repeated send by its Message-ID; the outbox keeps each attempt."""
    mailer = open_mailer(f"file://{tmp_path}", "from@example.com")
    payload = EmailPayload.model_validate(EXAMPLE)
    ids = {email_notification(payload, context(mail=mailer, attempt=n))["message_id"] for n in (1, 2)}
    assert len(ids) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{JOB_ID}-0001.eml", f"{JOB_ID}-0002.eml"]


@pytest.mark.parametrize(
    "changes",
    [
        {"to": "nonsense"},
        {"to": []},
        {"to": ["test@example.com"] * 51},
        {"to": "test@example.com\r\nBcc: evil@example.com"},
        {"to": "Test <test@example.com>"},
        {"to": "test@exämple.com"},
        {"cc": "test@example.com"},
        {"cc": ["nonsense"]},
        {"bcc": ["test@example.com"] * 50},
        {"reply_to": "a@example.com, b@example.com"},
        {"subject": ""},
        {"subject": "x" * 501},
        {"subject": "Hello\r\nBcc: evil@example.com"},
        {"subject": "Hello\nX: y"},
        {"subject": "Hello\rX: y"},
        {"subject": "Hello\x00"},
        {"subject": "Hello\x0bX: y"},
        {"subject": "Hello\x85X: y"},
        {"subject": "Hello\u2028X: y"},
        {"subject": "Hello\ud800"},
        {"message": "nul\x00"},
        {"message": "\ud800"},
        {"message": None},
        {"html": "esc\x1b"},
        {"attachments": []},
    ],
)
def test_a_payload_that_could_not_be_sent_is_refused(changes: dict[str, Any]) -> None:
    """Bad addresses, line breaks in headers, control characters and unknown fields fail validation."""
    with pytest.raises(ValidationError):
        EmailPayload.model_validate(EXAMPLE | changes)
