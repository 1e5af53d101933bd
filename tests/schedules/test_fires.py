"""What ticks make of schedules."""

from datetime import datetime, timedelta

from tests.schedules.conftest import START, Schedules


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
