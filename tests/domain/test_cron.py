"""Cron expressions, zones and durations: what is taken, what is refused, and when they fire."""

import random
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from itertools import islice, product, takewhile

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from sweephand.domain.cron import MACROS, Cron, DstClass, expanded, kind
from sweephand.domain.every import Every, duration, written
from sweephand.domain.zone import first_change, offset, zone
from tests.domain import debian_cron
from tests.domain.cronsim_vectors import BAD, BAD_PATTERNS, BAD_VALUES, VECTORS

DAY = timedelta(days=1)
LONE = re.compile(r"\b(\d+)-\1\b")
CHANGING = (
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Asuncion",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Pacific/Chatham",
    "Pacific/Easter",
)


def utc(*at: int) -> datetime:
    """Return an instant of UTC."""
    return datetime(*at, tzinfo=UTC)  # type: ignore[misc,arg-type]


def fires(expression: str, place: str, after: datetime, count: int) -> list[datetime]:
    """Return the next fires."""
    return list(islice(Cron(expanded(expression), zone(place)).after(after), count))


@pytest.mark.parametrize(("expression", "place", "start", "expected"), VECTORS)
def test_cronsims_vectors(expression: str, place: str, start: str, expected: list[str]) -> None:
    """Every fire that cronsim's own tests expect is found."""
    after = datetime.fromisoformat(start).replace(tzinfo=zone(place)).astimezone(UTC)
    wanted = [at if at.tzinfo else at.replace(tzinfo=UTC) for at in map(datetime.fromisoformat, expected)]
    assert fires(expression, place, after, len(wanted)) == wanted


def test_cronsims_refusals() -> None:
    """Every expression that cronsim's own tests refuse, or that never fires there, is refused."""
    for text in [*BAD, *(pattern % value for pattern, value in product(BAD_PATTERNS, BAD_VALUES))]:
        with pytest.raises(ValueError, match=r"."):
            expanded(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("* * * * * *", "has 6 fields, and five are taken"),
        ("0 0 * * * * 2030", "has 7 fields"),
        ("", "has 0 fields"),
        ("@reboot", "ever booted"),
        ("@every 5m", "use every"),
        ("TZ=Asia/Tokyo 0 9 * * *", "into timezone"),
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", "into timezone"),
        ("0 0 31 2 *", "never fire"),
        ("0 0 31 2,4,6 *", "never fire"),
        ("1 1 */100 * MON#4", "never fire"),
        ("*/90 * * * *", "PT90M"),
        ("0 */36 * * *", "PT36H"),
        ("0 9 ? * MON", r"write \* for \?"),
        ("0 9 * * FRI-MON", "rising ranges"),
        ("0 0 15W * *", "day-of-month '15W' is not taken"),
        ("0 0 L/2 * *", "is not taken"),
        ("0 0 * * 5L/2", "is not taken"),
        ("5-5/0 0 * * *", "is not taken"),
        ("0 24 * * *", "0-23"),
        ("0 0 * * MONL", "5L"),
        ("0 0 * * \u017fun", "is not taken"),
        ("\u0661 0 * * *", "is not taken"),
        ("1\n2 0 * * *", "is not taken"),
        ("1" * 501, "longer than 500 characters"),
        ("0" * 490 + "61 * * * *"[:10], "minute"),
        (7, "not a text"),
        (None, "not a text"),
    ],
)
def test_refusals_say_what_to_do(text: object, says: str) -> None:
    """What is refused is refused with a sentence that names the fault or the way out."""
    with pytest.raises(ValueError, match=says):
        expanded(text)


@given(st.text(alphabet=[*"0123456789*/-,#LW? @ABMONSU", *(" " * 12)], max_size=30) | st.text(max_size=12))
def test_any_text_is_taken_or_refused(text: str) -> None:
    """Any text is either refused or fires, later than it is asked for."""
    try:
        taken = expanded(text)
    except ValueError:
        return
    assert next(Cron(taken, UTC).after(utc(2026, 1, 1))) > utc(2026, 1, 1)


def test_macros_are_their_fields() -> None:
    """Each word stands for five fields, in any case."""
    for word, fields in MACROS.items():
        assert expanded(word) == expanded(f" {word.upper()}\t") == fields


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 9 L * *", utc(2026, 2, 28, 9)),
        ("0 9 LW * *", utc(2026, 2, 27, 9)),
        ("0 9 * * 5L", utc(2026, 2, 27, 9)),
        ("0 9 * * mon#2", utc(2026, 2, 9, 9)),
        ("5/20 9 * * *", utc(2026, 2, 1, 9, 5)),
        ("8-8/7 9 * * *", utc(2026, 2, 1, 9, 8)),
        ("0 9-9/1 * FEB-2/3 SUN-0/2", utc(2026, 2, 1, 9)),
        ("0 9 * feb-mar sun", utc(2026, 2, 1, 9)),
        ("0 9 1-7 * */7", utc(2026, 2, 1, 9)),
        ("0 9 13 * FRI", utc(2026, 2, 6, 9)),
        ("*/10 * */2 * SUN", utc(2026, 2, 1, 0, 10)),
    ],
)
def test_what_the_fields_mean(expression: str, expected: datetime) -> None:
    """L, LW, 5L, MON#2, 5/20 and names are taken; if a day field begins with *, both days must match."""
    assert fires(expression, "UTC", utc(2026, 2, 1), 1) == [expected]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 */2 * * *", DstClass.REAL_TIME),
        ("0 0-23/2 * * *", DstClass.FIXED_TIME),
        ("* 3 * * *", DstClass.REAL_TIME),
    ],
)
def test_the_class_hangs_on_a_leading_star(expression: str, expected: DstClass) -> None:
    """An expression is in the real-time class exactly if its minute or hour begins with a star."""
    assert kind(expanded(expression)) is expected


@pytest.mark.parametrize(
    ("expression", "march", "october"),
    [
        ("30 2 * * *", ["01:00"], ["00:30"]),
        ("0,30 2 * * *", ["01:00"], ["00:00", "00:30"]),
        ("0 0-6/2 * * *", ["01:00", "02:00", "04:00"], ["00:00", "03:00"]),
        ("0 */2 * * *", ["02:00", "04:00"], ["00:00", "01:00", "03:00"]),
        ("*/30 2-3 * * *", ["01:00", "01:30"], ["00:00", "00:30", "01:00", "01:30", "02:00", "02:30"]),
    ],
)
def test_the_examples_of_the_guide(expression: str, march: list[str], october: list[str]) -> None:
    """On Berlin's days of change the fires from 00:00 to 04:00 UTC are those that docs/schedules.md names."""
    for day, expected in ((utc(2026, 3, 29), march), (utc(2026, 10, 25), october)):
        cron = Cron(expanded(expression), zone("Europe/Berlin"))
        found = cron.last(day - timedelta(seconds=1), day.replace(hour=4), 99)
        assert [f"{at:%H:%M}" for at in found] == expected


def test_every_zone_is_read() -> None:
    """Each name of the database but Factory is taken, and has rules."""
    names = files("tzdata").joinpath("zones").read_text().split()
    assert len(names) > 500
    for name in {*names} - {"Factory"}:
        assert abs(offset(zone(name), utc(2026, 1, 1))) <= timedelta(hours=14)


def test_a_gap_of_a_whole_day_fires_at_its_end() -> None:
    """Samoa had no 30 December 2011: what was fixed for that day fires as it ends, unlike in Debian."""
    assert fires("0 9 * * *", "Pacific/Apia", utc(2011, 12, 29, 19), 2) == [
        utc(2011, 12, 30, 10),
        utc(2011, 12, 30, 19),
    ]


def test_days_on_which_the_clock_moves_by_half_an_hour() -> None:
    """On Lord Howe's day of change no fire is lost, which cronsim alone would lose."""
    assert fires("*/20 9 * * *", "Australia/Lord_Howe", utc(2026, 10, 3, 20), 3) == [
        utc(2026, 10, 3, 22, 0),
        utc(2026, 10, 3, 22, 20),
        utc(2026, 10, 3, 22, 40),
    ]


def test_a_start_in_the_second_pass() -> None:
    """Started in the second pass of a repeated hour, a fixed time fires next on the next day."""
    assert fires("45 2 * * *", "Europe/Berlin", utc(2026, 10, 25, 1, 10), 1) == [utc(2026, 10, 26, 1, 45)]


def test_the_end_of_time() -> None:
    """After the last fire of the year 9999 there is none."""
    assert fires("0 9 * * *", "Asia/Tokyo", utc(9999, 12, 30, 23, 59), 3) == [utc(9999, 12, 31)]


def _field(chance: random.Random, low: int, high: int) -> str:
    first = chance.randint(low, high)
    last = chance.randint(min(first + 1, high), high)
    step = chance.randint(1, 7)
    return chance.choice(
        ["*", f"*/{step}", f"{first}", f"{first}", f"{first}-{last}", f"{first}-{last}/{step}", f"{low},{first}"]
    )


def _expression(chance: random.Random) -> str:
    """Make an expression of numbers alone; its day fields begin with no star, or are one."""
    while True:
        fields = [_field(chance, low, high) for low, high in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))]
        if chance.random() < 0.7:
            fields[3] = "*"
        if chance.random() < 0.5:
            fields[2] = "*"
        if chance.random() < 0.5:
            fields[4] = "*"
        text = " ".join(fields)
        # croniter reads a leading star of a day field otherwise, and takes 5-5 for the whole range.
        if not any(field.startswith("*/") for field in (fields[2], fields[4])) and not LONE.search(text):
            try:
                expanded(text)
            except ValueError:
                continue
            return text


def test_agreement_with_croniter_away_from_changes() -> None:
    """On 10,000 random expressions, zones and instants far from a change of the clock, croniter says the same."""
    chance, done = random.Random(14), 0
    places = [*CHANGING, "UTC", "Asia/Kolkata", "Asia/Tokyo", "Pacific/Kiritimati"]
    while done < 10_000:
        text, place = _expression(chance), zone(chance.choice(places))
        after = utc(2000, 1, 1) + timedelta(seconds=chance.randrange(35 * 365 * 86400))
        found = next(Cron(expanded(text), place).after(after))
        if first_change(place, after - 2 * DAY, after + 2 * DAY) or first_change(
            place, found - 2 * DAY, found + 2 * DAY
        ):
            continue
        done += 1
        assert found == croniter(text, after.astimezone(place)).get_next(datetime), (text, place, after)


@lru_cache
def _days_of_change() -> list[tuple[str, datetime]]:
    return [
        (place, change)
        for place in CHANGING
        for year in (1998, 2010, 2016, 2026, 2034)
        for change in debian_cron.changes(zone(place), year)
    ]


def test_agreement_with_debian_on_days_of_change() -> None:
    """On 3,000 days of change, from random instants on, the fires are those of Debian's loop."""
    chance, done = random.Random(7), 0
    days = _days_of_change()
    assert len(days) > 100
    assert {place for place, _ in days} == set(CHANGING)
    for place, change in days:
        begin = change - timedelta(hours=14)
        ticks = debian_cron.clock(zone(place), begin, 28 * 60)
        for _ in range(3000 // len(days) + 1):
            fields = [_field(chance, 0, 59), chance.choice([_field(chance, 0, 23), _field(chance, 0, 4)])]
            text = " ".join([*fields, *chance.choice([("*", "*", "*"), ("*", "*", "0"), ("*/2", "*", "*/2")])])
            expected = debian_cron.fires(debian_cron.Entry(text), ticks)
            after = begin + timedelta(seconds=chance.choice([-1, chance.randrange(14 * 3600, 17 * 3600)]))
            found = Cron(expanded(text), zone(place)).last(after, ticks[-1][0], len(ticks))
            assert found == [at for at in expected if at > after], (text, place, after)
            done += 1
    assert done >= 2_000


@given(
    st.sampled_from(["* * * * *", "*/20 * * * *", "30 2 * * *", "0,30 1-3 * * *", "0 */3 * * SUN", "15 2 29 2 *"]),
    st.sampled_from(CHANGING),
    st.datetimes(datetime(2024, 2, 1), datetime(2027, 12, 1)),  # noqa: DTZ001 - made aware below
    st.timedeltas(timedelta(0), timedelta(days=9)) | st.timedeltas(timedelta(0), timedelta(hours=6)),
)
def test_counting_is_as_good_as_looking(text: str, place: str, start: datetime, span: timedelta) -> None:
    """Count and last, which leap over days, say what walking through every fire says."""
    cron, after = Cron(expanded(text), zone(place)), start.replace(tzinfo=UTC)
    until = after + span
    walked = list(takewhile(lambda at: at <= until, cron.after(after)))
    assert cron.count(after, until) == len(walked)
    assert cron.last(after, until, 3) == walked[-3:]
    assert all(a < b for a, b in zip([after, *walked], walked, strict=False))


def test_a_year_is_counted_over_changes() -> None:
    """A year of fires is counted exactly, the days of change too."""
    cron, after, until = Cron("0 * * * *", zone("Europe/Berlin")), utc(2025, 12, 1, 0, 7), utc(2026, 12, 1, 0, 7)
    assert cron.count(after, until) == 365 * 24
    fixed = Cron("30 1-3 * * *", zone("Europe/Berlin"))
    walked = sum(1 for _ in takewhile(lambda at: at <= until, fixed.after(after)))
    assert fixed.count(after, until) == walked == 365 * 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("localtime", "names no place"),
        ("Factory", "names no place"),
        ("posixrules", "names no place"),
        ("posix/Europe/Berlin", "did you mean Europe/Berlin"),
        ("right/Europe/Berlin", "did you mean Europe/Berlin"),
        ("europe/berlin", "did you mean Europe/Berlin"),
        ("America/New York", "did you mean America/New_York"),
        ("../../etc/passwd", "no such time zone"),
        ("/usr/share/zoneinfo/UTC", "no such time zone"),
        ("Europe", "no such time zone"),
        ("tzdata.zi", "no such time zone"),
        ("CEST", "no such time zone"),
        ("+02:00", "no such time zone"),
        ("Europe/Berlin\0", "no such time zone"),
        ("", "no such time zone"),
    ],
)
def test_what_is_no_zone(name: str, says: str) -> None:
    """Pseudo-zones, paths, offsets and names in the wrong case are refused, the right name beside them."""
    with pytest.raises(ValueError, match=says):
        zone(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT1S", timedelta(seconds=1)),
        ("PT15M", timedelta(minutes=15)),
        ("PT1H30M", timedelta(minutes=90)),
        ("P1D", DAY),
        ("P1DT12H", DAY * 1.5),
        ("P2W", 14 * DAY),
        ("P3660D", 3660 * DAY),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    """Weeks, days, hours, minutes and whole seconds are taken, and written back as what is read."""
    assert duration(text) == expected
    assert duration(written(expected)) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("PT0S", "must be PT1S to P3660D"),
        ("P3661D", "must be PT1S to P3660D"),
        ("P999999999W", "must be PT1S"),
        ("P1M", "months and years"),
        ("P1Y2M", "months and years"),
        ("PT0.5H", "no fractions"),
        ("PT1,5S", "no fractions"),
        ("P", "not an ISO 8601 duration"),
        ("PT", "not an ISO 8601 duration"),
        ("P1DT", "not an ISO 8601 duration"),
        ("-PT5M", "not an ISO 8601 duration"),
        ("5m", "not an ISO 8601 duration"),
        ("PT1S\n", "not an ISO 8601 duration"),
        (60, "not an ISO 8601 duration"),
    ],
)
def test_refused_durations(text: object, says: str) -> None:
    """Months, years, fractions and what is too short or too long are refused with the reason."""
    with pytest.raises(ValueError, match=says):
        duration(text)


@given(
    st.none() | st.datetimes(datetime(1980, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - made aware below
    st.integers(1, 100_000).map(lambda seconds: timedelta(seconds=seconds)),
    st.datetimes(datetime(1980, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - likewise
    st.integers(0, 40),
)
def test_every_counts_from_its_anchor(
    anchor: datetime | None, period: timedelta, start: datetime, steps: int
) -> None:
    """Intervals lie on the grid of their anchor, or of 1970, never before the anchor."""
    begin = anchor.replace(tzinfo=UTC) if anchor else None
    every, after = Every(period, begin), start.replace(tzinfo=UTC)
    found = list(islice(every.after(after), 3))
    assert found[0] > after
    assert found[0] == begin or found[0] - after <= period
    assert all((at - (begin or utc(1970, 1, 1))) % period == timedelta(0) for at in found)
    assert found[1] - found[0] == found[2] - found[1] == period
    until = after + steps * period
    walked = list(takewhile(lambda at: at <= until, every.after(after)))
    assert every.count(after, until) == len(walked)
    assert every.last(after, until, 2) == walked[-2:]


def test_importing_the_schedule_loads_no_calendar() -> None:
    """A function that imports the schedule's rules loads cronsim, zoneinfo and tzdata only when it reads one."""
    code = (
        "import sys, sweephand.domain.request; before = set(sys.modules); "
        "import sweephand.domain.fires, sweephand.domain.schedule_request; "
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "sys.exit(', '.join(loaded & {'cronsim', 'zoneinfo', 'tzdata', 'importlib'}) or None)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stderr == ""
