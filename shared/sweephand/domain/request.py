"""From the body of `POST /jobs` to the job that its answer shows.

The body's fields are checked here, and the payload by its handler's model. The record adds only when the job was
made.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from sweephand.domain.errors import FieldError, InvalidError
from sweephand.domain.handler import Handler
from sweephand.domain.job import MAX_PRIORITY, MAX_RETRIES, JobJson, NewJob, Status
from sweephand.domain.json_value import MAX_FAULTS, JsonValue, pointer, stored_size

_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ]([01]\d:[0-5]\d:[0-5]\d|2[0-3]:[0-5]\d:[0-5]\d)(?:\.(\d+))?"
    r"([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)\Z",
    re.ASCII,
)
"""Python's own reader takes more than RFC 3339 (+05:99; 24:00 since 3.14), and less (2026-01-31t18:30:00z)."""
MAX_STORED = 1024 * 1024
"""Bytes of a payload as the record writes it; the table `sweephand.jobs` checks the same."""

MAX_JOBS = 1000
"""Jobs of one batch."""
_MS = timedelta(milliseconds=1)


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
    faults: list[FieldError] = []
    fields = body if isinstance(body, dict) else {}
    try:
        request = JobRequest.model_validate(body)
    except ValidationError as e:
        faults += faults_of(e, body)
    faults += _type_and_payload_faults(fields, handlers)
    if faults:
        raise InvalidError(faults)
    return NewJob(
        job_id,
        request.type,
        fields["payload"],
        request.priority,
        request.max_retries,
        request.scheduled_at,
        request.expires_at,
    )


def new_jobs(body: JsonValue, handlers: Mapping[str, Handler], job_id: Callable[[], UUID]) -> list[NewJob]:
    """Return the jobs that `{"jobs": […]}` asks for, 1 to MAX_JOBS, each named by `job_id`.

    Raises `InvalidError` with the faults of all of them, MAX_FAULTS at most.
    """
    fields: dict[str, JsonValue] = body if isinstance(body, dict) else {}
    bodies = fields.get("jobs")
    if not isinstance(bodies, list) or not 1 <= len(bodies) <= MAX_JOBS:
        raise InvalidError([FieldError("/jobs", f"must be a list of 1 to {MAX_JOBS} jobs")])
    faults = [FieldError(pointer(key), "Extra inputs are not permitted") for key in fields if key != "jobs"]
    jobs: list[NewJob] = []
    for at, each in enumerate(bodies):
        try:
            jobs.append(new_job(each, handlers, job_id()))
        except InvalidError as e:
            faults += [FieldError(f"/jobs/{at}{fault.pointer}", fault.detail) for fault in e.faults]
            if len(faults) >= MAX_FAULTS:
                break
    if faults:
        raise InvalidError(faults[:MAX_FAULTS])
    return jobs


def render_new_jobs(jobs: Sequence[NewJob], created_at: datetime, *, summary: bool) -> list[JobJson]:
    """Return jobs that were all made at `created_at`, in full or as a list shows them.

    SQL renders jobs too (`sweephand.job_summary` and `sweephand.job_full` in `…_sweephand_api.sql`). A create does
    without: to render a thousand jobs took half of its call, and its caller knows all of them but when they were
    made. One test holds the two together: `test_what_a_create_answers_is_what_the_record_tells_later`.
    """
    created = to_rfc3339(created_at)
    return [
        {
            "id": str(job.id),
            "type": job.type,
            "status": Status.PENDING.value,
            "priority": job.priority,
            "max_retries": job.max_retries,
            "attempt": 0,
            "crashes": 0,
            "scheduled_at": to_rfc3339(job.scheduled_at) if job.scheduled_at else created,
            "run_at": to_rfc3339(max(job.scheduled_at or created_at, created_at)),
            "expires_at": to_rfc3339(job.expires_at) if job.expires_at else None,
            "created_at": created,
            "started_at": None,
            "finished_at": None,
            "reason": None,
            "schedule": None,
            "fire_at": None,
            **({} if summary else {"payload": job.payload, "result": None, "errors": []}),
        }
        for job in jobs
    ]


def waits_ms(jobs: Sequence[NewJob], created_at: datetime) -> list[int]:
    """Return how many milliseconds after `created_at` each job is due; 0 for one that was due before."""
    return [
        ceil((job.scheduled_at - created_at) / _MS) if job.scheduled_at and job.scheduled_at > created_at else 0
        for job in jobs
    ]


def to_rfc3339(at: datetime) -> str:
    """Return a time in UTC with milliseconds, cut off and not rounded, and `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def faults_of(error: ValidationError, value: JsonValue, *base: str | int) -> list[FieldError]:
    """Return pydantic's findings on `value`, which stands at `base`, as faults without the values found."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        FieldError(pointer(*base, *_place(value, each["loc"], each["type"])), _without_prefix(each["msg"]))
        for each in found
    ]


def _place(value: JsonValue, loc: Sequence[str | int], kind: str) -> list[str | int]:
    """Return the steps of `loc` that lead through `value`: pydantic names the branches of unions there too."""
    place: list[str | int] = []
    for at, step in enumerate(loc):
        if isinstance(value, dict):
            if step in value:
                value = value[str(step)]
            elif kind != "missing" or at < len(loc) - 1:
                continue
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            continue
        place.append(step)
    return place


def _without_prefix(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _type_and_payload_faults(
    fields: Mapping[str, JsonValue], handlers: Mapping[str, Handler]
) -> Sequence[FieldError]:
    type_, payload = fields.get("type"), fields.get("payload")
    if not isinstance(type_, str):
        return []
    handler = handlers.get(type_)
    if handler is None:
        return [FieldError("/type", f"no such type; there are: {', '.join(sorted(handlers))}")]
    return _payload_faults(payload, handler) if isinstance(payload, dict) else []


def _payload_faults(payload: Mapping[str, JsonValue], handler: Handler) -> Sequence[FieldError]:
    if (size := stored_size(payload)) > MAX_STORED:
        return [
            FieldError(
                "/payload", f"takes {size} bytes with its numbers written out: at most {MAX_STORED} are kept"
            )
        ]
    try:
        handler.payload.model_validate(payload)
    except ValidationError as e:
        return faults_of(e, payload, "payload")
    except Exception:  # noqa: BLE001 - a model's own validators may raise anything
        return [FieldError("/payload", "its handler's model cannot read it")]
    return []
