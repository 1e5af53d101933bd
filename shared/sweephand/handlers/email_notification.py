"""Send a mail: plain text, with an HTML form beside it if asked."""

import unicodedata
from email.message import EmailMessage
from email.policy import SMTP
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sweephand.domain.handler import Context
from sweephand.handlers.mail.address import MailAddress
from sweephand.handlers.registry import handler

MAX_RECIPIENTS = 50
"""To, Cc and Bcc together: what SES takes in one message."""

_BREAKS = frozenset({"Zl", "Zp"})
_UNPRINTABLE = frozenset({"Cc", "Cs"})
_TEXT_CONTROLS = frozenset("\t\n\r")


def _one_line(text: str) -> str:
    # A line break would let the text start a header of its own.
    if any(unicodedata.category(char) in _UNPRINTABLE | _BREAKS for char in text):
        raise ValueError("must be one line, without control characters")
    return text


def _printable(text: str) -> str:
    if any(unicodedata.category(char) in _UNPRINTABLE and char not in _TEXT_CONTROLS for char in text):
        raise ValueError("must not hold control characters other than tab and line breaks")
    return text


Text = Annotated[str, AfterValidator(_printable)]
Recipients = Annotated[list[MailAddress], Field(max_length=MAX_RECIPIENTS)]


class EmailPayload(BaseModel):
    """One mail. At most 50 recipients in all; each gets it, or the job says why not."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"to": "test@example.com", "subject": "Hello!", "message": "This is a test job."}]
        },
    )

    to: MailAddress | Annotated[list[MailAddress], Field(min_length=1, max_length=MAX_RECIPIENTS)] = Field(
        description="One address, or a list of them."
    )
    subject: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_one_line)] = Field(
        description="One line, in any script."
    )
    message: Text = Field(description="The plain text.")
    html: Text | None = Field(None, description="The same as HTML, shown by readers that can.")
    cc: Recipients = Field([], description="Further receivers, whom everyone sees.")
    bcc: Recipients = Field([], description="Further receivers, whom no one sees.")
    reply_to: MailAddress | None = Field(None, description="Where answers go instead of to the sender.")

    @model_validator(mode="after")
    def _few_enough(self) -> Self:
        if len(self.to_list) + len(self.cc) + len(self.bcc) > MAX_RECIPIENTS:
            raise ValueError(f"to, cc and bcc name more than {MAX_RECIPIENTS} recipients together")
        return self

    @property
    def to_list(self) -> list[str]:
        """The addresses of `to`, as a list."""
        return [self.to] if isinstance(self.to, str) else self.to


@handler("email_notification", payload=EmailPayload, timeout=20, isolation="thread")
def email_notification(payload: EmailPayload, ctx: Context) -> dict[str, str]:
    """Send the mail and return the id that the mail system knows it by."""
    return {"message_id": ctx.mail.send(compose(payload, ctx))}


def compose(payload: EmailPayload, ctx: Context) -> EmailMessage:
    """Build the message; the mailer adds From and Date.

    The Message-ID is the job's: a second send of the same job looks like what it is, and can be dropped.
    """
    # 7bit: the body is encoded here, so that no server on the way has to.
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["Subject"] = payload.subject
    message["To"] = ", ".join(payload.to_list)
    for name, addresses in (("Cc", payload.cc), ("Bcc", payload.bcc)):
        if addresses:
            message[name] = ", ".join(addresses)
    if payload.reply_to is not None:
        message["Reply-To"] = payload.reply_to
    message["Message-ID"] = f"<{ctx.job_id}@sweephand.invalid>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: so that no holiday notice answers
    message["X-Sweephand-Attempt"] = str(ctx.attempt)
    message.set_content(payload.message)
    if payload.html is not None:
        message.add_alternative(payload.html, subtype="html")
    return message
