"""Time limits of handlers, and the budget that they must fit into."""

import re

import pytest

from sweephand import app
from sweephand.domain.errors import ConfigError
from sweephand.usecases.tick.budget import MARGIN
from tests.tick.conftest import Deployment, forget

LONGEST = 20.0
"""Seconds: the longest time limit of the handlers of these tests."""
NEEDED = LONGEST + MARGIN + app.START_SLACK
"""Seconds of the shortest budget that it fits."""


def budget(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set what a tick may use."""
    monkeypatch.setenv("TICK_BUDGET_SECONDS", str(seconds))
    forget()


@pytest.mark.parametrize("seconds", [LONGEST + MARGIN, NEEDED - 0.01])
@pytest.mark.usefixtures("deployment")
def test_a_time_limit_that_would_never_start_is_refused(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """What a tick would always come to too late is an error, which names the handler, both figures and the cure."""
    budget(monkeypatch, seconds)
    said = rf"handler \w+: its time limit of 20 s .* {re.escape(f'{seconds:g}')} s .*TICK_BUDGET_SECONDS to 23 or"
    with pytest.raises(ConfigError, match=said):
        app.tick()


@pytest.mark.parametrize("seconds", [NEEDED, NEEDED + 0.01])
def test_a_time_limit_that_just_fits_starts(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """The longest time limit that is accepted is one that a tick begins early enough for."""
    budget(monkeypatch, seconds)
    job = deployment.create("longest")
    assert deployment.tick().completed == 1
    assert deployment.job(job)["status"] == "completed"
