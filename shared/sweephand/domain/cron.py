"""Cron expressions: what is taken, and when they fire.

`cronsim` reads the fields and walks through wall times; where a zone's clock is set forward or back, this file
decides, by the rules of Debian's cron. cronsim's own handling of zones is not used: started in the second pass of a
repeated hour, it answers with an instant of the first; and on days when the clock moves by half an hour (Lord Howe)
it misses fires.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING

from sweephand.domain.zone import first_change, instant, offset

if TYPE_CHECKING:
    from cronsim import CronSim

MAX_EXPRESSION = 500
"""Characters; all sixty minutes and all hours written out take 300."""
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day-of-month", "1-31, L (the last day) and LW (the last weekday)"),
    ("month", "1-12 and JAN-DEC"),
    ("day-of-week", "0-7 and SUN-SAT (0 and 7 are Sunday), 5L (the last Friday) and MON#2 (the second Monday)"),
)
_CHARACTERS = re.compile(r"[0-9A-Za-z*,/#-]+\Z")
_LAST_STEP = re.compile(r"\bLW?/", re.IGNORECASE)
_LONG_STEP = re.compile(r"/0*(\d+)")
_STEPS = (60, 24)
"""The largest step in a minute and in an hour field."""
_START = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall time
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_FIRST_WINDOW = timedelta(hours=1)


class DstClass(StrEnum):
    """What a schedule does when clocks are set forward or back."""

    FIXED_TIME = "fixed_time"
    """A time in the gap fires at the end of the gap; one in the repeated hour fires in its first pass alone."""
    REAL_TIME = "real_time"
    """What the clock shows decides: nothing fires in the gap, and the repeated hour counts twice."""
    ELAPSED = "elapsed"
    """Only elapsed time counts (`every`): no clock on a wall matters."""


def expanded(expression: object) -> str:
    """Return the five fields of `expression`, upper case, a macro written out.

    Raises ValueError, with a sentence that helps, for what is no cron expression and for one that never fires.
    """
    if not isinstance(expression, str):
        raise ValueError("not a text of five fields, such as 0 9 * * MON-FRI")  # noqa: TRY004 - pydantic's way
    if len(expression) > MAX_EXPRESSION:
        raise ValueError(f"longer than {MAX_EXPRESSION} characters")
    return _expanded(expression)


@lru_cache(maxsize=4096)
def _expanded(expression: str) -> str:
    fields = _fields(expression)
    for at, field in enumerate(fields):
        _check(at, field)
    text = " ".join(_without_lone_steps(at, field) for at, field in enumerate(fields))
    if next(_walls(text, _START), None) is None:
        raise ValueError("no date matches, so it would never fire")
    return text


def kind(expression: str) -> DstClass:
    """Return the class of an expression that `expanded` returned: real time if minute or hour begins with `*`."""
    minute, hour, *_ = expression.split()
    return DstClass.REAL_TIME if minute.startswith("*") or hour.startswith("*") else DstClass.FIXED_TIME


class Cron:
    """The instants at which an expression that `expanded` returned fires in `place`, all in UTC."""

    def __init__(self, expression: str, place: tzinfo) -> None:
        self._expression = expression
        self._place = place
        self._fixed = kind(expression) is DstClass.FIXED_TIME

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Yield the fires strictly later than `instant`, each later than the one before."""
        try:
            yield from self._fixed_times(instant) if self._fixed else self._real_times(instant)
        except OverflowError:  # the end of the year 9999
            return

    def count(self, after: datetime, until: datetime) -> int:
        """Return how many fires lie in (`after`, `until`], by the day: a year takes about a millisecond."""
        total, at = 0, after
        calm = after + _DAY  # a repeated hour that `after` lies in has then passed
        while at < until:
            if at < calm:
                stop = min(calm, until)
                total += len(self._between(at, stop))
            else:
                change = first_change(self._place, at, until + _DAY)
                stop = max(at, min(until, change - _DAY)) if change else until
                total += self._count_walls(self._wall(at), self._wall(stop))
                calm = change + _DAY if change else calm
            at = stop
        return total

    def last(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        """Return the last `most` fires in (`after`, `until`], in order."""
        window = _FIRST_WINDOW
        while True:
            begin = max(after, until - window) if until - after > window else after
            found = self._between(begin, until)
            if len(found) >= most or begin == after:
                return found[-most:] if most > 0 else []
            window *= 2

    def _between(self, after: datetime, until: datetime) -> list[datetime]:
        return list(takewhile(lambda fire: fire <= until, self.after(after)))

    def _wall(self, at: datetime) -> datetime:
        return at.astimezone(self._place).replace(tzinfo=None)

    def _fixed_times(self, after: datetime) -> Iterator[datetime]:
        last = after
        for wall in _walls(self._expression, self._wall(after)):
            fire = instant(self._place, wall)
            if fire > last:
                yield fire
                last = fire

    def _real_times(self, after: datetime) -> Iterator[datetime]:
        begin, wall = after, self._wall(after)
        while True:
            ahead = offset(self._place, begin)
            change = None
            for match in _walls(self._expression, wall):
                fire = (match - ahead).replace(tzinfo=UTC)
                if change := first_change(self._place, begin, fire):
                    break
                yield fire
                begin = fire
            if change is None:
                return
            begin, wall = change, self._wall(change) - _SECOND

    def _count_walls(self, after: datetime, until: datetime) -> int:
        """Return how many wall times in (`after`, `until`] match."""
        sim = _sim(self._expression, _START)
        minutes, hours = sorted(sim.minutes), sorted(sim.hours)
        times = [60 * hour + minute for hour in hours for minute in minutes]

        def matches(day: datetime) -> bool:
            return day.month in sim.months and sim.match_day(day)

        first, end = (at.replace(hour=0, minute=0, second=0, microsecond=0) for at in (after, until))
        days = sum(1 for n in range((end - first).days) if matches(first + n * _DAY))
        total = days * len(times)
        if matches(end):
            total += bisect_right(times, 60 * until.hour + until.minute)
        if matches(first):
            total -= bisect_right(times, 60 * after.hour + after.minute)
        return total


def _fields(expression: str) -> list[str]:
    text = expression.strip(" \t")
    if text.startswith("@"):
        if text.lower() == "@reboot":
            raise ValueError("@reboot: nothing here is ever booted; make a job instead")
        if text.lower() not in MACROS:
            raise ValueError(f"there is no such word; there are: {', '.join(MACROS)}; for a duration use every")
        return MACROS[text.lower()].split()
    fields = [field for field in re.split(r"[ \t]+", text.upper() if text.isascii() else text) if field]
    if fields and fields[0].startswith(("TZ=", "CRON_TZ=")):
        raise ValueError("write the time zone into timezone, not into the expression")
    if len(fields) in {6, 7}:
        raise ValueError(
            f"has {len(fields)} fields, and five are taken: minute hour day-of-month month day-of-week. "
            "There are no seconds and no years: for less than a minute use every, for an end end_at"
        )
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"has {len(fields)} fields, and five are taken: minute hour day-of-month month day-of-week, "
            "such as 0 9 * * MON-FRI"
        )
    return fields


def _check(at: int, field: str) -> None:
    from cronsim import CronSimError  # noqa: PLC0415 - only who reads an expression pays for it

    name, taken = _FIELDS[at]
    if "?" in field:
        raise ValueError(f"{name}: write * for ?, the day fields are combined as docs/schedules.md says")
    try:
        if not _CHARACTERS.match(field) or _LAST_STEP.search(field):
            raise CronSimError  # noqa: TRY301 - refused with what cronsim refuses
        _alone(at, field)
    except (CronSimError, ValueError, AssertionError) as e:
        raise ValueError(
            f"{name} {field[:40]!r} is not taken: it takes {taken}, and of these lists (1,15), "
            "rising ranges (1-5) and steps (*/10, 10-30/5, 5/15)"
        ) from e
    for step in _LONG_STEP.findall(field) if at < len(_STEPS) else ():
        if int(step) > _STEPS[at]:
            raise ValueError(
                f"{name} {field[:40]!r}: steps begin anew in each {('hour', 'day')[at]}, so at most {_STEPS[at]} "
                f"makes sense; for an interval use every, such as PT{step[:9]}{'MH'[at]}"
            )


def _without_lone_steps(at: int, field: str) -> str:
    """Return `field` with each range of one number and a step as that number: cronsim reads 5-5/7 as 5/7."""
    return ",".join(
        span if step and "-" in span and len(_numbers(at, span)) == 1 else f"{span}{slash}{step}"
        for span, slash, step in (part.partition("/") for part in field.split(","))
    )


def _numbers(at: int, field: str) -> Collection[object]:
    sim = _alone(at, field)
    return (sim.minutes, sim.hours, sim.days, sim.months, sim.weekdays)[at]


def _alone(at: int, field: str) -> "CronSim":
    """Return what cronsim makes of one field, with `*` for each other."""
    return _sim(" ".join(field if other == at else "*" for other in range(len(_FIELDS))), _START)


def _sim(expression: str, wall: datetime) -> "CronSim":
    from cronsim import CronSim  # noqa: PLC0415 - as above

    return CronSim(expression, wall)


def _walls(expression: str, after: datetime) -> Iterator[datetime]:
    """Yield the wall times later than `after` that match; cronsim ends where fifty years hold none."""
    from cronsim import CronSimError  # noqa: PLC0415 - as above

    try:
        yield from _sim(expression, after)
    except CronSimError:  # 31 February: it finds that no month is long enough
        return
