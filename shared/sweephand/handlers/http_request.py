"""Call a URL."""

import base64
import binascii
import random
import time
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sweephand.domain.handler import Context, GiveUp, Retry
from sweephand.domain.retry_policy import backoff
from sweephand.domain.services import HttpAnswer, HttpCall, NoAnswerError
from sweephand.handlers.http_call import allow, retry_after
from sweephand.handlers.http_call import headers as header_rules
from sweephand.handlers.http_call.answer import MAX_BODY as MAX_ANSWER
from sweephand.handlers.http_call.answer import result, snippet
from sweephand.handlers.http_call.target import MAX_URL, parse
from sweephand.handlers.registry import handler

MAX_BODY = 192 * 1024
"""Bytes of a body: in base64 that is what a request of 256 KiB holds."""
MAX_TIMEOUT = 60.0
DEFAULT_TIMEOUT = 30.0
MAX_REDIRECTS = 5
_TIME_TO_SETTLE = 1.0
"""Seconds between the end of a call and the time limit of its attempt."""
_GONE = 410
_ALWAYS_RETRIED = frozenset({408, 425, 429})


class Method(StrEnum):
    """What is asked of the URL."""

    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"
    OPTIONS = "OPTIONS"


def _callable(url: str) -> str:
    if wrong := allow.installed().literal_refusal(parse(url)):
        raise ValueError(f"the host is {wrong}; HTTP_ALLOW can open it")
    return url


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be base64, with its padding and without line breaks") from None


def _base64(text: str) -> str:
    if len(_decoded(text)) > MAX_BODY:
        raise ValueError(f"must be at most {MAX_BODY} bytes")
    return text


def _utf8(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("must not hold half a surrogate pair") from None
    if size > MAX_BODY:
        raise ValueError(f"must be at most {MAX_BODY} bytes of UTF-8")
    return text


HeaderName = Annotated[str, AfterValidator(header_rules.check_name)]
HeaderValue = Annotated[str, Field(max_length=header_rules.MAX_VALUE), AfterValidator(header_rules.check_value)]


class HttpRequestPayload(BaseModel):
    """One call of a URL, signed by the Standard Webhooks convention where keys are set up.

    2xx completes the job. 408, 425, 429, 5xx and a connection that fails are tried again; anything else fails it.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "url": "https://hooks.example.com/orders",
                    "headers": {"Content-Type": "application/json"},
                    "body": '{"order": 17}',
                }
            ]
        },
    )

    url: Annotated[
        str,
        Field(
            max_length=MAX_URL,
            examples=["https://hooks.example.com/orders"],
            json_schema_extra={"format": "uri"},
            description=(
                "http or https, without credentials. Hosts that are not public are refused unless the operator's "
                "HTTP_ALLOW opens them."
            ),
        ),
        AfterValidator(_callable),
    ]
    method: Method = Field(Method.POST, description="In capitals.")
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=header_rules.MAX_HEADERS)] = Field(
        {},
        description=(
            "Sent as they are. Host, Content-Length, Accept-Encoding, webhook-* and what belongs to a connection "
            "are refused."
        ),
    )
    body: Annotated[str, AfterValidator(_utf8)] | None = Field(
        None, description=f"Text, sent as UTF-8: at most {MAX_BODY} bytes. Without a Content-Type it is text/plain."
    )
    body_base64: Annotated[str, AfterValidator(_base64)] | None = Field(
        None, description=f"Bytes, instead of body: at most {MAX_BODY}."
    )
    timeout: float = Field(
        DEFAULT_TIMEOUT,
        ge=0.1,
        le=MAX_TIMEOUT,
        strict=True,
        allow_inf_nan=False,
        description="Seconds for the whole call, from the lookup of the name to the last byte of the answer.",
    )
    max_redirects: int = Field(
        0,
        ge=0,
        le=MAX_REDIRECTS,
        strict=True,
        description="How many redirects are followed; with 0 a 3xx fails the job and names where it leads.",
    )
    retry_4xx: bool = Field(default=False, strict=True, description="Try again also after a 4xx other than 410.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.body is not None and self.body_base64 is not None:
            raise ValueError("body and body_base64 exclude each other: send one of them")
        header_rules.check_all(self.headers)
        return self

    @property
    def content(self) -> bytes:
        """The exact bytes that are sent and signed."""
        if self.body_base64 is not None:
            return _decoded(self.body_base64)
        return (self.body or "").encode()


@handler(
    "http_request",
    payload=HttpRequestPayload,
    timeout=MAX_TIMEOUT + 2 * _TIME_TO_SETTLE,
    isolation="async",
    heeds_deadline=True,
)
async def http_request(payload: HttpRequestPayload, ctx: Context) -> dict[str, Any]:
    """Make the call and return its answer; raises `Retry` or `GiveUp` by its status."""
    try:
        answer = await ctx.http.call(_call(payload, ctx))
    except NoAnswerError as e:
        raise Retry(_wait(ctx), str(e)) from None
    if answer.status // 100 != 2:  # noqa: PLR2004 - 2xx
        raise _failure(answer, payload, ctx)
    return result(answer)


def _call(payload: HttpRequestPayload, ctx: Context) -> HttpCall:
    return HttpCall(
        url=payload.url,
        message_id=str(ctx.job_id),
        method=payload.method.value,
        headers={**_content_type(payload), **payload.headers},
        body=payload.content,
        timeout=max(0.1, min(payload.timeout, ctx.deadline - time.monotonic() - _TIME_TO_SETTLE)),
        max_redirects=payload.max_redirects,
        limit=MAX_ANSWER,
    )


def _content_type(payload: HttpRequestPayload) -> dict[str, str]:
    if any(name.lower() == "content-type" for name in payload.headers):
        return {}
    if payload.body_base64 is not None:
        return {"Content-Type": "application/octet-stream"}
    return {"Content-Type": "text/plain; charset=utf-8"} if payload.body is not None else {}


def _failure(answer: HttpAnswer, payload: HttpRequestPayload, ctx: Context) -> Retry | GiveUp:
    """Return what follows from an answer that is no success."""
    status = answer.status
    said = f"{answer.url} answered {status}"
    if answer.redirect is not None:
        after = f" after {payload.max_redirects} redirects" if payload.max_redirects else ""
        return GiveUp(f"{said}{after}: it redirects to {answer.redirect}")
    said += snippet(answer)
    again = status in _ALWAYS_RETRIED or status // 100 == 5 or (payload.retry_4xx and status // 100 == 4)  # noqa: PLR2004 - 5xx, 4xx
    if status == _GONE or not again:
        return GiveUp(said)
    asked = retry_after.seconds(answer.headers.get("retry-after"), answer.headers.get("date"), time.time())
    return Retry(max(asked or 0.0, _wait(ctx)), said)


def _wait(ctx: Context) -> float:
    """Return the seconds until the next attempt where the server asks for none: as after any other failure."""
    return backoff(ctx.attempt - 1, random.random())  # noqa: S311 - it spreads load, and is no secret
