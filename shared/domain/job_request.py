"""The body of `POST /jobs`, checked: what its fields may be, and what its handler's payload model says."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from shared.domain.errors import Fault, InvalidError
from shared.domain.handler import Handler
from shared.domain.job import MAX_PRIORITY, MAX_RETRIES, NewJob
from shared.domain.json_value import JsonValue, pointer

_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})\Z",
    re.ASCII,
)


def _instant(value: object) -> datetime:
    """Read an RFC 3339 date-time; its offset is not optional. Digits beyond microseconds are dropped."""
    found = _RFC3339.match(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("not an RFC 3339 date-time with an offset, such as 2026-01-31T18:30:00Z")
    date, clock, fraction, offset = found.groups()
    micros = (fraction or "").ljust(6, "0")[:6]
    try:
        at = datetime.fromisoformat(f"{date}T{clock}.{micros}{'+00:00' if offset in 'Zz' else offset}")
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise ValueError("not a date and time that exist") from e


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An RFC 3339 date-time with an offset, in the years 1 to 9999."""


class JobRequest(BaseModel):
    """What is asked for; a field that is left out takes its default."""

    model_config = ConfigDict(extra="forbid", strict=True, title="JobRequest")

    type: str = Field(description="The handler to run.")
    payload: dict[str, Any] = Field(description="What the handler gets; its own model says what it may hold.")
    scheduled_at: Instant | None = Field(
        default=None, description="When to run; in the past is at once. Default: now."
    )
    priority: int = Field(default=0, ge=0, le=MAX_PRIORITY, description="Higher runs first.")
    max_retries: int = Field(
        default=3, ge=0, le=MAX_RETRIES, description="Further attempts after a first one that failed."
    )
    expires_at: Instant | None = Field(
        default=None, description="Not started after this; the job then ends `failed`."
    )


def new_job(body: JsonValue, handlers: Mapping[str, Handler], job_id: UUID) -> NewJob:
    """Return the job that `body` asks for, named `job_id`.

    Raises `InvalidError` with every fault: of the fields, and of the payload as its handler's model sees it.
    """
    faults: list[Fault] = []
    fields = body if isinstance(body, dict) else {}
    try:
        asked = JobRequest.model_validate(body)
    except ValidationError as e:
        faults += faults_of(e)
    faults += _type_and_payload_faults(fields, handlers)
    if faults:
        raise InvalidError(faults)
    return NewJob(
        job_id,
        asked.type,
        fields["payload"],
        asked.priority,
        asked.max_retries,
        asked.scheduled_at,
        asked.expires_at,
    )


def faults_of(error: ValidationError, *base: str | int) -> list[Fault]:
    """Return pydantic's findings as faults below `base`, without the values that it found."""
    return [
        Fault(pointer(*base, *detail["loc"]), _said(detail["msg"]))
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")


def _type_and_payload_faults(fields: Mapping[str, JsonValue], handlers: Mapping[str, Handler]) -> Sequence[Fault]:
    type_, payload = fields.get("type"), fields.get("payload")
    if not isinstance(type_, str):
        return []
    handler = handlers.get(type_)
    if handler is None:
        return [Fault("/type", f"no such type; there are: {', '.join(sorted(handlers))}")]
    if not isinstance(payload, dict):
        return []
    try:
        handler.payload.model_validate(payload)
    except ValidationError as e:
        return faults_of(e, "payload")
    except RecursionError:
        return [Fault("/payload", "nested too deep")]
    return []
