"""A running `sweephand dev`, for the tests that use it as a newcomer does."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from infra.local.services.service import free_port

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("sweephand")
EMAIL_JOB = {
    "type": "email_notification",
    "payload": {"to": "test@example.com", "subject": "Hello!", "message": "This is a test job."},
    "scheduled_at": "2025-06-23T18:30:00.000Z",
    "priority": 1,
    "max_retries": 3,
}


class Dev:
    """A running `sweephand dev`."""

    def __init__(
        self,
        data: Path,
        tick_seconds: str = "1",
        *,
        cwd: Path = ROOT,
        command: Sequence[str | Path] = (COMMAND,),
        **extra: str,
    ) -> None:
        self.data, self.port, self.cwd = data, free_port(), cwd
        names = {"PORT": str(self.port), "TICK_SECONDS": tick_seconds, "DATA_DIR": str(data)}
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SUPABASE_", "REDIS_", "SWEEPHAND_"))}
        self.log = data.with_suffix(".log").open("w+")
        self.process = subprocess.Popen(
            [*command, "dev"], cwd=cwd, env={**clean, **names, **extra}, stdout=self.log, stderr=subprocess.STDOUT
        )
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": "Bearer dev-key"},
            timeout=10,
            trust_env=False,
        )

    def said(self) -> str:
        """Return what it printed."""
        self.log.seek(0)
        return self.log.read()

    def wait_until_up(self) -> None:
        """Wait until it has said how to use it, which is when everything answers."""
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            if "Ctrl-C" in self.said():
                return
            time.sleep(0.05)
        pytest.fail(f"it did not come up:\n{self.said()}")

    def wait_for(self, text: str, limit: float = 20) -> str:
        """Wait until it has said `text`, and return all that it said."""
        until = time.monotonic() + limit
        while text not in (said := self.said()):
            assert time.monotonic() < until, f"it never said {text!r}:\n{said}"
            time.sleep(0.02)
        return said

    def post(self, body: Mapping[str, Any]) -> str:
        """Post a job and return its id."""
        answer = self.http.post("/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def ended(self, job: str) -> dict[str, Any]:
        """Wait until a job ends, at most 20 s, and return it."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            found: dict[str, Any] = self.http.get(f"/jobs/{job}").json()
            if found["status"] not in ("pending", "in_progress"):
                return found
            time.sleep(0.05)
        pytest.fail(f"the job did not end: {found}\n{self.said()}")

    def cli(self, *words: str, key: str = "dev-key") -> "subprocess.CompletedProcess[str]":
        """Run a command of the CLI against it."""
        env = {"SWEEPHAND_URL": str(self.http.base_url), "SWEEPHAND_API_KEY": key}
        command = [str(COMMAND), "--env", str(self.data / "env"), *words]
        return subprocess.run(
            command, cwd=self.cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
        )

    def stop(self) -> set[int]:
        """Send SIGTERM, wait for the end, and return the processes that are left of it."""
        family = {p.pid for p in psutil.Process(self.process.pid).children(recursive=True)} | {self.process.pid}
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.said()
        return {pid for pid in family if psutil.pid_exists(pid)}


@contextlib.contextmanager
def running(dev: Dev) -> Iterator[Dev]:
    """Wait until it is up; stop it at the end."""
    try:
        dev.wait_until_up()
        yield dev
    finally:
        dev.http.close()
        if dev.process.poll() is None:
            dev.stop()
        dev.log.close()
