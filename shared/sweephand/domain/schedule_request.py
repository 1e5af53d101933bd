"""The body of `POST /schedules`, checked: what its fields may be, and what goes together."""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from sweephand.domain.cron import MAX_EXPRESSION, expanded
from sweephand.domain.errors import FieldError, InvalidError
from sweephand.domain.every import duration
from sweephand.domain.handler import Handler
from sweephand.domain.job import MAX_PRIORITY, MAX_RETRIES
from sweephand.domain.json_value import MAX_FAULTS, JsonValue, pointer
from sweephand.domain.request import Instant, faults_of, new_job
from sweephand.domain.schedule import JobTemplate, Misfire, Overlap, Schedule
from sweephand.domain.zone import zone

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z", re.ASCII)
"""What a schedule may be called: it stands in URLs as it is."""
MAX_MISFIRE_LIMIT = 1000
_YEAR = timedelta(days=366)
_DAY = timedelta(days=1)
_JOB_FIELDS = ("type", "payload", "priority", "max_retries")
_REFUSED_IN_JOB = {
    "scheduled_at": "the schedule says when each job is due: leave it out",
    "expires_at": "each job is due at another time: write expires_after, a duration such as PT1H",
}


def _name(value: object) -> str:
    if not isinstance(value, str) or not NAME.match(value):
        raise ValueError(
            "1 to 64 of the characters a-z, 0-9, _ and -, the first a letter or a digit, such as nightly-report"
        )
    return value


def _cron(value: object) -> object:
    if value is not None:
        expanded(value)
    return value


def _zone(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("not the name of a time zone, such as Europe/Berlin")  # noqa: TRY004 - pydantic's way
    zone(value)
    return value


def _optional(value: object, *, least: timedelta, most: timedelta) -> timedelta | None:
    return None if value is None else duration(value, least=least, most=most)


_JSON_DURATION = WithJsonSchema({"type": "string", "format": "duration"})
_SECOND = timedelta(seconds=1)
Interval = Annotated[
    timedelta,
    BeforeValidator(partial(_optional, least=_SECOND, most=timedelta(days=3660))),
    _JSON_DURATION,
]
"""An ISO 8601 duration of weeks, days, hours, minutes and whole seconds: a second to ten years."""


class JobTemplateRequest(BaseModel):
    """What each job is made of: a job without times."""

    model_config = ConfigDict(extra="forbid", strict=True, title="JobTemplate")

    type: str = Field(description="The handler to run.")
    payload: dict[str, Any] = Field(description="What the handler gets; its own model says what it may hold.")
    priority: int = Field(default=0, ge=0, le=MAX_PRIORITY, description="Higher runs first.")
    max_retries: int = Field(
        default=3, ge=0, le=MAX_RETRIES, description="Further attempts after a first one that failed."
    )
    expires_after: Interval | None = Field(
        default=None, description="How long after it is due a job may still start; the job then ends `failed`."
    )


class ScheduleRequest(BaseModel):
    """What is asked for; a field that is left out takes its default."""

    model_config = ConfigDict(extra="forbid", strict=True, title="ScheduleRequest")

    name: Annotated[str, BeforeValidator(_name)] = Field(
        description="Names the schedule; the same name again replaces it.",
        json_schema_extra={"pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"},
    )
    cron: Annotated[str | None, BeforeValidator(_cron)] = Field(
        default=None,
        max_length=MAX_EXPRESSION,
        description="Five fields (minute hour day-of-month month day-of-week) or @daily and its like.",
    )
    every: Interval | None = Field(
        default=None, description="How long from fire to fire, counted from `start_at`, else from 1970."
    )
    timezone: Annotated[str, BeforeValidator(_zone)] = Field(
        default="UTC", description="The IANA time zone in which `cron` is read."
    )
    job: JobTemplateRequest = Field(description="What each job is made of.")
    misfire: Annotated[Misfire, Field(strict=False)] = Field(
        default=Misfire.ONCE, description="What becomes of missed fires."
    )
    misfire_limit: int = Field(
        default=100, ge=1, le=MAX_MISFIRE_LIMIT, description="How many missed fires `all` makes up for."
    )
    misfire_age: Annotated[
        timedelta,
        BeforeValidator(partial(duration, least=timedelta(minutes=1), most=_YEAR)),
        _JSON_DURATION,
    ] = Field(default=timedelta(days=7), description="No fire that was missed longer ago is made up for.")
    overlap: Annotated[Overlap, Field(strict=False)] = Field(
        default=Overlap.SKIP, description="Whether a job starts while another of this schedule runs."
    )
    jitter: Annotated[
        timedelta, BeforeValidator(partial(duration, least=timedelta(), most=_DAY)), _JSON_DURATION
    ] = Field(default=timedelta(), description="A job is due up to this long after its fire, and before the next.")
    start_at: Instant | None = Field(
        default=None, description="`every` fires first at it; `cron` fires only later than it."
    )
    end_at: Instant | None = Field(default=None, description="Nothing fires later than this.")
    paused: bool | None = Field(
        default=None, description="No fires while true. Left out, a replaced schedule stays as it was."
    )


def new_schedule(body: JsonValue, handlers: Mapping[str, Handler] | None) -> Schedule:
    """Return the schedule that `body` asks for.

    Without `handlers` the job's type and payload are not judged: rows of the record may need handlers that only
    another function knows. Raises `InvalidError` with every fault, MAX_FAULTS at most.
    """
    fields = body if isinstance(body, dict) else {}
    faults = [*(_together(fields) if fields else ()), *_job_faults(fields.get("job"), handlers)]
    try:
        asked = ScheduleRequest.model_validate(body)
    except ValidationError as e:
        told = {fault.pointer for fault in faults}
        faults += [fault for fault in faults_of(e, body) if fault.pointer not in told]
        raise InvalidError(faults[:MAX_FAULTS]) from e
    if asked.start_at and asked.end_at and asked.end_at < asked.start_at:
        faults.append(FieldError("/end_at", "lies before start_at, so it would never fire"))
    if faults:
        raise InvalidError(faults[:MAX_FAULTS])
    return _schedule(asked, fields["job"]["payload"])


def patched(body: Mapping[str, JsonValue], patch: JsonValue) -> JsonValue:
    """Return the request `body`, which `as_json` made, with the fields of `patch` in place of its own.

    As in a JSON merge patch (RFC 7396), null takes a field away, so that its default holds, and `job` is merged
    field by field; but its `payload` is replaced whole. Writing `cron` takes `every` away, and the other way round.
    Raises `InvalidError` for a patch that is no object, and for one that renames.
    """
    if not isinstance(patch, dict):
        raise InvalidError([FieldError("", "not an object")])
    if patch.get("name", body["name"]) != body["name"]:
        raise InvalidError([FieldError("/name", "a schedule keeps its name: make a new one and delete this one")])
    made = {**body, **patch}
    for key, other in (("cron", "every"), ("every", "cron")):
        if patch.get(key) is not None and other not in patch:
            made.pop(other, None)
    job, changes = body.get("job"), patch.get("job")
    if isinstance(job, Mapping) and isinstance(changes, Mapping):
        made["job"] = _without_nulls({**job, **changes})
    return _without_nulls(made)


def _without_nulls(fields: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: value for key, value in fields.items() if value is not None}


def _together(fields: Mapping[str, JsonValue]) -> list[FieldError]:
    faults = []
    if fields.get("cron") is not None and fields.get("every") is not None:
        faults.append(FieldError("/every", "cron and every exclude each other: leave one out"))
    if fields.get("cron") is None and fields.get("every") is None:
        faults.append(FieldError("/cron", "one of cron and every is needed"))
    if fields.get("misfire") == Misfire.ALL and fields.get("overlap", Overlap.SKIP) == Overlap.SKIP:
        faults.append(
            FieldError(
                "/overlap",
                "skip would cancel most of what misfire: all makes up for: write overlap: allow, or misfire: once",
            )
        )
    return faults


def _job_faults(job: JsonValue, handlers: Mapping[str, Handler] | None) -> list[FieldError]:
    if not isinstance(job, dict):
        return []
    faults = [FieldError(pointer("job", key), said) for key, said in _REFUSED_IN_JOB.items() if key in job]
    if handlers is not None:
        try:
            new_job({key: job[key] for key in _JOB_FIELDS if key in job}, handlers, UUID(int=0))
        except InvalidError as e:
            faults += [FieldError(f"/job{fault.pointer}", fault.detail) for fault in e.faults]
    return faults


def _schedule(asked: ScheduleRequest, payload: Mapping[str, JsonValue]) -> Schedule:
    job = asked.job
    return Schedule(
        name=asked.name,
        job=JobTemplate(job.type, payload, job.priority, job.max_retries, job.expires_after),
        cron=asked.cron,
        every=asked.every,
        timezone=asked.timezone,
        misfire=asked.misfire,
        misfire_limit=asked.misfire_limit,
        misfire_age=asked.misfire_age,
        overlap=asked.overlap,
        jitter=asked.jitter,
        start_at=asked.start_at,
        end_at=asked.end_at,
        paused=asked.paused,
    )
