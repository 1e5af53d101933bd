"""ISO 8601 durations, and instants that lie one duration apart."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LONGEST = timedelta(days=3660)
"""The longest duration anywhere in a schedule: ten years."""
_DURATION = re.compile(
    r"P(?=.)(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?=.)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?\Z", re.ASCII
)
_CALENDAR = re.compile(r"P[\d.,WD]*\d[YM]", re.ASCII)
_FRACTION = re.compile(r"P[\dWDTHMS]*\d[.,]\d", re.ASCII)


def duration(text: object, *, least: timedelta = SECOND, most: timedelta = LONGEST) -> timedelta:
    """Return the time that an ISO 8601 duration of weeks, days, hours, minutes and whole seconds lasts.

    A day is 24 hours. Raises ValueError, and says what to write, for another text and outside `least` to `most`.
    """
    found = _DURATION.match(text) if isinstance(text, str) else None
    if not found:
        raise ValueError(_refusal(text))
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    value = timedelta(0)
    try:
        value = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        value = timedelta.max
    if not least <= value <= most:
        raise ValueError(f"must be {written(least)} to {written(most)}")
    return value


def written(value: timedelta) -> str:
    """Return `value`, whole seconds, as the shortest ISO 8601 duration that `duration` reads back."""
    days, rest = value.days, value.seconds
    clock = "".join(
        f"{n}{unit}" for n, unit in ((rest // 3600, "H"), (rest // 60 % 60, "M"), (rest % 60, "S")) if n
    )
    return "P" + (f"{days}D" if days else "") + (f"T{clock}" if clock else "" if days else "T0S")


def _refusal(text: object) -> str:
    short = str(text)[:40]
    if isinstance(text, str) and _CALENDAR.match(text):
        return f"{short}: months and years differ in length: write weeks (P4W), days (P30D) or a cron expression"
    if isinstance(text, str) and _FRACTION.match(text):
        return f"{short}: no fractions: write a smaller unit, such as PT30M for half an hour"
    return "not an ISO 8601 duration, such as PT15M, PT1H30M, P1D or P1W"


class Every:
    """Instants one `period` apart, counted from `anchor` and not before it, or from 1970 without an anchor."""

    def __init__(self, period: timedelta, anchor: datetime | None) -> None:
        self._period = period
        self._anchor = anchor or EPOCH
        self._first = 0 if anchor else None

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Yield the instants strictly later than `instant`, in order."""
        at = self._index(instant) + 1
        while True:
            try:
                yield self._anchor + at * self._period
            except OverflowError:
                return
            at += 1

    def count(self, after: datetime, until: datetime) -> int:
        """Return how many instants lie in (`after`, `until`]."""
        return max(0, self._index(until) - self._index(after))

    def last(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        """Return the last `most` instants in (`after`, `until`], in order."""
        end = self._index(until)
        begin = max(self._index(after), end - most)
        return [self._anchor + at * self._period for at in range(begin + 1, end + 1)]

    def _index(self, instant: datetime) -> int:
        """Return the index of the last instant that is not later than `instant`: -1 before the anchor."""
        at = (instant - self._anchor) // self._period
        return at if self._first is None else max(at, -1)
