"""Time zones: which names are taken, and where a zone's clock is set forward or back.

The rules come from the `tzdata` package alone, never from the machine: every function of a deployment then knows
the same rules, and an update of them is an update of the lock file.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

_MAX_NAME = 64
"""Characters; the longest name of the database has 32."""
_PSEUDO = frozenset({"Factory", "localtime", "posixrules"})
"""What a database holds beside places: no schedule can mean them."""
_STEP = timedelta(days=3)
"""Since 1970 no zone has changed its clock twice within six days, so steps of three miss no change."""
_SECOND = timedelta(seconds=1)


@lru_cache(maxsize=1024)
def zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name such as `Europe/Berlin`.

    Raises ValueError, with a sentence that helps, for another name.
    """
    if name not in _names():
        raise ValueError(_refusal(name))
    if name == "UTC":
        return UTC
    from importlib.resources import files  # noqa: PLC0415 - only schedules need it, and they are created rarely
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - likewise

    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=name)


def offset(place: tzinfo, at: datetime) -> timedelta:
    """Return how far `place` is ahead of UTC at the instant `at`."""
    return at.astimezone(place).utcoffset() or timedelta()


def first_change(place: tzinfo, after: datetime, until: datetime) -> datetime | None:
    """Return the first instant in (`after`, `until`] with another offset than `after`, None without one."""
    before, low = offset(place, after), after
    while low < until:
        high = min(low + _STEP, until)
        if offset(place, high) != before:
            return _bisect(place, low, high)
        low = high
    return None


def instant(place: tzinfo, wall: datetime) -> datetime:
    """Return the first instant at which clocks in `place` show `wall`; for one they skip, the end of the gap."""
    before = offset_of_wall(place, wall, fold=0)
    first = (wall - before).replace(tzinfo=UTC)
    if (first.astimezone(place)).replace(tzinfo=None) == wall:
        return first
    after = offset_of_wall(place, wall, fold=1)
    return _bisect(place, (wall - after).replace(tzinfo=UTC), first)


def offset_of_wall(place: tzinfo, wall: datetime, *, fold: int) -> timedelta:
    """Return the offset of a wall time: with `fold` 0 the one before a change around it, with 1 the one after."""
    return wall.replace(tzinfo=place, fold=fold).utcoffset() or timedelta()


def _bisect(place: tzinfo, low: datetime, high: datetime) -> datetime:
    """Return the instant of the change in (`low`, `high`], to the second; changes happen on whole seconds."""
    before, low = offset(place, low), low.replace(microsecond=0)
    while high - low > _SECOND:
        middle = low + (high - low) // (2 * _SECOND) * _SECOND
        if offset(place, middle) == before:
            low = middle
        else:
            high = middle
    return low + _SECOND


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    from importlib.resources import files  # noqa: PLC0415 - as above

    return frozenset(files("tzdata").joinpath("zones").read_text("ascii").split()) - _PSEUDO


def _refusal(name: str) -> str:
    if name in _PSEUDO:
        return f"{name} names no place: write a name of the IANA time-zone database, such as Europe/Berlin or UTC"
    short = name[:_MAX_NAME]
    bare = short.removeprefix(":").removeprefix("posix/").removeprefix("right/")
    meant = next((each for each in _names() if each.lower() == bare.lower().replace(" ", "_")), None)
    if meant:
        return f"no such time zone: {short!r}; did you mean {meant}?"
    return (
        f"no such time zone: {short!r}; write a name of the IANA time-zone database, such as Europe/Berlin or UTC"
    )
