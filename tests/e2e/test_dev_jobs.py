"""What a newcomer does: start it, post jobs, look at what came out, stop it."""

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import pypdf
import pytest
from PIL import Image

from tests.e2e.running_dev import EMAIL_JOB, Dev, running


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """Yield an emulation that ticks every second."""
    with running(Dev(tmp_path_factory.mktemp("dev") / "data")) as dev:
        yield dev


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
    job = dev.ended(dev.post(EMAIL_JOB))
    assert (job["status"], job["attempt"], job["scheduled_at"]) == ("completed", 1, "2025-06-23T18:30:00.000Z")
    [letter] = (dev.data / "outbox").glob(f"{job['id']}*.eml")
    message = message_from_bytes(letter.read_bytes())
    assert (message["To"], message["Subject"]) == ("test@example.com", "Hello!")
    assert "This is a test job." in str(message.get_payload())


def test_a_new_job_does_not_wait_for_the_schedule(tmp_path: Path) -> None:
    """With no tick for the next hour, a job that is due, or soon will be, has one called for it."""
    with running(Dev(tmp_path / "data", tick_seconds="3600")) as dev:
        for _ in range(3):
            assert dev.ended(dev.post(EMAIL_JOB))["status"] == "completed"
        assert "tick: 1 started, 1 completed" in dev.said()
        soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        assert dev.ended(dev.post({**EMAIL_JOB, "scheduled_at": soon}))["status"] == "completed"


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
    asked = json.dumps(EMAIL_JOB["payload"])
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
