"""`sweephand schedules`, against the gateway."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.services.services import Services
from infra.local.serving import serverless_yml
from infra.local.serving.function_server import Functions, FunctionServer
from sweephand.layout import ROOT
from tests.http.api import KEY
from tests.http.conftest import SETTINGS

LIST = """
source: reports
schedules:
  - name: nightly
    cron: 30 2 * * *
    timezone: Europe/Berlin
    job: {type: anything, payload: {}}
  - name: quarterly
    every: P13W
    start_at: 2026-01-05T06:00:00Z
    job: {type: anything, payload: {n: 1}, expires_after: P1D}
"""


@pytest.fixture(scope="module")
def gateway(stack: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionServer]:
    """Yield every function behind its route."""
    server = FunctionServer(
        "gateway",
        Functions(str(ROOT / "main.py"), routes=str(serverless_yml.FILE)),
        env={**stack.env, **SETTINGS},
        log=tmp_path_factory.mktemp("gateway") / "log",
    )
    with server:
        yield server


class Cli:
    """Runs `sweephand schedules …`."""

    def __init__(self, url: str) -> None:
        self._env = {**os.environ, "SWEEPHAND_URL": url, "SWEEPHAND_API_KEY": KEY, "COLUMNS": "200"}

    def __call__(self, *arguments: str, code: int = 0, said: str = "") -> str:
        """Return what the command printed."""
        done = subprocess.run(
            [sys.executable, "-m", "sweephand", "schedules", *arguments],
            cwd=ROOT,
            env=self._env,
            input=said,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        """Return the JSON that the command printed."""
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def cli(gateway: FunctionServer, clean: Services) -> Cli:
    """Return the command line against an empty record."""
    return Cli(gateway.url)


def test_each_command_does_what_its_route_does(cli: Cli) -> None:
    """A schedule is put, shown, listed, changed, paused, resumed, run, backfilled and deleted."""
    body = {"name": "hourly", "cron": "@hourly", "job": {"type": "anything", "payload": {}}}
    assert cli.json("put", json.dumps(body))["revision"] == 1
    assert "hourly: @hourly UTC" in cli("get", "hourly")
    assert "hourly" in cli("list")
    assert cli.json("patch", "hourly", '{"jitter": "PT1M"}')["jitter"] == "PT1M"
    assert cli.json("pause", "hourly")["paused"] is True
    assert "next: paused" in cli("get", "hourly")
    assert len(cli.json("resume", "hourly")["next_fires"]) == 5
    job = cli("run", "hourly").strip()
    assert [each["id"] for each in cli.json("jobs", "hourly")["jobs"]] == [job]
    span = ("--from", "2026-11-01T00:00:00Z", "--to", "2026-11-01T05:00:00Z")
    assert cli.json("backfill", "hourly", *span)["made"] == 6
    assert "0 jobs made, 6 were made before" in cli("backfill", "hourly", *span)
    assert cli.json("delete", "hourly", "--cancel-jobs") == {"deleted": True, "cancelled": 7}
    assert "404 No such schedule" in cli("get", "hourly", code=1)


def test_apply_shows_a_plan_and_carries_it_out(cli: Cli, tmp_path: Path) -> None:
    """Applying makes what the file lists, again does nothing, and deletes what the list made and no longer has."""
    file = tmp_path / "schedules.yml"
    file.write_text(LIST)
    cli("put", json.dumps({"name": "mine", "cron": "@daily", "job": {"type": "anything", "payload": {}}}))
    told = cli("apply", str(file), code=1, said="n\n")
    assert "+ create   nightly" in told
    assert len(cli.json("list")["schedules"]) == 1
    cli("apply", str(file), said="y\n")
    steps = [(step["action"], step["name"]) for step in cli.json("apply", str(file))["steps"]]
    assert steps == [("keep", "nightly"), ("keep", "quarterly")]
    cli("pause", "nightly")
    file.write_text(LIST.replace("30 2", "45 2").replace("quarterly", "yearly"))
    assert "~ replace  nightly (cron)" in cli("apply", str(file), "--yes")
    listed = cli.json("list")["schedules"]
    assert [(each["name"], each["source"]) for each in listed] == [
        ("mine", None),
        ("nightly", "reports"),
        ("yearly", "reports"),
    ]
    assert [each["paused"] for each in listed] == [False, True, False]


def test_list_may_take_over_what_was_made_otherwise(cli: Cli, tmp_path: Path) -> None:
    """A schedule that is as the list has it joins the list, and keeps its revision."""
    file = tmp_path / "schedules.yml"
    file.write_text('- {name: daily, cron: "@daily", job: {type: anything, payload: {}}}\n')
    cli("put", json.dumps({"name": "daily", "cron": "@daily", "job": {"type": "anything", "payload": {}}}))
    assert cli.json("apply", str(file), "--yes")["steps"][0]["action"] == "adopt"
    assert (cli.json("get", "daily")["source"], cli.json("get", "daily")["revision"]) == ("schedules.yml", 1)
    file.write_text("[]\n")
    cli("apply", str(file), "--yes")
    assert cli.json("list")["schedules"] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- {name: a, cron: 0 0 31 2 *, job: {type: anything, payload: {}}}", "a: /cron:"),
        ("- {name: A b, cron: '@daily', job: {type: anything, payload: {}}}", "/name:"),
        ("- {name: a, cron: '@daily', job: {type: anything, payload: {}}}\n" * 2, "stands there twice"),
        ("jobs: []", "write `schedules:`"),
        ("schedules: []\nsauce: x", "no such key: sauce"),
        ("{", "expected"),
    ],
)
def test_wrong_file_changes_nothing(cli: Cli, tmp_path: Path, text: str, told: str) -> None:
    """A file with a fault is refused whole, with the schedule and the field."""
    file = tmp_path / "schedules.yml"
    file.write_text(text)
    assert told in cli("apply", str(file), "--yes", code=1)
    assert cli.json("list")["schedules"] == []
