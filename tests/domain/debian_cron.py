"""What Debian's cron does, minute by minute: the loop of its `cron.c`, and nothing of the code under test.

The daemon keeps a virtual time beside the clock's. As long as the clock moves by single minutes both are the same.
When the clock jumps ahead (5 minutes to 3 hours), it runs what has a star for the minute that the clock shows, and
of the other entries each minute that was jumped over. When the clock jumps back (less than 3 hours), it runs only
what has a star, until the clock has caught up with the virtual time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall time
MINUTE = timedelta(minutes=1)
MEDIUM = 3 * 60


def numbers(field: str, low: int, high: int) -> Iterator[int]:
    """Yield the numbers that a field of numbers, ranges, steps and lists names."""
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            begin, end = low, high
        else:
            first, _, last = span.partition("-")
            begin, end = int(first), int(last or first)
        yield from range(begin, end + 1, int(step or 1))


@dataclass
class Entry:
    """A crontab's entry, as Debian's `entry.c` reads it."""

    text: str

    def __post_init__(self) -> None:
        fields = self.text.split()
        sets = [set(numbers(field, *RANGES[at])) for at, field in enumerate(fields)]
        self.minutes, self.hours, self.days, self.months, self.weekdays = sets
        if self.weekdays & {0, 7}:
            self.weekdays |= {0, 7}
        self.star = fields[0][0] == "*" or fields[1][0] == "*"
        self.both_days = fields[2][0] == "*" or fields[4][0] == "*"

    def matches(self, minute: int) -> bool:
        """Say whether the wall time of `minute`, minutes since 1970, matches."""
        if minute % 60 not in self.minutes or minute // 60 % 24 not in self.hours:
            return False
        wall = EPOCH + minute * MINUTE
        if wall.month not in self.months:
            return False
        day, weekday = wall.day in self.days, wall.isoweekday() in self.weekdays
        return (day and weekday) if self.both_days else (day or weekday)


def clock(place: tzinfo, begin: datetime, minutes: int) -> list[tuple[datetime, int]]:
    """Return each minute from `begin` and what the wall clock shows then, in minutes since 1970."""
    instants = [begin + at * MINUTE for at in range(minutes)]
    return [(at, (at.astimezone(place).replace(tzinfo=None) - EPOCH) // MINUTE) for at in instants]


def fires(entry: Entry, ticks: Iterable[tuple[datetime, int]]) -> list[datetime]:
    """Return the minutes at which the daemon runs `entry`; running it twice in one minute counts once."""
    found: list[datetime] = []
    virtual: int | None = None
    for at, running in ticks:
        run = False
        jump = 1 if virtual is None else running - virtual
        if virtual is None or jump > MEDIUM or jump <= -MEDIUM:
            virtual = running
            run = entry.matches(running)
        elif jump > 5:
            run = entry.star and entry.matches(running)
            while virtual < running:
                virtual += 1
                run |= not entry.star and entry.matches(virtual)
        elif jump > 0:
            while virtual < running:
                virtual += 1
                run |= entry.matches(virtual)
        else:
            run = entry.star and entry.matches(running)
        if run:
            found.append(at)
    return found


def changes(place: tzinfo, year: int) -> list[datetime]:
    """Return the hours in `year` within which the zone's clock changes."""
    at, found = datetime(year, 1, 1, tzinfo=UTC), []
    before = at.astimezone(place).utcoffset()
    while at.year == year:
        at += timedelta(hours=1)
        now = at.astimezone(place).utcoffset()
        if now != before:
            found.append(at)
        before = now
    return found
