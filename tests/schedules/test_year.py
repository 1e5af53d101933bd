"""A simulated year of twenty schedules in six zones, with ticks that overlap, die, and stay away for an hour."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sweephand.domain.fires import backfill_fires
from sweephand.domain.schedule_request import new_schedule
from sweephand.ports.record import DueSchedules
from sweephand.usecases.tick.fires import make_fires
from tests.schedules.conftest import HANDLERS, JOB, Schedules

BEGIN, END = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
OUTAGE = datetime(2027, 10, 31, 0, 30, tzinfo=UTC)
"""From here on no tick comes for an hour: in it Berlin sets its clocks back."""
ONE = OUTAGE + timedelta(hours=1)
GRACE = timedelta(seconds=120)
IN_FLIGHT = 50
"""Ticks that have read a page and not carried out their plans."""
AROUND: Mapping[str, Any] = {
    "start_at": OUTAGE - timedelta(hours=1),
    "end_at": ONE + timedelta(hours=1),
    "overlap": "allow",
}
BODIES: Mapping[str, Mapping[str, Any]] = {
    "berlin-gap": {"cron": "30 2 * 3,10 *", "timezone": "Europe/Berlin"},
    "berlin-jitter": {"cron": "0 3 * 3 *", "timezone": "Europe/Berlin", "jitter": "PT45M"},
    "berlin-weekly": {"cron": "15 9 * * MON", "timezone": "Europe/Berlin"},
    "new-york-gap": {"cron": "30 2 * 3,11 *", "timezone": "America/New_York"},
    "new-york-monthly": {"cron": "@monthly", "timezone": "America/New_York"},
    "new-york-weekday": {"cron": "0 17 * 11 1-5", "timezone": "America/New_York"},
    "lord-howe": {"cron": "15 2 * 4,10 *", "timezone": "Australia/Lord_Howe"},
    "lord-howe-real": {"cron": "*/30 1-2 1-7 4,10 *", "timezone": "Australia/Lord_Howe"},
    "kolkata": {"cron": "45 5 * * FRI", "timezone": "Asia/Kolkata"},
    "kolkata-last": {"cron": "0 0 L * *", "timezone": "Asia/Kolkata"},
    "sao-paulo": {"cron": "0 12 13 * FRI", "timezone": "America/Sao_Paulo"},
    "sao-paulo-yearly": {"cron": "@yearly", "timezone": "America/Sao_Paulo"},
    "utc-hours": {"cron": "0 */6 1 * *"},
    "utc-never-again": {"cron": "0 0 29 2 *"},
    "every-week": {"every": "P1W", "start_at": datetime(2026, 12, 29, 3, 14, 15, tzinfo=UTC)},
    "every-hours": {"every": "PT107H"},
    "every-jitter": {"every": "P3D", "jitter": "P1D"},
    "missed-skip": {"cron": "*/5 * * * *", "misfire": "skip", **AROUND},
    "missed-once": {"cron": "*/5 * * * *", "misfire": "once", **AROUND},
    "missed-all": {"cron": "*/5 * * * *", "misfire": "all", **AROUND},
}


def expected(name: str, schedule_id: str) -> list[datetime]:
    """Return the fires that are to have a job by the end of the year, by the policy for what the outage missed."""
    body = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in BODIES[name].items()}
    schedule = new_schedule(body | {"name": name, "job": JOB}, None)
    fires = backfill_fires(schedule, BEGIN + timedelta(microseconds=1), END, at_most=10_000).fires
    missed = [at for at in fires if OUTAGE + GRACE < at < ONE - GRACE]
    made_up = {"skip": [], "once": missed[-1:], "all": missed}[schedule.misfire.value]
    return [at for at in fires if at not in missed or at in made_up]


def test_each_fire_makes_exactly_one_job(schedules: Schedules) -> None:
    """Whatever ticks overlap, carry out old plans, repeat theirs or die: a year has each fire once, none lost."""
    chance = random.Random(14)
    schedules.clock.set(BEGIN)
    ids = {name: schedules.insert(name, **body) for name, body in BODIES.items()}
    flying: list[DueSchedules] = []
    steps = killed = 0
    while (at := _next_look(schedules)) is not None and at < END:
        steps += 1
        if OUTAGE < at < ONE:
            at = ONE
        schedules.clock.set(max(at, schedules.clock.now))
        while (due := schedules.record.restore([], 60_000, 10).schedules) is not None:
            flying.append(due)
            for _ in range(chance.randrange(3)):  # ticks that read their page earlier, whenever that was
                make_fires(schedules.record, HANDLERS, chance.choice(flying))
            if chance.random() < 0.1:  # this tick died: the next one comes a minute later
                killed += 1
                schedules.clock.move(minutes=1)
                continue
            make_fires(schedules.record, HANDLERS, due)
            if chance.random() < 0.1:  # its answer was lost, so it asks again
                make_fires(schedules.record, HANDLERS, due)
            del flying[:-IN_FLIGHT]
    made = {name: schedules.fires(name) for name in BODIES}
    until = END + GRACE
    assert made == {name: [at for at in expected(name, id_) if at <= until] for name, id_ in ids.items()}
    rows = schedules.sql.execute(
        "select count(*), count(distinct (schedule_id, fire_at)), max(created_at - fire_at) from sweephand.jobs"
    ).fetchone()
    assert rows
    assert rows[0] == rows[1] == sum(map(len, made.values()))
    assert killed > 20
    assert steps > 500


def _next_look(schedules: Schedules) -> datetime | None:
    row = schedules.sql.execute("select min(look_at) from sweephand.schedules").fetchone()
    assert row
    at: datetime | None = row[0]
    return at.astimezone(UTC) if at else None
