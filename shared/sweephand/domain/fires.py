"""Which fires of a schedule become jobs now: pure, and of bounded work however long the schedule slept."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain, islice, pairwise, takewhile
from typing import NamedTuple, TypeAlias
from uuid import UUID

from sweephand.domain.every import EPOCH
from sweephand.domain.schedule import Misfire, Schedule, Timetable, timetable

AT_MOST = 100
"""Jobs of one schedule in one call."""
_TICK = timedelta(microseconds=1)


class Skipped(StrEnum):
    """Why a missed fire is not made up for."""

    POLICY = "misfire_skip"
    """The schedule says `misfire: skip`."""
    SUPERSEDED = "superseded"
    """`misfire: once`, and a later one stands for it."""
    OVER_LIMIT = "over_limit"
    """`misfire: all`, and `misfire_limit` later ones are made up for."""
    TOO_OLD = "too_old"
    """It was missed longer ago than `misfire_age`."""


class Limits(NamedTuple):
    """How far a call looks ahead and back, and how much it makes."""

    ahead: timedelta = timedelta(seconds=120)
    """How long before it is due a fire becomes a job: two ticks."""
    grace: timedelta = timedelta(seconds=120)
    """A fire is missed when it is later than this: two ticks."""
    at_most: int = AT_MOST
    """Jobs of one schedule in one call."""


LIMITS = Limits()


class Standing(NamedTuple):
    """How far a schedule has come; the record keeps it beside the schedule."""

    id: UUID
    """The schedule's: its jitter hangs on it, so it stays when the schedule is replaced."""
    cursor: datetime
    """Every fire up to here has been decided: at first when it was made or resumed."""
    next_fire: datetime | None = None
    """As the last plan said; None: not known, as after a change of the schedule."""


class Fire(NamedTuple):
    """One fire that becomes a job."""

    at: datetime
    """The instant that the schedule names (`fire_at`): with the schedule's id the key of its job."""
    due_at: datetime
    """When the job is due: `at` and its jitter."""
    missed: bool
    """It is made up for: it is late by more than the grace."""


class Plan(NamedTuple):
    """What is to be done with a schedule now."""

    fires: tuple[Fire, ...]
    """In order; each becomes a job."""
    skipped: Mapping[Skipped, int]
    """How many fires are not made up for, by reason; only reasons that occurred."""
    cursor: datetime
    """Every fire up to here has been decided."""
    next_fire: datetime | None
    """The first fire that has not been decided; None: it never fires again."""
    look_at: datetime | None
    """When `next_fire` can become a job, in the past if there is more to do at once; None: never again."""


class Backfill(NamedTuple):
    """A part of the fires of a range."""

    fires: tuple[datetime, ...]
    """In order."""
    after: datetime | None
    """Where to go on; None: the range is done."""


def next_fires(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """Return the next `count` fires strictly later than `after`, fewer if it ends; a pause does not count."""
    return list(islice(_Bounded(schedule).after(after), count))


def first_look(
    schedule: Schedule, standing: Standing, limits: Limits = LIMITS
) -> tuple[datetime | None, datetime | None]:
    """Return the first fire after the cursor and when it can become a job; None, None if paused or without one."""
    first = None if schedule.paused else next(_Dated(schedule, standing.id).after(standing.cursor), None)
    return (None, None) if first is None else (first[0], first[1] - limits.ahead)


def fires_to_make(schedule: Schedule, standing: Standing, now: datetime, limits: Limits = LIMITS) -> Plan:
    """Return which fires after the cursor become jobs at `now`, which are skipped, and when to look again.

    The time-zone database may have changed since the plan that named `next_fire`. Between the cursor and
    `next_fire` the old rules knew no fire: one that the new rules find there, nearer to the cursor than to
    `next_fire`, was made already, at its old instant.
    """
    if schedule.paused:
        return Plan((), {}, standing.cursor, None, None)
    dated = _Dated(schedule, standing.id)
    since = _since(standing)
    missed = _missed(dated, since, now - limits.grace)
    chosen, skipped = _chosen(dated, missed, now)
    fires = [Fire(at, due, missed=True) for at, due in chosen[: limits.at_most]]
    if left := chosen[limits.at_most :]:
        return Plan(tuple(fires), skipped, fires[-1].at, left[0][0], left[0][1] - limits.ahead)
    decided = missed.latest[-1][0] if missed.latest else None
    for at, due in dated.after(decided or since):
        if len(fires) >= limits.at_most or due > now + limits.ahead:
            return Plan(tuple(fires), skipped, decided or standing.cursor, at, due - limits.ahead)
        fires.append(Fire(at, due, missed=False))
        decided = at
    return Plan(tuple(fires), skipped, decided or standing.cursor, None, None)


def backfill_fires(
    schedule: Schedule, begin: datetime, end: datetime, after: datetime | None = None, *, at_most: int = AT_MOST
) -> Backfill:
    """Return the fires from `begin` to `end`, both included, that are later than `after`, at most `at_most`.

    The schedule's own start and end hold; a pause does not.
    """
    since = begin - _TICK if after is None else max(after, begin - _TICK)
    within = takewhile(lambda fire: fire <= end, _Bounded(schedule).after(since))
    fires = tuple(islice(within, at_most))
    return Backfill(fires, fires[-1] if fires and next(within, None) is not None else None)


class _Bounded:
    """A schedule's timetable between its start and its end."""

    def __init__(self, schedule: Schedule) -> None:
        self._table: Timetable = timetable(schedule)
        self._start = schedule.start_at if schedule.every is None else None
        self._end = schedule.end_at

    def after(self, instant: datetime) -> Iterator[datetime]:
        fires = self._table.after(self._begin(instant))
        end = self._end
        return fires if end is None else takewhile(lambda fire: fire <= end, fires)

    def count(self, after: datetime, until: datetime) -> int:
        after, until = self._begin(after), self._until(until)
        return self._table.count(after, until) if after < until else 0

    def last(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        after, until = self._begin(after), self._until(until)
        return self._table.last(after, until, most) if after < until else []

    def _begin(self, instant: datetime) -> datetime:
        return instant if self._start is None else max(instant, self._start)

    def _until(self, instant: datetime) -> datetime:
        return instant if self._end is None else min(instant, self._end)


DatedFire: TypeAlias = tuple[datetime, datetime]
"""A fire, and when its job is due."""


class _Dated:
    """A schedule's fires, and when the job of each is due: always before the next fire."""

    def __init__(self, schedule: Schedule, schedule_id: UUID) -> None:
        self.schedule = schedule
        self.table = _Bounded(schedule)
        self._id = schedule_id

    def after(self, instant: datetime) -> Iterator[DatedFire]:
        """Yield the fires strictly later than `instant`."""
        jitter = self.schedule.jitter
        if not jitter:
            yield from ((at, at) for at in self.table.after(instant))
            return
        for at, following in pairwise(chain(self.table.after(instant), (None,))):
            if at is not None:
                span = jitter if following is None else min(jitter, following - at)
                yield at, at + self._share(at) * (span // _TICK) // _WHOLE * _TICK

    def _share(self, at: datetime) -> int:
        """Return a number below _WHOLE that schedule and fire alone decide, spread evenly."""
        text = f"{self._id} {(at - EPOCH) // _TICK}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


_WHOLE = 2**64


class _Missed(NamedTuple):
    """The missed fires after `since`."""

    since: datetime
    total: int
    latest: Sequence[DatedFire]
    """In order; all, or at least as many as may be made up for."""


def _since(standing: Standing) -> datetime:
    """Return after which instant fires are still to come."""
    if standing.next_fire is None or standing.next_fire <= standing.cursor:
        return standing.cursor
    return standing.cursor + (standing.next_fire - standing.cursor) / 2


def _missed(dated: _Dated, since: datetime, until: datetime) -> _Missed:
    """Return the fires after `since` that are due before `until`.

    A job is due before the next fire, so of the fires up to `until` only the last may be due later.
    """
    wanted = _limit(dated.schedule) + 1
    found = dated.table.last(since, until, wanted)
    if not found:
        return _Missed(since, 0, ())
    latest = list(islice(dated.after(found[0] - _TICK), len(found)))
    total = dated.table.count(since, until) if len(found) == wanted else len(found)
    if latest[-1][1] >= until:
        latest.pop()
        total -= 1
    return _Missed(since, total, latest)


def _limit(schedule: Schedule) -> int:
    return schedule.misfire_limit if schedule.misfire is Misfire.ALL else 1


def _chosen(dated: _Dated, missed: _Missed, now: datetime) -> tuple[Sequence[DatedFire], dict[Skipped, int]]:
    """Return which missed fires are made up for, in order, and how many are not."""
    schedule = dated.schedule
    if schedule.misfire is Misfire.SKIP:
        return (), _counted({Skipped.POLICY: missed.total})
    oldest = now - schedule.misfire_age
    chosen = [each for each in missed.latest if each[0] >= oldest][-_limit(schedule) :]
    old = min(missed.total, dated.table.count(missed.since, oldest - _TICK)) if missed.total else 0
    reason = Skipped.OVER_LIMIT if schedule.misfire is Misfire.ALL else Skipped.SUPERSEDED
    return chosen, _counted({Skipped.TOO_OLD: old, reason: missed.total - old - len(chosen)})


def _counted(skipped: dict[Skipped, int]) -> dict[Skipped, int]:
    return {reason: count for reason, count in skipped.items() if count}
