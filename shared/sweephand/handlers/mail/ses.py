"""Mail through Amazon SES."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import SplitResult

from sweephand.domain.handler import GiveUp
from sweephand.handlers.mail.outgoing import OutgoingMail

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client

CONNECT_TIMEOUT = 5
READ_TIMEOUT = 15
"""In seconds; the two together stay within the 20 that `email_notification` may take."""

FINAL = frozenset(
    {
        "BadRequestException",
        "InvalidParameterValue",
        "MailFromDomainNotVerifiedException",
        "MessageRejected",
    }
)
"""The error codes of SES that no retry can cure. Throttling, quotas and pauses are over after a while."""


@dataclass(frozen=True, slots=True)
class Ses:
    """Delivers each message unchanged, with the `SendEmail` call of SES version 2.

    SES replaces the Message-ID with its own, so a receiver cannot recognise a repeated send by it.
    """

    region: str

    @classmethod
    def from_url(cls, url: SplitResult) -> "Ses":
        """Read `ses://region`. Raises `ValueError` for any other form."""
        if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]+", url.netloc) or url.path.strip("/") or url.query:
            raise ValueError("MAIL_URL for SES is ses://region, as in ses://eu-west-1")
        return cls(url.netloc)

    def deliver(self, mail: OutgoingMail, /) -> str:
        """Send in one call, which accepts every recipient or none, and return the id that SES gave the message."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - loaded only where SES is used

        try:
            answer = _client(self.region).send_email(
                FromEmailAddress=mail.sender,
                # For a raw message SES delivers to this list, whatever the headers say.
                Destination={"BccAddresses": list(mail.recipients)},
                Content={"Raw": {"Data": mail.body}},
            )
        except ClientError as error:
            reason = error.response["Error"]
            if reason["Code"] in FINAL:
                raise GiveUp(f"SES refused the message: {reason['Code']}: {reason['Message'][:200]}") from None
            raise
        return answer["MessageId"]


@lru_cache(maxsize=4)
def _client(region: str) -> "SESV2Client":
    import boto3  # noqa: PLC0415 - a heavy import, only where SES is used
    from botocore.config import Config  # noqa: PLC0415

    # boto3 must not retry: that could send the message twice within one attempt.
    # Threads must not share a session to make clients from, so each client gets its own.
    once = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"total_max_attempts": 1, "mode": "standard"},
    )
    return boto3.session.Session().client("sesv2", region_name=region, config=once)
