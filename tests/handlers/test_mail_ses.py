from email import message_from_string
from email.policy import default

import boto3
import botocore.exceptions
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends

from sweephand.domain.handler import GiveUp
from sweephand.handlers.mail.mailer import open_mailer
from tests.handlers.test_mail import note


def verify(address: str) -> None:
    """Tell SES that `address` may send."""
    client = boto3.client("sesv2")
    client.create_email_identity(EmailIdentity=address)
    client.close()


def test_ses_sends_to_everyone_and_hides_blind_copies(aws: str) -> None:
    """The message goes to SES as it was written, with the envelope beside it, and SES' own id comes back."""
    verify("from@example.com")
    mailer = open_mailer("ses://eu-west-1", "Sweephand <from@example.com>")
    sent = mailer.send(note(Cc="cc@example.com", Bcc="bcc@example.com"))
    (got,) = ses_backends[DEFAULT_ACCOUNT_ID]["eu-west-1"].sent_messages
    assert got.id == sent
    assert got.source == "from@example.com"
    assert set(got.destinations) == {"bcc@example.com", "cc@example.com", "to@example.com"}
    message = message_from_string(got.raw_data, policy=default)
    assert message["From"] == "Sweephand <from@example.com>"
    assert (message["To"], message["Cc"], message["Bcc"]) == ("to@example.com", "cc@example.com", None)


def test_what_ses_rejects_gives_up(aws: str) -> None:
    """A sender that SES does not know gives the job up, with SES' reason."""
    with pytest.raises(GiveUp, match="SES refused the message: MessageRejected: Did not have authority"):
        open_mailer("ses://eu-west-1", "from@example.com").send(note())


def test_an_ses_outage_is_worth_a_retry(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that cannot be reached raises botocore's own error, so the job is retried."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        open_mailer("ses://eu-west-1", "from@example.com").send(note())


def test_throttling_is_worth_a_retry(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When SES says "too many requests" its error is raised as it is, so the job is retried."""
    throttled = botocore.exceptions.ClientError(
        {"Error": {"Code": "TooManyRequestsException", "Message": "slow down"}}, "SendEmail"
    )

    def refuse(*_: object, **__: object) -> None:
        raise throttled

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)
    with pytest.raises(botocore.exceptions.ClientError, match="slow down"):
        open_mailer("ses://eu-west-1", "from@example.com").send(note())
