"""Schedules: what is taken, and which fires become jobs."""

import random
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from sweephand.domain.cron import DstClass
from sweephand.domain.errors import FieldError, InvalidError
from sweephand.domain.fires import (
    Backfill,
    Fire,
    Limits,
    Plan,
    Skipped,
    Standing,
    backfill_fires,
    fires_to_make,
    first_look,
    next_fires,
)
from sweephand.domain.handler import Handler, Isolation
from sweephand.domain.json_value import JsonValue
from sweephand.domain.schedule import JobTemplate, Misfire, Overlap, Schedule, as_json, dst_class
from sweephand.domain.schedule_request import ScheduleRequest, new_schedule, patched

ID = UUID(int=14)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))


class Payload(BaseModel):
    """A payload with one field."""

    model_config = ConfigDict(extra="forbid")

    to: str


HANDLERS = {"mail": Handler("mail", Payload, 30, Isolation.ASYNC, print)}
JOB: dict[str, Any] = {"type": "mail", "payload": {"to": "a@b.example"}}


def utc(*at: int) -> datetime:
    """Return an instant of UTC."""
    return datetime(*at, tzinfo=UTC)  # type: ignore[misc,arg-type]


def schedule(**fields: Any) -> Schedule:
    """Return a schedule, daily at nine unless `fields` say otherwise."""
    when = {} if "every" in fields or "cron" in fields else {"cron": "0 9 * * *"}
    return new_schedule({"name": "nightly", "job": JOB, **when, **fields}, HANDLERS)


def faults(body: JsonValue) -> dict[str, str]:
    """Return what is refused of a body, by pointer."""
    with pytest.raises(InvalidError) as refused:
        new_schedule(body, HANDLERS)
    return {fault.pointer: fault.detail for fault in refused.value.faults}


def test_defaults() -> None:
    """What is left out is: UTC, misfire once, overlap skip, no jitter, no bounds, no word on a pause."""
    assert schedule() == Schedule(
        "nightly",
        JobTemplate("mail", {"to": "a@b.example"}, 0, 3, None),
        cron="0 9 * * *",
        timezone="UTC",
        misfire=Misfire.ONCE,
        misfire_limit=100,
        misfire_age=7 * DAY,
        overlap=Overlap.SKIP,
        jitter=timedelta(0),
        paused=None,
    )


def test_every_field() -> None:
    """Every field is taken, and a schedule written out asks for the same schedule again."""
    body: dict[str, JsonValue] = {
        "name": "0-a_b",
        "every": "PT90M",
        "cron": None,
        "timezone": "Asia/Tokyo",
        "job": {**JOB, "priority": 9, "max_retries": 0, "expires_after": "P1D"},
        "misfire": "all",
        "misfire_limit": 1000,
        "misfire_age": "P30D",
        "overlap": "allow",
        "jitter": "PT10M",
        "start_at": "2026-01-01T00:00:00.5+01:00",
        "end_at": "2027-01-01T00:00:00Z",
        "paused": True,
    }
    made = new_schedule(body, HANDLERS)
    assert (made.every, made.jitter, made.job.expires_after) == (90 * MINUTE, 10 * MINUTE, DAY)
    assert made.start_at == datetime(2025, 12, 31, 23, 0, 0, 500_000, tzinfo=UTC)
    assert as_json(made) == {
        **body,
        "every": "PT1H30M",
        "start_at": "2025-12-31T23:00:00.500000Z",
        "end_at": "2027-01-01T00:00:00.000000Z",
    }
    assert new_schedule(as_json(made), HANDLERS) == made


@pytest.mark.parametrize(
    ("fields", "pointer", "says"),
    [
        ({"name": "Nightly Report"}, "/name", "such as nightly-report"),
        ({"name": "a" * 65}, "/name", "1 to 64"),
        ({"name": "a/b"}, "/name", "1 to 64"),
        ({"name": None}, "/name", "1 to 64"),
        ({"cron": None}, "/cron", "one of cron and every is needed"),
        ({"every": "PT5M"}, "/every", "exclude each other"),
        ({"cron": "0 0 31 2 *"}, "/cron", "never fire"),
        ({"cron": "* * * * * *"}, "/cron", "6 fields"),
        ({"cron": 9}, "/cron", "not a text"),
        ({"cron": None, "every": "PT0.5S"}, "/every", "no fractions"),
        ({"cron": None, "every": "P1M"}, "/every", "months"),
        ({"cron": None, "every": 60}, "/every", "ISO 8601"),
        ({"timezone": "localtime"}, "/timezone", "names no place"),
        ({"timezone": "europe/berlin"}, "/timezone", "did you mean Europe/Berlin"),
        ({"timezone": None}, "/timezone", "not the name"),
        ({"misfire": "twice"}, "/misfire", "'skip', 'once' or 'all'"),
        ({"overlap": "queue"}, "/overlap", "'allow' or 'skip'"),
        ({"misfire": "all"}, "/overlap", "misfire: once"),
        ({"misfire": "all", "overlap": "skip"}, "/overlap", "overlap: allow"),
        ({"misfire_limit": 1001}, "/misfire_limit", "1000"),
        ({"misfire_age": "PT59S"}, "/misfire_age", "PT1M to P366D"),
        ({"jitter": "P2D"}, "/jitter", "PT0S to P1D"),
        ({"start_at": "tomorrow"}, "/start_at", "RFC 3339"),
        ({"start_at": "2026-01-02T00:00:00Z", "end_at": "2026-01-01T00:00:00Z"}, "/end_at", "before start_at"),
        ({"paused": "yes"}, "/paused", "boolean"),
        ({"crontab": "x"}, "/crontab", "not permitted"),
        ({"job": None}, "/job", "dictionary"),
        ({"job": {**JOB, "type": "fax"}}, "/job/type", "there are: mail"),
        ({"job": {**JOB, "payload": {"to": 1}}}, "/job/payload/to", "string"),
        ({"job": {**JOB, "scheduled_at": "2026-01-01T00:00:00Z"}}, "/job/scheduled_at", "leave it out"),
        ({"job": {**JOB, "expires_at": None}}, "/job/expires_at", "expires_after"),
        ({"job": {**JOB, "expires_after": "PT0S"}}, "/job/expires_after", "PT1S"),
        ({"job": {**JOB, "priority": 10}}, "/job/priority", "9"),
        ({"job": {**JOB, "retries": 1}}, "/job/retries", "not permitted"),
    ],
)
def test_refusals(fields: dict[str, Any], pointer: str, says: str) -> None:
    """Each bad value is refused once, at its place, with a sentence that helps."""
    found = faults({"name": "nightly", "cron": "0 9 * * *", "job": JOB, **fields})
    assert list(found) == [pointer]
    assert says in found[pointer]


@pytest.mark.parametrize("body", [None, [], "x", 1, {}])
def test_bodies_that_are_no_schedule(body: JsonValue) -> None:
    """A body that is no object, or an empty one, is refused."""
    assert faults(body)


def test_all_faults_are_told_at_once() -> None:
    """Faults of the fields, of the template and of what goes together come in one answer."""
    body: JsonValue = {"name": "A", "cron": "x", "every": "x", "job": {**JOB, "type": "fax", "expires_at": "x"}}
    assert set(faults(body)) == {"/name", "/cron", "/every", "/job/type", "/job/expires_at"}


def test_a_record_s_row_needs_no_handlers() -> None:
    """Without handlers, type and payload are not judged, and all else is."""
    made = new_schedule({"name": "a", "every": "PT5M", "job": {"type": "fax", "payload": {"n": 1}}}, None)
    assert made.job == JobTemplate("fax", {"n": 1})
    with pytest.raises(InvalidError):
        new_schedule({"name": "a", "every": "PT5M", "job": {"type": "fax", "payload": {}, "priority": 99}}, None)


def test_a_patch() -> None:
    """A patch replaces what it names, null brings the default back, and cron takes the place of every."""
    body = as_json(schedule(every="PT5M", jitter="PT1M", paused=True))
    patch: JsonValue = {"cron": "@daily", "jitter": None, "job": {"priority": 7}}
    made = new_schedule(patched(body, patch), HANDLERS)
    assert made == schedule(cron="@daily", paused=True, job={**JOB, "priority": 7})
    for refused, pointer in (([], ""), ({"name": "other"}, "/name")):
        with pytest.raises(InvalidError) as found:
            patched(body, refused)
        assert [fault.pointer for fault in found.value.faults] == [pointer]
    assert isinstance(found.value.faults[0], FieldError)


def test_the_class_of_a_schedule() -> None:
    """A schedule says what it does when clocks change."""
    assert dst_class(schedule()) is DstClass.FIXED_TIME
    assert dst_class(schedule(cron="@hourly")) is DstClass.REAL_TIME
    assert dst_class(schedule(every="P1D")) is DstClass.ELAPSED


def test_the_document_of_a_request() -> None:
    """The request's JSON schema can be made, its durations as such."""
    fields = ScheduleRequest.model_json_schema()["properties"]
    assert fields["jitter"]["format"] == "duration"
    assert set(fields) == {*as_json(schedule()), "paused"}


def test_bounds() -> None:
    """Cron fires strictly later than its start, `every` first at it, and both as late as at their end."""
    bounds: dict[str, Any] = {"start_at": "2026-01-01T09:00:00Z", "end_at": "2026-01-03T09:00:00Z"}
    after = utc(2025, 12, 1)
    assert next_fires(schedule(**bounds), after, 5) == [utc(2026, 1, 2, 9), utc(2026, 1, 3, 9)]
    assert next_fires(schedule(every="P1D", **bounds), after, 5) == [utc(2026, 1, day, 9) for day in (1, 2, 3)]


def plan(made: Schedule, cursor: datetime, now: datetime, **limits: Any) -> Plan:
    """Return the plan without memory of the one before."""
    return fires_to_make(made, Standing(ID, cursor), now, Limits(**limits))


def test_a_fire_is_made_two_ticks_ahead() -> None:
    """A fire becomes a job 120 s before it is due, and not sooner."""
    made, cursor, due = schedule(), utc(2026, 1, 1), utc(2026, 1, 1, 9)
    early = plan(made, cursor, due - 121 * SECOND)
    assert early == Plan((), {}, cursor, due, due - 120 * SECOND)
    assert first_look(made, Standing(ID, cursor)) == (due, due - 120 * SECOND)
    assert early.look_at
    assert plan(made, cursor, early.look_at) == Plan(
        (Fire(due, due, missed=False),), {}, due, due + DAY, due + DAY - 120 * SECOND
    )


def test_what_is_late_within_the_grace_is_not_missed() -> None:
    """A fire is missed when it is later than two ticks."""
    made, cursor, due = schedule(misfire="skip"), utc(2026, 1, 1), utc(2026, 1, 1, 9)
    assert plan(made, cursor, due + 120 * SECOND).fires == (Fire(due, due, missed=False),)
    late = plan(made, cursor, due + 121 * SECOND)
    assert (late.fires, late.skipped, late.cursor) == ((), {Skipped.POLICY: 1}, due)


@pytest.mark.parametrize(
    ("fields", "made", "skipped"),
    [
        ({"misfire": "skip"}, [], {Skipped.POLICY: 10}),
        ({"misfire": "once"}, [10], {Skipped.TOO_OLD: 3, Skipped.SUPERSEDED: 6}),
        ({"misfire": "once", "misfire_age": "PT1H"}, [], {Skipped.TOO_OLD: 10}),
        ({"misfire": "all", "overlap": "allow"}, [4, 5, 6, 7, 8, 9, 10], {Skipped.TOO_OLD: 3}),
        (
            {"misfire": "all", "overlap": "allow", "misfire_limit": 2},
            [9, 10],
            {Skipped.TOO_OLD: 3, Skipped.OVER_LIMIT: 5},
        ),
    ],
)
def test_misfires(fields: dict[str, Any], made: list[int], skipped: dict[Skipped, int]) -> None:
    """Of ten missed fires the policy, its limit and its age say which are made up for; the rest are counted."""
    found = plan(schedule(**fields), utc(2026, 1, 1), utc(2026, 1, 10, 22))
    assert [fire.at for fire in found.fires] == [utc(2026, 1, day, 9) for day in made]
    assert all(fire.missed for fire in found.fires)
    assert found.skipped == skipped
    assert (found.cursor, found.next_fire) == (utc(2026, 1, 10, 9), utc(2026, 1, 11, 9))


def test_a_call_makes_a_hundred() -> None:
    """More than a hundred are made by several calls, each at once after the other, the oldest first."""
    made, now = schedule(every="PT1M", misfire="all", misfire_limit=250, overlap="allow"), utc(2026, 1, 1, 12)
    standing, fires, skipped = Standing(ID, utc(2026, 1, 1)), [], 0
    for expected in (100, 100, 55):
        found = fires_to_make(made, standing, now)
        assert len(found.fires) == expected
        fires += [fire.at for fire in found.fires]
        skipped += sum(found.skipped.values())
        assert found.look_at
        assert (found.look_at <= now) is (expected == 100)
        standing = Standing(ID, found.cursor, found.next_fire)
    assert fires == [now - (252 - n) * MINUTE for n in range(255)]
    assert skipped + len(fires) == 722


def test_a_paused_schedule_makes_nothing() -> None:
    """A paused schedule makes no job and is not looked at; what it would fire can still be asked."""
    made, now = schedule(paused=True), utc(2026, 1, 9)
    assert plan(made, utc(2026, 1, 1), now) == Plan((), {}, utc(2026, 1, 1), None, None)
    assert first_look(made, Standing(ID, now)) == (None, None)
    assert next_fires(made, now, 1) == [utc(2026, 1, 9, 9)]


def test_the_end() -> None:
    """After the last fire there is nothing to look at."""
    made = schedule(end_at="2026-01-02T00:00:00Z")
    found = plan(made, utc(2026, 1, 1), utc(2026, 1, 1, 9))
    assert (len(found.fires), found.next_fire, found.look_at) == (1, None, None)
    assert first_look(made, Standing(ID, found.cursor)) == (None, None)
    assert plan(made, found.cursor, utc(2027, 1, 1)) == Plan((), {}, found.cursor, None, None)


def test_jitter() -> None:
    """Jitter hangs on schedule and fire alone, is spread over its span, and ends before the next fire."""
    made, now = schedule(every="PT1M", jitter="P1D", misfire="all", overlap="allow"), utc(2026, 1, 1, 12)
    fires = plan(made, now - HOUR, now).fires
    late = [(fire.due_at - fire.at) / MINUTE for fire in fires]
    assert len(set(late)) == len(late) > 55
    assert 0 <= min(late) < 0.2
    assert 0.8 < max(late) < 1
    assert all(a.due_at < b.at for a, b in pairwise(fires))
    assert plan(made, now - HOUR / 2, now - MINUTE).fires[3] in fires
    other = fires_to_make(made, Standing(UUID(int=15), now - HOUR), now).fires
    assert [fire.at for fire in other][:50] == [fire.at for fire in fires][:50]
    assert [fire.due_at for fire in other][:50] != [fire.due_at for fire in fires][:50]


def test_jitter_does_not_make_a_fire_missed() -> None:
    """A fire whose job is due later by jitter is missed only after that."""
    made, at = schedule(jitter="PT10H", misfire="skip"), utc(2026, 1, 1, 9)
    first = plan(made, utc(2026, 1, 1), at)
    assert first.look_at
    assert (first.fires, first.next_fire) == ((), at)
    due = first.look_at + 120 * SECOND
    assert at + HOUR / 4 < due < at + 10 * HOUR
    assert plan(made, utc(2026, 1, 1), due + 120 * SECOND).fires == (Fire(at, due, missed=False),)
    assert plan(made, utc(2026, 1, 1), due + 121 * SECOND).skipped == {Skipped.POLICY: 1}


def test_zones_that_change_move_only_what_is_to_come() -> None:
    """New rules neither fire again what fired by the old, nor lose what they moved to an earlier instant."""
    east, west = (schedule(cron="0 9 * * *", timezone=f"Etc/GMT{hours}") for hours in ("-2", "-1"))
    now = utc(2026, 1, 2, 6, 58)
    made = plan(east, utc(2026, 1, 1), now - DAY)
    standing = Standing(ID, made.cursor, made.next_fire)
    moved = fires_to_make(west, standing, now)
    assert (moved.fires, moved.skipped, moved.next_fire) == ((), {}, utc(2026, 1, 2, 8))
    made = plan(west, utc(2026, 1, 1), now - DAY + HOUR)
    moved = fires_to_make(east, Standing(ID, made.cursor, made.next_fire), now + HOUR)
    assert [fire.at for fire in moved.fires] == [utc(2026, 1, 2, 7)]


SCHEDULES = [
    {"cron": "*/7 * * * *", "timezone": "Europe/Berlin"},
    {"cron": "30 2,14 * * *", "timezone": "America/New_York", "jitter": "PT5H"},
    {"cron": "0,20,40 1-3 * * *", "timezone": "Australia/Lord_Howe"},
    {"cron": "0 */3 * * SUN", "timezone": "America/Havana", "jitter": "P1D"},
    {"every": "PT7M", "jitter": "PT5M"},
    {"every": "PT11H", "start_at": "2026-03-09T11:11:11Z"},
    {"cron": "@hourly", "timezone": "Europe/Berlin", "end_at": "2026-03-30T00:00:00Z", "jitter": "PT90M"},
]
POLICIES = [
    {"misfire": "skip"},
    {"misfire": "once", "misfire_age": "PT2H"},
    {"misfire": "all", "overlap": "allow", "misfire_limit": 5},
    {"misfire": "all", "overlap": "allow", "misfire_age": "P1D", "misfire_limit": 1000},
]
STARTS = st.sampled_from([utc(2026, 3, 8), utc(2026, 3, 28, 12), utc(2026, 4, 4), utc(2026, 10, 24, 20)])


@given(
    st.sampled_from(SCHEDULES),
    st.sampled_from(POLICIES),
    STARTS,
    st.lists(st.sampled_from([1, 59, 60, 60, 61, 120, 500, 3600, 20_000, 200_000]), min_size=1, max_size=40),
    st.sampled_from([3, 100]),
)
def test_each_fire_is_decided_once(
    when: dict[str, Any], policy: dict[str, Any], start: datetime, steps: list[int], at_most: int
) -> None:
    """With any steps of the clock, each fire is made or counted as skipped, once and in order, never too early."""
    made = schedule(**when, **policy)
    now, standing = start, Standing(ID, start)
    fires: list[Fire] = []
    skipped = 0
    for step in steps:
        now += timedelta(seconds=step)
        found = fires_to_make(made, standing, now, Limits(at_most=at_most))
        assert len(found.fires) <= at_most
        assert found.cursor >= standing.cursor
        assert not (policy["misfire"] == "once" and sum(fire.missed for fire in found.fires) > 1)
        for fire in found.fires:
            assert standing.cursor < fire.at <= fire.due_at <= now + 120 * SECOND
            assert fire.missed is (now - fire.due_at > 120 * SECOND)
            assert not fire.missed or now - fire.at <= made.misfire_age
        fires += found.fires
        skipped += sum(found.skipped.values())
        standing = Standing(ID, found.cursor, found.next_fire)
        assert found.next_fire in {*next_fires(made, found.cursor, 1), None}
    assert all(a.due_at < b.at for a, b in pairwise(fires))
    due = backfill_fires(made, start, standing.cursor, start, at_most=10**6).fires
    assert {fire.at for fire in fires} <= set(due)
    assert len(due) == len(fires) + skipped
    assert next_fires(made, standing.cursor, 1) == ([standing.next_fire] if standing.next_fire else [])


@given(
    st.sampled_from([{**when, "jitter": "PT0S"} for when in SCHEDULES]),
    st.sampled_from(POLICIES),
    STARTS,
    st.sampled_from([0, 60, 180, 7200, 30_000, 90_000, 260_000, 3_000_000]),
    st.integers(0, 5000),
)
def test_a_plan_is_what_walking_says(
    when: dict[str, Any], policy: dict[str, Any], cursor: datetime, far: int, more: int
) -> None:
    """One call decides as if it walked through every fire since the cursor and judged each by itself."""
    made, now = schedule(**when, **policy), cursor + timedelta(seconds=far + more)
    fires = backfill_fires(made, cursor, now + 120 * SECOND, cursor, at_most=10**6).fires
    missed = [at for at in fires if now - at > 120 * SECOND]
    old = [at for at in missed if now - at > made.misfire_age]
    young = missed[len(old) :]
    limit = {Misfire.SKIP: 0, Misfire.ONCE: 1, Misfire.ALL: made.misfire_limit}[made.misfire]
    chosen = young[max(0, len(young) - limit) :]
    found = plan(made, cursor, now, at_most=10**6)
    assert [fire.at for fire in found.fires] == [*chosen, *fires[len(missed) :]]
    assert [fire.at for fire in found.fires if fire.missed] == chosen
    assert sum(found.skipped.values()) == len(missed) - len(chosen)
    assert found.skipped.get(Skipped.TOO_OLD, 0) == (0 if made.misfire is Misfire.SKIP else len(old))
    assert found.cursor == (fires[-1] if fires else cursor)


@given(st.sampled_from(SCHEDULES), STARTS, st.integers(1, 300))
def test_fires_rise(when: dict[str, Any], start: datetime, count: int) -> None:
    """Fires rise strictly, and asking again from any of them goes on behind it."""
    made = schedule(**when)
    found = next_fires(made, start, count)
    assert all(a < b for a, b in pairwise([start, *found]))
    middle = random.Random(count).randrange(len(found) + 1)
    assert next_fires(made, [start, *found][middle], count - middle) == found[middle:]


def test_a_year_of_sleep_is_bounded_work() -> None:
    """A schedule of every minute that slept for a year takes one call of a few thousand steps, and counts all."""
    made = schedule(cron="* * * * *", timezone="Europe/Berlin", jitter="PT20S")
    found = plan(made, utc(2025, 11, 1), utc(2026, 11, 1))
    assert [fire.missed for fire in found.fires] == [True, *[False] * 4]
    assert len(found.fires) + sum(found.skipped.values()) == 365 * 1440 + 1


def test_backfill() -> None:
    """A range is made in parts, each fire once, both ends included, within the schedule's own bounds."""
    made = schedule(cron="0 * * * *", paused=True, start_at="2026-01-01T01:00:00Z")
    begin, end = utc(2026, 1, 1), utc(2026, 1, 2)
    parts: list[Backfill] = []
    after = None
    while not parts or after:
        parts.append(backfill_fires(made, begin, end, after, at_most=10))
        after = parts[-1].after
    assert [at for part in parts for at in part.fires] == [begin + hour * HOUR for hour in range(2, 25)]
    assert [len(part.fires) for part in parts] == [10, 10, 3]
    assert backfill_fires(made, end, end).fires == (end,)
    assert backfill_fires(made, end, begin) == Backfill((), None)
    assert list(islice(backfill_fires(made, begin, end, at_most=23).fires, 1)) == [begin + 2 * HOUR]
    assert backfill_fires(made, begin, end, at_most=23).after is None
