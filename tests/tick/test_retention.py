"""A tick that deletes what was kept for long enough."""

import json
import subprocess
import sys
from typing import NoReturn

import pytest

from sweephand import app
from sweephand.domain.errors import RecordSetupError
from sweephand.usecases.tick import housekeeping
from tests.tick.conftest import ROOT, Deployment, forget


@pytest.fixture
def aged(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Return a deployment that keeps jobs for a day and has one of two days ago, and one of now."""
    monkeypatch.setenv("RETENTION_DAYS", "1")
    forget()
    deployment.create("note")
    deployment.tick()
    deployment.sql.execute(
        "update sweephand.finished"
        " set created_at = created_at - interval '2 days', finished_at = finished_at - interval '2 days'"
    )
    forget()  # another function instance: this one has just looked
    deployment.create("note")
    return deployment


def test_a_tick_deletes_what_is_old(aged: Deployment) -> None:
    """After its work, and says how much."""
    report = aged.tick()
    assert (report.completed, report.pruned) == (1, 1)
    assert aged.statuses() == {"completed": 1}


def test_a_tick_deletes_for_some_seconds_at_most(aged: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is old: the next one goes on."""
    monkeypatch.setattr(housekeeping, "PRUNE", 0.0)
    assert aged.tick().pruned == 0
    monkeypatch.undo()
    assert aged.tick().pruned == 1


def test_a_tick_that_cannot_delete_has_done_its_work(aged: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the migration is missing its report is told all the same."""

    def missing(*_: object) -> NoReturn:
        raise RecordSetupError("sweephand_prune_v1 does not exist: apply the migrations.")

    monkeypatch.setattr(app.record(), "prune", missing)
    report = aged.tick()
    assert (report.completed, report.pruned) == (1, 0)


def test_the_command_deletes_all_at_once(aged: Deployment) -> None:
    """`sweephand prune` deletes what RETENTION_DAYS says, or --days, and says how much."""

    def pruned(*options: str) -> object:
        command = [sys.executable, "-m", "sweephand", "prune", "--json", *options]
        return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)

    assert pruned("--days", "3") == {"deleted": 0}
    assert pruned() == {"deleted": 1}
    assert aged.statuses() == {"pending": 1}
