"""A whole tick, on the real services, with schedules."""

from collections.abc import Mapping
from typing import Any

import pytest

from sweephand import app
from tests.tick.conftest import Deployment, deployment

__all__ = ["deployment"]


def insert(deployment: Deployment) -> None:
    """Insert a schedule that fires each second, and has for three."""
    deployment.sql.execute(
        "insert into sweephand.schedules (name, every, overlap, job) "
        "values ('s1', 'PT1S', 'allow', '{\"type\": \"note\", \"payload\": {}}')"
    )
    deployment.sql.execute("update sweephand.schedules set cursor = now() - interval '3 s'")


def test_tick_runs_what_a_schedule_makes(deployment: Deployment) -> None:
    """One tick makes the jobs of the fires that are due and of those to come, and runs those that are due."""
    insert(deployment)
    report = deployment.tick()
    assert report.completed >= 3
    assert 120 <= deployment.statuses().total() <= 130
    jobs = app.record().list("completed", None, 5, None).jobs
    assert {job["schedule"] for job in jobs} == {"s1"}


def test_tick_goes_on_until_all_fires_are_made(deployment: Deployment) -> None:
    """More schedules than a page's calls take: the tick reads on, and none waits for the next."""
    deployment.sql.execute(
        "insert into sweephand.schedules (name, cron, job) "
        "select 's' || n, '* * * * *', '{\"type\": \"note\", \"payload\": {}}' from generate_series(1, 1300) n"
    )
    deployment.tick()
    row = deployment.sql.execute(
        "select count(*) filter (where next_fire is null), count(*) from sweephand.schedules"
    ).fetchone()
    assert row == (0, 1300)


def test_idle_tick_makes_one_call_beside_sleeping_schedules(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick beside schedules that do not fire calls the record once."""
    deployment.sql.execute(
        "insert into sweephand.schedules (name, cron, job) "
        "select 's' || n, '0 0 29 2 *', '{\"type\": \"note\", \"payload\": {}}' from generate_series(1, 50) n"
    )
    deployment.tick()
    deployment.tick()
    called: list[str] = []
    rpc = app.rpc()

    def counted(name: str, params: Mapping[str, Any]) -> Any:
        called.append(name)
        return rpc(name, params)

    monkeypatch.setattr(app.record(), "_rpc", counted)
    deployment.tick()
    assert called == ["sweephand_restore_v1"]
