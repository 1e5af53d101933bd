"""What ticks make of schedules."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from sweephand.adapters import direct
from sweephand.ports.record import Record
from sweephand.ports.schedules import Schedules as ScheduleRecord
from sweephand.usecases.schedules import change
from sweephand.usecases.tick.fires import make_fires
from tests.schedules.conftest import HANDLERS, JOB, START, Schedules


def minutes(*after: int) -> list[datetime]:
    """Return the instants so many minutes after START."""
    return [START + timedelta(minutes=each) for each in after]


def test_inserted_schedule_fires_at_most_two_ticks_ahead(schedules: Schedules) -> None:
    """A fire becomes a job when it is due within 120 s, and not before."""
    schedules.insert("often", cron="* * * * *")
    assert schedules.look() == 1
    assert schedules.fires("often") == minutes(1, 2)
    assert schedules.page().schedules is None
    schedules.clock.move(seconds=59)
    assert schedules.look() == 0
    schedules.clock.move(seconds=1)
    assert schedules.look() == 1
    assert schedules.fires("often") == minutes(1, 2, 3)


def test_job_says_which_fire_it_is(schedules: Schedules) -> None:
    """A job carries its schedule and its fire, and expires so long after it is due."""
    job = JOB | {"priority": 4, "max_retries": 1, "expires_after": "PT1H"}
    schedules.insert("often", cron="*/2 * * * *", job=job)
    schedules.look()
    (made,) = schedules.record.list(None, None, 5, None).jobs
    assert (made["schedule"], made["fire_at"]) == ("often", "2026-06-01T12:02:00.000Z")
    assert (made["run_at"], made["expires_at"]) == ("2026-06-01T12:02:00.000Z", "2026-06-01T13:02:00.000Z")
    assert (made["priority"], made["max_retries"]) == (4, 1)


def test_wrong_row_says_what_is_wrong(schedules: Schedules) -> None:
    """A row that SQL wrote wrongly makes no job; the next tick writes why, and a change has it judged again."""
    schedules.insert("wrong", cron="0 0 31 2 *")
    schedules.insert("right", cron="* * * * *")
    schedules.look()
    assert "/cron" in schedules.row("wrong")["invalid"]
    assert schedules.fires("right") == minutes(1, 2)
    schedules.sql.execute("update sweephand.schedules set cron = '* * * * *' where name = 'wrong'")
    assert schedules.look() == 1
    assert schedules.row("wrong")["invalid"] is None
    assert schedules.fires("wrong") == minutes(1, 2)


def test_template_that_the_tables_refuse_stops_no_other(schedules: Schedules) -> None:
    """A template that no job can be made of is told as invalid; the schedules beside it fire."""
    schedules.insert("wrong", cron="* * * * *", job={"type": "No Type", "payload": {}})
    schedules.insert("right", cron="* * * * *")
    schedules.look()
    assert "violates check constraint" in schedules.row("wrong")["invalid"]
    assert schedules.fires("right") == minutes(1, 2)


@pytest.mark.parametrize(
    ("policy", "made", "skipped"),
    [
        ({"misfire": "skip"}, [58, 59, 60, 61, 62], {"misfire_skip": 55}),
        ({"misfire": "once"}, [57, 58, 59, 60, 61, 62], {"superseded": 54}),
        (
            {"misfire": "all", "misfire_limit": 3, "overlap": "allow"},
            [55, 56, 57, 58, 59, 60, 61, 62],
            {"over_limit": 52},
        ),
    ],
)
def test_an_hour_without_ticks(
    schedules: Schedules, policy: dict[str, Any], made: list[int], skipped: dict[str, int]
) -> None:
    """What was missed is made up for as the policy says, and what is not is counted by its reason."""
    schedules.insert("often", cron="* * * * *", **policy)
    schedules.look()
    schedules.clock.move(hours=1)
    schedules.look()
    assert schedules.fires("often") == minutes(1, 2, *made)
    assert schedules.row("often")["skipped"] == skipped
    assert schedules.row("often")["made"] == len(made) + 2


def test_ticks_at_once_make_each_fire_once(schedules: Schedules, clean: Any) -> None:
    """Eight ticks that read the same page make each fire once between them."""
    for number in range(30):
        schedules.insert(f"s{number}", cron="* * * * *", overlap="allow")
    due = schedules.page().schedules
    assert due is not None
    rpcs = [direct.connect(clean.database_url) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda rpc: make_fires(Record(rpc), HANDLERS, due), rpcs))
    for rpc in rpcs:
        rpc.close()
    assert sum(done) == 30
    assert all(schedules.fires(f"s{number}") == minutes(1, 2) for number in range(30))


def test_pause_takes_back_what_was_made_ahead(schedules: Schedules) -> None:
    """A pause deletes the jobs that are not due; the fires of its time are not missed, and resuming goes on."""
    schedules.insert("often", cron="* * * * *", misfire="all", overlap="allow")
    schedules.look()
    schedules.clock.move(minutes=1)
    schedules.sql.execute("update sweephand.schedules set paused = true")
    assert schedules.fires("often") == minutes(1)
    schedules.clock.move(minutes=30)
    assert schedules.look() == 0
    schedules.sql.execute("update sweephand.schedules set paused = false")
    schedules.look()
    assert schedules.fires("often") == minutes(1, 32, 33)
    assert schedules.row("often")["skipped"] == {}
    assert schedules.row("often")["made"] == 3


def test_change_makes_what_was_made_ahead_anew(schedules: Schedules) -> None:
    """Another template replaces the jobs that are not due; a fire whose job was due is not made again."""
    schedules.insert("often", cron="* * * * *")
    schedules.look()
    schedules.clock.move(minutes=1)
    before = schedules.jobs("often")
    schedules.sql.execute("update sweephand.schedules set job = job || '{\"priority\": 9}'")
    schedules.look()
    assert schedules.fires("often") == minutes(1, 2, 3)
    after = schedules.jobs("often")
    assert (after[0], set(before) & set(after)) == (before[0], {before[0]})
    jobs = schedules.record.list(None, None, 5, None).jobs
    assert sorted(str(job["priority"]) for job in jobs) == ["0", "9", "9"]


def test_change_keeps_what_was_missed(schedules: Schedules, clean: Any) -> None:
    """A deployment after an hour without ticks loses nothing: what was missed is decided by the new body."""
    rpc = direct.connect(clean.database_url)
    body: dict[str, Any] = {"name": "often", "cron": "*/10 * * * *", "job": JOB}
    change.put(ScheduleRecord(rpc), HANDLERS, body)
    schedules.look()
    schedules.clock.move(minutes=55)
    change.put(ScheduleRecord(rpc), HANDLERS, body | {"job": JOB | {"priority": 1}})
    rpc.close()
    schedules.look()
    assert schedules.fires("often") == minutes(50)


def test_plan_of_another_revision_does_nothing(schedules: Schedules) -> None:
    """A tick that planned before a change makes nothing of it."""
    schedules.insert("often", cron="* * * * *")
    due = schedules.page().schedules
    assert due is not None
    schedules.sql.execute("update sweephand.schedules set cron = '*/30 * * * *'")
    assert make_fires(schedules.record, HANDLERS, due) == 0
    assert schedules.fires("often") == []


def test_deleting_takes_back_what_was_made_ahead(schedules: Schedules) -> None:
    """A deleted schedule leaves the job that is due, and no other."""
    schedules.insert("often", cron="* * * * *")
    schedules.look()
    schedules.clock.move(minutes=1)
    schedules.sql.execute("delete from sweephand.schedules")
    assert schedules.fires("often") == minutes(1)
    assert schedules.sql.execute("select count(*) from sweephand.fires").fetchone() == (0,)


def test_held_schedule_delays_only_itself(schedules: Schedules, clean: Any) -> None:
    """While a user's transaction holds one schedule, the others fire; it follows afterwards."""
    schedules.insert("held", cron="* * * * *")
    schedules.insert("free", cron="* * * * *")
    with psycopg.connect(clean.database_url) as user:
        user.execute("update sweephand.schedules set source = 'mine' where name = 'held'")
        schedules.look()
        assert (schedules.fires("held"), schedules.fires("free")) == ([], minutes(1, 2))
    schedules.look()
    assert schedules.fires("held") == minutes(1, 2)


def test_many_due_at_once_are_made_in_batches(schedules: Schedules) -> None:
    """A thousand schedules that fire at once are made by calls of a hundred."""
    schedules.sql.execute(
        "insert into sweephand.schedules (name, cron, job) "
        "select 's' || n, '2 12 * * *', '{\"type\": \"anything\", \"payload\": {}}' from generate_series(1, 1000) n"
    )
    assert schedules.look() == 10
    assert schedules.sql.execute("select count(*), min(fire_at), max(fire_at) from sweephand.jobs").fetchone() == (
        1000,
        *minutes(2, 2),
    )


def test_fires_of_one_schedule_are_made_a_hundred_at_a_time(schedules: Schedules) -> None:
    """What is too much for one call goes on in the next, in order."""
    schedules.insert("often", every="PT1S", overlap="allow")
    assert schedules.look() == 2
    assert schedules.fires("often") == [START + timedelta(seconds=each) for each in range(1, 121)]


def test_idle_page_reads_no_schedule(schedules: Schedules) -> None:
    """With 100,000 schedules that are not due, the look for those that are touches no more than three pages."""
    schedules.sql.execute(
        "insert into sweephand.schedules (name, cron, job) "
        "select 's' || n, '0 0 1 1 *', '{\"type\": \"anything\", \"payload\": {}}' "
        "from generate_series(1, 100000) n"
    )
    schedules.sql.execute(
        "update sweephand.schedules set look_at = sweephand.clock() + random() * interval '300 d' + interval '1 h'"
    )
    schedules.sql.execute("vacuum analyze sweephand.schedules")
    plan = schedules.sql.execute(
        "explain (analyze, buffers, format json) "
        "select exists (select from sweephand.schedules s where s.look_at <= %s)",
        (schedules.clock.now,),
    ).fetchone()
    assert plan
    assert plan[0][0]["Plan"]["Shared Hit Blocks"] + plan[0][0]["Plan"]["Shared Read Blocks"] <= 3
    assert schedules.page().schedules is None


def test_time_of_a_fire_is_not_its_due_time(schedules: Schedules) -> None:
    """Jitter moves the job and not its fire, the same way in every function."""
    schedules.insert("spread", cron="*/10 * * * *", jitter="PT5M")
    schedules.clock.set(datetime(2026, 6, 1, 12, 14, tzinfo=UTC))
    schedules.look()
    row = schedules.sql.execute("select fire_at, scheduled_at from sweephand.jobs").fetchone()
    assert row
    assert row[0] == minutes(10)[0]
    assert timedelta() < row[1] - row[0] < timedelta(minutes=5)
