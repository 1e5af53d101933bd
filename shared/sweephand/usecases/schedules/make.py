"""Make jobs of a schedule beside its fires: one now, or those of a range in the past."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from uuid import uuid5

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sweephand.domain.errors import FieldError, InvalidError, ScheduleChangedError, ScheduleNotFoundError
from sweephand.domain.fires import backfill_fires
from sweephand.domain.handler import Handler
from sweephand.domain.job import JobJson
from sweephand.domain.json_value import JsonValue
from sweephand.domain.request import Instant, faults_of
from sweephand.domain.schedule import Schedule
from sweephand.domain.schedule_request import new_schedule
from sweephand.ports.clock import Randomness
from sweephand.ports.record import Created, CreateOutcome
from sweephand.ports.schedules import Schedules, Stored
from sweephand.usecases.create import checked_key
from sweephand.usecases.schedules.change import found

MAX_REACH = timedelta(days=366)
"""How far back a backfill reaches; the record remembers fires for a while longer (`sweephand.remember_fires`)."""
MOST_FIRES = 1000
"""Fires that one backfill looks at, at most."""
DEFAULT_FIRES = 100
_MS = timedelta(milliseconds=1)


class BackfillRequest(BaseModel):
    """A range of the past, both ends included, and where to go on in it."""

    model_config = ConfigDict(extra="forbid", strict=True, title="BackfillRequest")

    begin: Annotated[Instant, Field(alias="from", description="The first instant: at most 366 days ago.")]
    end: Annotated[Instant, Field(alias="to", description="The last instant, which has passed.")]
    after: Instant | None = Field(default=None, description="`next` of the answer before: where to go on.")
    limit: int = Field(default=DEFAULT_FIRES, ge=1, le=MOST_FIRES, description="Fires to look at, at most.")


@dataclass(frozen=True, slots=True)
class RunNow:
    """Makes a job of a schedule now, beside its fires. The job has no `fire_at`; a paused schedule may be run."""

    schedules: Schedules
    chance: Randomness
    handlers: Mapping[str, Handler]
    announce: Callable[[Created], None]
    """Tells of the job, as of any that is created."""

    def __call__(self, name: str, key: tuple[str, str] | None = None) -> tuple[JobJson, bool]:
        """Return the job, and whether it is a replay of a request with the same `key`.

        `key` is who calls and the Idempotency-Key: the job's id is made of them, so that asking again finds the
        same job. Raises `ScheduleNotFoundError`, `InvalidError`, `RecordUnavailableError`.
        """
        stored = found(self.schedules.get(name))
        expires_after = new_schedule(stored.body, self.handlers).job.expires_after
        job = self.chance.job_id() if key is None else uuid5(stored.id, f"{key[0]} {checked_key(key[1])}")
        made = self.schedules.run(name, job, None if expires_after is None else expires_after // _MS)
        if made is None:
            raise ScheduleNotFoundError
        if made.created:
            waits = [made.wait_ms]
            self.announce(Created(CreateOutcome.CREATED, made.installation, [made.job], waits, made.asked_ms))
        return made.job, not made.created


def backfill(
    schedules: Schedules, handlers: Mapping[str, Handler], name: str, body: JsonValue
) -> dict[str, JsonValue]:
    """Make jobs of a schedule's fires in a range of the past; those that were made before stay as they are.

    Returns `{made, existed, next}`; `next` is where to go on, None when the range is done.
    Raises `ScheduleNotFoundError`, `ScheduleChangedError`, `InvalidError`, `RecordUnavailableError`.
    """
    try:
        asked = BackfillRequest.model_validate(body)
    except ValidationError as e:
        raise InvalidError(faults_of(e, body)) from e
    stored = found(schedules.get(name))
    if faults := list(_out_of_range(asked, stored.now)):
        raise InvalidError(faults)
    schedule = new_schedule(stored.body, handlers)
    part = backfill_fires(schedule, asked.begin, asked.end, asked.after, at_most=asked.limit)
    made = schedules.backfill(stored, [[at.isoformat(), _expires_at(schedule, stored)] for at in part.fires])
    if made is None:
        raise ScheduleChangedError
    return {
        "made": made,
        "existed": len(part.fires) - made,
        "next": None if part.after is None else part.after.isoformat().replace("+00:00", "Z"),
    }


def _expires_at(schedule: Schedule, stored: Stored) -> str | None:
    """Return until when a job that is due now may start."""
    after = schedule.job.expires_after
    return None if after is None else (stored.now + after).isoformat()


def _out_of_range(asked: BackfillRequest, now: datetime) -> list[FieldError]:
    faults = []
    if asked.begin < now - MAX_REACH:
        faults.append(FieldError("/from", f"lies more than {MAX_REACH.days} days back, beyond what is remembered"))
    if asked.end > now:
        faults.append(FieldError("/to", "lies in the future: ticks make the fires to come"))
    if asked.end < asked.begin:
        faults.append(FieldError("/to", "lies before `from`"))
    return faults
