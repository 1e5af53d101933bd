"""Mail through Amazon SES."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import SplitResult

from sweephand.domain.handler import GiveUp
from sweephand.handlers.mail.mailer import OutgoingMail

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client

CONNECT_TIMEOUT = 5
READ_TIMEOUT = 15
"""Seconds; both fit into the mail handler's 30."""

FINAL = frozenset(
    {
        "BadRequestException",
        "InvalidParameterValue",
        "MailFromDomainNotVerifiedException",
        "MessageRejected",
    }
)
"""The error codes of SES that no retry can cure; throttling, quotas and pauses pass."""


@dataclass(frozen=True, slots=True)
class Ses:
    """Hands messages over with the `SendEmail` call of SES version 2, as they are.

    SES gives every message a Message-ID of its own, so receivers cannot tell a repeated send by it.
    """

    region: str

    @classmethod
    def from_url(cls, url: SplitResult) -> "Ses":
        """Read `ses://region`."""
        if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]+", url.netloc) or url.path.strip("/") or url.query:
            raise ValueError("MAIL_URL for SES is ses://region, as in ses://eu-west-1")
        return cls(url.netloc)

    def deliver(self, letter: OutgoingMail, /) -> str:
        """Send in one call, which takes every recipient or none; returns the id that SES gave."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - loaded only where SES is used

        try:
            answer = _client(self.region).send_email(
                FromEmailAddress=letter.sender,
                # With a raw message this alone says who gets it, whatever its headers say.
                Destination={"BccAddresses": list(letter.recipients)},
                Content={"Raw": {"Data": letter.body}},
            )
        except ClientError as error:
            about = error.response["Error"]
            if about["Code"] in FINAL:
                raise GiveUp(f"SES refused the message: {about['Code']}: {about['Message'][:200]}") from None
            raise
        return answer["MessageId"]


@lru_cache(maxsize=4)
def _client(region: str) -> "SESV2Client":
    import boto3  # noqa: PLC0415 - a heavy import, only where SES is used
    from botocore.config import Config  # noqa: PLC0415

    # One try a call: a retry inside could send twice within one attempt. A session of its own, because the
    # default one is not safe to make clients from in several threads.
    once = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"total_max_attempts": 1, "mode": "standard"},
    )
    return boto3.session.Session().client("sesv2", region_name=region, config=once)
