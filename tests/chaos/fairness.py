"""Who waited for whom: starts held against due times, in the parts of a run in which nothing excused a wait.

All times are seconds since 1970. Nothing here asks anybody: it computes from what the ledger and the record say.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

BOUND = 15.0
"""Seconds within which a healthy job starts (promise 13)."""
KILLED = 70.0
"""Seconds within which it starts after a tick was killed (promise 13)."""
GRACE = 15.0
"""Seconds that an outage is felt after its end: a claim's hold, or what a lease lasts."""
ALIVE = 3.0
"""Seconds without any tick after which a wait is the schedule's."""
IDLE = 50
"""Starts a second below which a pool of 100 slots, whose handlers take half a second at most, has room."""
LATER = 5.0
"""Seconds that a job may start after one of its own lane that was due later."""
SPAN = 5.0
"""Seconds over which lanes' shares are compared."""
TURN = 16
"""Starts of one turn: what is fair must come to as many, or it is chance who gets them."""
MEANINGFUL = 50
"""Starts that an even share must come to."""

Window = tuple[float, float]
Lane = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Job:
    """A job's first entry; its `lane` is type and priority."""

    id: str
    lane: Lane
    due: float
    entered: float
    attempt: int = 1


def windows(began: float, ended: float, bad: Iterable[Window]) -> list[Window]:
    """Return what is left of a run when the `bad` parts are taken out."""
    found, at = [], began
    for start, end in sorted(bad):
        if start > at:
            found.append((at, min(start, ended)))
        at = max(at, end)
        if at >= ended:
            break
    if at < ended:
        found.append((at, ended))
    return found


def unattended(began: float, ended: float, lives: Iterable[Window]) -> Iterator[Window]:
    """Yield where no tick was alive for longer than ALIVE."""
    at = began
    for start, end in sorted(lives):
        if start - at > ALIVE:
            yield at, start
        at = max(at, end)
    if ended - at > ALIVE:
        yield at, ended


def waited(jobs: Iterable[Job], good: Sequence[Window], starts: Iterable[float]) -> dict[str, float]:
    """Return the jobs that waited for longer than BOUND within one window while their pool had room.

    A second counts when the pool started fewer than IDLE jobs in it: a job behind a backlog that is being drained
    waits for capacity. `starts` are all of the pool's.
    """
    busy = Counter(int(at) for at in starts)
    found: dict[str, float] = {}
    for job in jobs:
        for began, ended in good:
            start, end = max(job.due, began), min(job.entered, ended)
            if end - start <= BOUND:
                continue
            idle = (end - start) - sum(busy[second] >= IDLE for second in range(int(start), int(end) + 1))
            if idle > BOUND:
                found[job.id] = max(found.get(job.id, 0.0), idle)
    return found


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A job that waited on while one of its own lane that was due later had started."""

    id: str
    lane: Lane
    since: float
    """When the other one started."""
    until: float


def overtaken(jobs: Iterable[Job], good: Sequence[Window]) -> list[Overtaken]:
    """Return first attempts that started LATER after one of their lane that was due later, within one window."""
    lanes: dict[Lane, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.attempt == 1:
            lanes[job.lane].append(job)
    found: dict[str, Overtaken] = {}
    for lane, ones in lanes.items():
        ones.sort(key=lambda job: job.due, reverse=True)
        for began, ended in good:
            first, passed = (
                inf,
                inf,
            )  # the earliest start of those due later; that of those due at the same time, too
            due = inf
            for job in ones:
                if job.due < due:
                    due, first = job.due, min(first, passed)
                if job.entered >= began:
                    until = min(job.entered, ended)
                    if until - first > LATER:
                        found[job.id] = Overtaken(job.id, lane, first, until)
                    passed = min(passed, job.entered)
    return list(found.values())


def excused(found: Sequence[Overtaken], released: Iterable[tuple[float, int]]) -> list[Overtaken]:
    """Return those that no tick can have handed back: each that ended meanwhile excuses as many as it released."""
    left = sorted(found, key=lambda one: one.until)
    for at, count in sorted(released):
        spared = 0
        kept = []
        for one in left:
            if spared < count and one.since - LATER <= at <= one.until + 1:
                spared += 1
            else:
                kept.append(one)
        left = kept
    return left


@dataclass(frozen=True, slots=True)
class Short:
    """A lane that got less than half of what was fair."""

    lane: Lane
    at: float
    starts: int
    fair: float


def shares(
    jobs: Iterable[Job], good: Sequence[Window], starts: Mapping[Lane, Sequence[float]]
) -> tuple[int, list[Short]]:
    """Return how many times lanes were compared, and those that came short.

    Lanes of one priority are compared over SPAN, those that have a job that was due before and started after it:
    what they had was not all started. Fair is an even share, or all that a lane had, where that was less: the
    others get what it did not use. `starts` are all of each lane's, in order.
    """
    waiting: dict[Lane, list[tuple[float, float]]] = defaultdict(list)
    for job in jobs:
        if job.entered - job.due > SPAN:
            waiting[job.lane].append((job.due, job.entered))
    compared, found = 0, []
    for began, ended in good:
        for at in (began + n * SPAN for n in range(int((ended - began) / SPAN))):
            got: dict[int, dict[Lane, tuple[int, int]]] = defaultdict(dict)
            for lane, waits in waiting.items():
                if left := sum(due <= at and entered >= at + SPAN for due, entered in waits):
                    times = starts.get(lane, ())
                    count = bisect_left(times, at + SPAN) - bisect_left(times, at)
                    got[lane[1]][lane] = (count, count + left)
            for lanes in got.values():
                total = sum(count for count, _ in lanes.values())
                if len(lanes) > 1 and total >= MEANINGFUL * len(lanes):
                    compared += 1
                    fair = dealt(total, {lane: had for lane, (_, had) in lanes.items()})
                    found += [
                        Short(lane, at, count, fair[lane])
                        for lane, (count, _) in lanes.items()
                        if fair[lane] >= TURN and count < fair[lane] / 2
                    ]
    return compared, found


def dealt(total: float, had: Mapping[Lane, int]) -> dict[Lane, float]:
    """Deal `total` starts evenly, to no lane more than it had."""
    fair: dict[Lane, float] = {}
    for n, lane in enumerate(sorted(had, key=lambda lane: had[lane])):
        fair[lane] = min(had[lane], (total - sum(fair.values())) / (len(had) - n))
    return fair
