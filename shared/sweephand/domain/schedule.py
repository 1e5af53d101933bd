"""A schedule: when jobs are made, from which template, and what becomes of missed and overlapping ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from sweephand.domain.cron import Cron, DstClass, expanded, kind
from sweephand.domain.every import Every, written
from sweephand.domain.json_value import JsonValue
from sweephand.domain.zone import zone


class Misfire(StrEnum):
    """What becomes of fires that were missed."""

    SKIP = "skip"
    """None is made up for."""
    ONCE = "once"
    """The latest stands for all."""
    ALL = "all"
    """Each is made up for, the latest `misfire_limit` at most."""


class Overlap(StrEnum):
    """What becomes of a fire while another job of the schedule runs or waits for a retry."""

    ALLOW = "allow"
    """It starts beside the other."""
    SKIP = "skip"
    """It is cancelled."""


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """What each job of a schedule is made of."""

    type: str
    payload: Mapping[str, JsonValue]
    priority: int = 0
    max_retries: int = 3
    expires_after: timedelta | None = None
    """How long after a job is due it may still start; None: for ever."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A valid schedule. Exactly one of `cron` and `every` is set."""

    name: str
    job: JobTemplate
    cron: str | None = None
    """As it was written; `expanded` gives its five fields."""
    every: timedelta | None = None
    timezone: str = "UTC"
    misfire: Misfire = Misfire.ONCE
    misfire_limit: int = 100
    """How many missed fires `all` makes up for: 1 to 1000."""
    misfire_age: timedelta = timedelta(days=7)
    """No fire that was missed longer ago is made up for."""
    overlap: Overlap = Overlap.SKIP
    jitter: timedelta = timedelta()
    start_at: datetime | None = None
    end_at: datetime | None = None
    """The last instant at which it may fire."""
    paused: bool | None = None
    """None: not said, so a new schedule runs, and a replaced one stays as it was."""


class Timetable(Protocol):
    """The fires of a schedule, all in UTC."""

    def after(self, instant: datetime, /) -> Iterator[datetime]:
        """Yield the fires strictly later than `instant`, each later than the one before."""
        ...

    def count(self, after: datetime, until: datetime, /) -> int:
        """Return how many fires lie in (`after`, `until`]."""
        ...

    def last(self, after: datetime, until: datetime, most: int, /) -> list[datetime]:
        """Return the last `most` fires in (`after`, `until`], in order."""
        ...


def timetable(schedule: Schedule) -> Timetable:
    """Return when `schedule` fires by its `cron` or `every` alone: `every` counts from the start, no end holds."""
    if schedule.every is not None:
        return Every(schedule.every, schedule.start_at)
    return Cron(expanded(schedule.cron), zone(schedule.timezone))


def dst_class(schedule: Schedule) -> DstClass:
    """Return what `schedule` does when clocks are set forward or back."""
    if schedule.cron is None:
        return DstClass.ELAPSED
    return kind(expanded(schedule.cron))


def as_json(schedule: Schedule) -> dict[str, JsonValue]:
    """Return `schedule` as a request for it, every field written out: equal for equal schedules.

    `paused` is left out where it is not said.
    """
    job = schedule.job
    fields: dict[str, JsonValue] = {
        "name": schedule.name,
        "cron": schedule.cron,
        "every": _duration(schedule.every),
        "timezone": schedule.timezone,
        "job": {
            "type": job.type,
            "payload": job.payload,
            "priority": job.priority,
            "max_retries": job.max_retries,
            "expires_after": _duration(job.expires_after),
        },
        "misfire": schedule.misfire.value,
        "misfire_limit": schedule.misfire_limit,
        "misfire_age": written(schedule.misfire_age),
        "overlap": schedule.overlap.value,
        "jitter": written(schedule.jitter),
        "start_at": _time(schedule.start_at),
        "end_at": _time(schedule.end_at),
    }
    return fields if schedule.paused is None else {**fields, "paused": schedule.paused}


def _duration(value: timedelta | None) -> str | None:
    return None if value is None else written(value)


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(timespec="microseconds").replace("+00:00", "Z")
