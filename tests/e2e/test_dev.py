"""What a newcomer does: start it, post jobs, look at what came out, stop it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import psutil
import pypdf
import pytest
from PIL import Image

from infra.local.services.service import free_port

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("sweephand")
THE_ISSUE = {
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


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """Yield an emulation that ticks every second."""
    with running(Dev(tmp_path_factory.mktemp("dev") / "data")) as dev:
        yield dev


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


def test_it_says_how_to_use_it(dev: Dev) -> None:
    """It prints where it listens, the key, and a curl that can be pasted as it is."""
    said = dev.said()
    assert f"http://127.0.0.1:{dev.port}" in said
    assert "dev-key" in said
    curl = said[said.index("  curl ") :].split("\n\n")[0]
    answer = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["status"] == "pending"


def test_an_email_job_ends_in_the_outbox(dev: Dev) -> None:
    """The job of the README is 201, completes, and leaves its message in the outbox."""
    job = dev.ended(dev.post(THE_ISSUE))
    assert (job["status"], job["attempt"], job["scheduled_at"]) == ("completed", 1, "2025-06-23T18:30:00.000Z")
    [letter] = (dev.data / "outbox").glob(f"{job['id']}*.eml")
    message = message_from_bytes(letter.read_bytes())
    assert (message["To"], message["Subject"]) == ("test@example.com", "Hello!")
    assert "This is a test job." in str(message.get_payload())


def test_a_new_job_does_not_wait_for_the_schedule(tmp_path: Path) -> None:
    """With no tick for the next hour, a job that is due, or soon will be, has one called for it."""
    with running(Dev(tmp_path / "data", tick_seconds="3600")) as dev:
        for _ in range(3):
            assert dev.ended(dev.post(THE_ISSUE))["status"] == "completed"
        assert "tick: 1 started, 1 completed" in dev.said()
        soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        assert dev.ended(dev.post({**THE_ISSUE, "scheduled_at": soon}))["status"] == "completed"


def test_an_image_job_leaves_an_image(dev: Dev) -> None:
    """`resize_image` reads an object and leaves a real, smaller one where its target says."""
    objects = dev.data / "objects"
    Image.new("RGB", (800, 600), "teal").save(objects / "in.png")
    payload = {"source": f"file://{objects}/in.png", "target": f"file://{objects}/out.webp", "width": 200}
    job = dev.ended(dev.post({"type": "resize_image", "payload": payload}))
    assert job["status"] == "completed", job
    with Image.open(objects / "out.webp") as picture:
        assert (picture.format, picture.size) == ("WEBP", (200, 150))


def test_a_pdf_job_leaves_a_pdf(dev: Dev) -> None:
    """`generate_pdf` leaves a real PDF where its target says."""
    target = dev.data / "objects" / "report.pdf"
    payload = {"title": "Report", "markdown": "# Hello\n\nΓειά σου, привет.", "target": f"file://{target}"}
    job = dev.ended(dev.post({"type": "generate_pdf", "payload": payload}))
    assert job["status"] == "completed", job
    text = pypdf.PdfReader(target).pages[0].extract_text()
    assert "Γειά σου, привет." in text


def test_an_object_elsewhere_is_out_of_reach(dev: Dev) -> None:
    """A payload cannot name a file outside the allowed prefixes."""
    target = dev.data / "elsewhere.pdf"
    payload = {"title": "x", "markdown": "x", "target": f"file://{target}"}
    job = dev.ended(dev.post({"type": "generate_pdf", "payload": payload}))
    assert job["status"] == "failed"
    assert not target.exists()


def test_the_cli_creates_lists_shows_and_cancels(dev: Dev) -> None:
    """The `jobs` commands do through the API what they say."""
    asked = json.dumps(THE_ISSUE["payload"])
    created = dev.cli("jobs", "create", "email_notification", "--payload", asked, "--at", "2999-01-01T00:00:00Z")
    job = created.stdout.strip()
    assert json.loads(dev.cli("jobs", "show", job).stdout)["status"] == "pending"
    listed = json.loads(dev.cli("jobs", "list", "--status", "pending", "--json").stdout)
    assert job in {found["id"] for found in listed["jobs"]}
    assert "cancelled" in dev.cli("jobs", "cancel", job).stdout
    assert json.loads(dev.cli("jobs", "show", job).stdout)["status"] == "cancelled"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("jobs", "create", "email_notification", "--payload", '{"to": 1}'), "/payload/"),
        (("jobs", "create", "nothing.such"), "/type"),
        (("jobs", "create", "email_notification", "--payload", "{"), "not JSON"),
        (("jobs", "show", "no-such-id"), "404"),
    ],
)
def test_the_cli_tells_what_is_wrong(dev: Dev, words: tuple[str, ...], told: str) -> None:
    """A command that fails says why on standard error, in words, and exits with status 1."""
    answer = dev.cli(*words)
    assert answer.returncode == 1
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_cli_ticks_and_syncs(dev: Dev) -> None:
    """`tick` ends with its report; `sync --dry-run` counts and changes nothing, `sync` puts back."""
    report = json.loads(dev.cli("tick").stdout.splitlines()[-1])
    assert report["stopped"] == "drained"
    dry = json.loads(dev.cli("sync", "--dry-run", "--json").stdout)
    assert dry["dry_run"] is True
    assert set(json.loads(dev.cli("sync", "--json").stdout)) == {"seen", "missing", "dry_run"}
    assert "jobs are due within" in dev.cli("sync").stdout


def test_migrating_again_changes_nothing(dev: Dev) -> None:
    """`migrate` against an up-to-date database says so."""
    assert "up to date" in dev.cli("migrate").stdout


def test_it_stops_and_leaves_nothing(dev: Dev) -> None:
    """SIGTERM ends it with status 0 and leaves no process."""
    assert dev.stop() == set()
