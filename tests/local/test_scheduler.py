"""What is said of a tick."""

import json

import pytest

from infra.local.dev import budget
from infra.local.scheduler import describe


def test_idle_tick_is_not_told() -> None:
    """A minute without a due job is no news."""
    report = {"claimed": 0, "started": 0, "completed": 0, "stopped": "drained", "duration_ms": 3}
    assert describe(200, json.dumps(report).encode()) is None


def test_tick_that_worked_is_one_line() -> None:
    """Counts above zero are told, with how long it took and why it stopped."""
    report = {"started": 3, "completed": 2, "retried": 1, "failed": 0, "stopped": "budget", "duration_ms": 1234}
    line = describe(200, json.dumps(report).encode())
    assert line == "tick: 3 started, 2 completed, 1 retried in 1.2 s (budget)"


@pytest.mark.parametrize(("status", "body"), [(500, b"oops"), (503, b'{"title": "record down"}'), (200, b"[]")])
def test_failed_tick_is_told_with_its_answer(status: int, body: bytes) -> None:
    """An answer that is no report is shown as it came."""
    assert describe(status, body) == f"tick answered {status}: {body.decode()}"


@pytest.mark.parametrize(("seconds", "expected"), [(60, 55), (10, 9), (2, 1), (0.5, 1)])
def test_budget_ends_before_the_next_tick(seconds: float, expected: float) -> None:
    """Of a minute a tick may use 55 s, of a shorter period less, but always a second."""
    assert budget(seconds) == expected
