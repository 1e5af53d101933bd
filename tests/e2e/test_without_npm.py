"""`sweephand dev` where nothing of npm is: no PostgREST, in the layout that a wheel has."""

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.running_dev import EMAIL_JOB, Dev, running
from tests.e2e.test_first_hour import CHATTY, in_progress
from tests.local.process_tree import wait_until_gone

ROOT = Path(__file__).parents[2]
PROGRAMS = ("sh", "test")
"""All programs that are on PATH."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the package in a wheel's layout, and no `node_modules`."""
    site = tmp_path_factory.mktemp("site")
    package = site / "sweephand"
    (package / "google").mkdir(parents=True)
    for path in (ROOT / "shared" / "sweephand").iterdir():
        (package / path.name).symlink_to(path)
    for name in ("functions", "infra", "requirements", "serverless.yml"):
        (package / name).symlink_to(ROOT / name)
    (package / "google" / "main.py").symlink_to(ROOT / "main.py")
    return site


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for PATH with PROGRAMS alone."""
    folder = tmp_path_factory.mktemp("programs")
    for name in PROGRAMS:
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


@pytest.fixture
def dev(site: Path, programs: Path, tmp_path: Path) -> Iterator[Dev]:
    """Yield an emulation in an empty folder that has a handler's file."""
    cwd = tmp_path / "project"
    cwd.mkdir()
    shutil.copy(CHATTY, cwd)
    settings = {"PATH": str(programs), "PYTHONPATH": str(site), "HANDLERS": "chatty"}
    command = (sys.executable, "-m", "sweephand")
    with running(Dev(cwd / ".sweephand", "60", cwd=cwd, command=command, **settings)) as dev:
        yield dev


def test_jobs_run_without_postgrest(dev: Dev, tmp_path: Path) -> None:
    """One line says that the functions call PostgreSQL itself; a job completes; two Ctrl-C leave nothing.

    The job that they end is counted as a crash, over the same way to the record.
    """
    message = "PostgREST is missing (npm install brings it), so the functions call PostgreSQL itself: STORE=direct"
    assert dev.said().count(message) == 1
    settings = dict(line.split("=", 1) for line in (dev.data / "env").read_text().splitlines())
    assert settings["STORE"] == "direct"
    assert "SUPABASE_URL" not in settings
    assert dev.ended(dev.post(EMAIL_JOB))["status"] == "completed"
    assert dev.ended(dev.post({"type": "talk", "payload": {}}))["result"] == "first"
    job = dev.post({"type": "nap_thread", "payload": {"seconds": 40, "file": str(tmp_path / "woke")}})
    in_progress(dev, job)
    started = {process.pid for process in psutil.Process(dev.process.pid).children(recursive=True)}
    assert len(started) > 4
    dev.process.send_signal(signal.SIGINT)
    dev.wait_for("Ctrl-C again ends at once")
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(20) == 0
    assert f"job {job} runs no more: counted as a crash" in dev.said()
    assert "the record does not answer" not in dev.said()
    assert wait_until_gone(started, 1) == {}


def test_rest_needs_postgrest(site: Path, programs: Path, tmp_path: Path) -> None:
    """Where STORE=rest asks for PostgREST, one line says how to get it, and nothing is started."""
    settings = {"PATH": str(programs), "PYTHONPATH": str(site), "STORE": "rest"}
    dev = Dev(tmp_path / "data", cwd=tmp_path, command=(sys.executable, "-m", "sweephand"), **settings)
    assert dev.process.wait(20) == 1
    assert dev.said().startswith("sweephand: PostgREST is missing: run `npm install`")
    assert dev.said().count("\n") == 1
    assert not (tmp_path / "data" / "postgres").exists()
    dev.http.close()
    dev.log.close()
