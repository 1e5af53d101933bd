"""Set Markdown as a PDF."""

import unicodedata
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sweephand.domain.handler import Context
from sweephand.handlers.objects.url import ObjectUrlText
from sweephand.handlers.registry import handler

MAX_MARKDOWN = 256 * 1024
"""In characters. A request is limited to as many bytes, so over HTTP that limit comes first."""
_UUID_WITH_TIME = 7
_YEAR_9999 = 253_370_764_800_000
"""In milliseconds since 1970. A UUID can hold later dates, `datetime` cannot."""


class Page(StrEnum):
    """A paper size."""

    A4 = "A4"
    LETTER = "Letter"


def _check_title(text: str) -> str:
    if not any(char.isprintable() and not char.isspace() for char in text):
        raise ValueError("must have a printable character")
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text):
        raise ValueError("must be one line, without control characters")
    return text


class PdfPayload(BaseModel):
    """One document, in Latin, Greek and Cyrillic. A box stands for a character that the fonts lack."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"title": "Report", "markdown": "# Results\n\nAll *well*.", "target": "s3://bucket/out.pdf"}
            ]
        },
    )

    title: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_check_title)] = Field(
        description="Printed on top of the first page, and written into the file's metadata."
    )
    markdown: str = Field(
        max_length=MAX_MARKDOWN,
        description=(
            "CommonMark with tables and strikethrough. Only http, https and mailto links can be opened. "
            "An image is printed as its description, and HTML as text: nothing is fetched."
        ),
    )
    target: ObjectUrlText = Field(description="Where to write the PDF. It replaces an object that is there.")
    page: Page = Field(Page.A4, description="The paper size.")


@handler("generate_pdf", payload=PdfPayload, timeout=20, isolation="process")
def generate_pdf(payload: PdfPayload, ctx: Context) -> dict[str, str | int]:
    """Write the document and return its URL, pages and size."""
    from sweephand.handlers.pdf import document  # noqa: PLC0415 - loads fpdf2; the API checks payloads without it

    pdf = document.render(payload.title, payload.markdown, payload.page.value, created(ctx.job_id))
    ctx.objects.write(payload.target, pdf.body, content_type="application/pdf")
    return {"target": payload.target, "pages": pdf.pages, "bytes": len(pdf.body)}


def created(job_id: UUID) -> datetime:
    """Return the time in `job_id` if it is a UUIDv7 (RFC 9562, 5.7), else 1 January 1970.

    It becomes the document's date, so every attempt writes the same bytes.
    """
    milliseconds = min(job_id.int >> 80, _YEAR_9999) if job_id.version == _UUID_WITH_TIME else 0
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
