"""Send a mail: plain text, and HTML beside it if the payload has any."""

import unicodedata
from email.message import EmailMessage
from email.policy import SMTP
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sweephand.domain.handler import Context
from sweephand.handlers.mail.address import MailAddress
from sweephand.handlers.registry import handler

MAX_RECIPIENTS = 50
"""To, Cc and Bcc together: the most that SES takes for one message."""

_BREAKS = frozenset({"Zl", "Zp"})
_UNPRINTABLE = frozenset({"Cc", "Cs"})
_TEXT_CONTROLS = frozenset("\t\n\r")


def _one_line(text: str) -> str:
    # A line break would let the text begin a header of its own.
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
    """One mail, to at most 50 recipients in all."""

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
    html: Text | None = Field(None, description="The same text as HTML, for mail programs that show HTML.")
    cc: Recipients = Field([], description="Further recipients. Every recipient sees them.")
    bcc: Recipients = Field([], description="Further recipients. No other recipient sees them.")
    reply_to: MailAddress | None = Field(None, description="Replies go to this address instead of the sender's.")

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
    """Send the mail and return the mail system's id of the message."""
    return {"message_id": ctx.mail.send(compose(payload, ctx))}


def compose(payload: EmailPayload, ctx: Context) -> EmailMessage:
    """Return the message; the mailer adds From and Date.

    The Message-ID is made of the job's id, so a receiver can recognise and drop a second send of the same job.
    """
    # 7bit: encode the body here, so that no server on the way has to.
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["Subject"] = payload.subject
    message["To"] = ", ".join(payload.to_list)
    for name, addresses in (("Cc", payload.cc), ("Bcc", payload.bcc)):
        if addresses:
            message[name] = ", ".join(addresses)
    if payload.reply_to is not None:
        message["Reply-To"] = payload.reply_to
    message["Message-ID"] = f"<{ctx.job_id}@sweephand.invalid>"
    message["Auto-Submitted"] = "auto-generated"  # keeps holiday notices from answering (RFC 3834)
    message["X-Sweephand-Attempt"] = str(ctx.attempt)
    message.set_content(payload.message)
    if payload.html is not None:
        message.add_alternative(payload.html, subtype="html")
    return message
