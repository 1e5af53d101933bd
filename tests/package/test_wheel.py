"""The wheel: what a user's environment gets."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from sweephand.layout import ROOT
from sweephand.version import VERSION
from tests.package.conftest import Wheel, build

NOWHERE = "http://127.0.0.1:9"
"""Where nothing answers."""
NEEDED = (
    "py.typed",
    "serverless.yml",
    "google/main.py",
    "functions/tick.py",
    "adapters/lua/sync_and_claim.lua",
    "handlers/fonts/LICENSE",
    "infra/aws/parameters.js",
    "infra/gcp/main.tf",
    "infra/local/services/supabase_roles.sql",
    "infra/templates/gitignore",
    "requirements/api.txt",
    "requirements/tick.txt",
    "requirements/aws-api.txt",
    "requirements/aws-tick.txt",
)


def test_it_takes_one_name(wheel: Wheel) -> None:
    """Nothing but `sweephand` and its metadata lands in site-packages."""
    assert {path.name for path in wheel.site.iterdir()} == {"sweephand", f"sweephand-{VERSION}.dist-info"}


def test_it_carries_what_the_commands_read(wheel: Wheel) -> None:
    """Every migration is there, and each file that dev, package, init and a type checker read; no tests."""
    package = wheel.site / "sweephand"
    inside = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert set(NEEDED) <= inside
    migrations = {path.name for path in (ROOT / "infra/supabase/migrations").iterdir()}
    assert {f"infra/supabase/migrations/{name}" for name in migrations} <= inside
    assert not [path for path in inside if "tests/" in path or "__pycache__" in path or path.endswith("dev.txt")]


def test_an_sdist_builds_the_same_wheel(source: Path, wheel: Wheel, tmp_path: Path) -> None:
    """The source distribution is complete: the wheel that is built from it has the same bytes."""
    build(source, tmp_path, "--sdist")
    [sdist] = tmp_path.glob("*.tar.gz")
    build(sdist, tmp_path, "--wheel")
    [again] = tmp_path.glob("*.whl")
    assert _sha256(again) == _sha256(wheel.file)


@pytest.mark.parametrize("command", ["", "init", "dev", "package", "migrate", "doctor", "tick", "sync", "jobs"])
def test_every_command_starts(wheel: Wheel, tmp_path: Path, command: str) -> None:
    """Each command tells of itself, in an empty folder outside the repository."""
    done = wheel.sweephand(*command.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_the_four_names_and_what_is_behind_them(wheel: Wheel, tmp_path: Path) -> None:
    """The four names come from `sweephand`, and its other modules load from inside the package."""
    code = (
        "from sweephand import Context, GiveUp, Retry, handler\n"
        "from sweephand.layout import MAIN, ROOT, module\n"
        "print(handler.__module__, MAIN.exists(), ROOT.name)\n"
        "print(module('functions').__name__, module('infra').__name__)\n"
    )
    done = wheel.python("-c", code, cwd=tmp_path)
    assert done.stdout.split() == [
        *("sweephand.handlers.registry", "True", "sweephand", "sweephand.functions", "sweephand.infra")
    ], done.stderr


def test_doctor_examines(wheel: Wheel, tmp_path: Path) -> None:
    """`sweephand doctor` says what is not set up, in a folder where nothing is."""
    done = wheel.sweephand("doctor", cwd=tmp_path, SUPABASE_URL=NOWHERE, SUPABASE_KEY="x", REDIS_URL="")
    assert done.returncode == 1
    assert "✗ API keys: SWEEPHAND_API_KEYS is not set" in done.stdout
    assert "✓ handlers: email_notification, generate_pdf, http_request, resize_image" in done.stdout


def test_google_sources_are_those_of_the_repository(wheel: Wheel, tmp_path: Path) -> None:
    """What the wheel builds for Google has the same bytes as what the repository builds."""
    (tmp_path / "handlers.py").write_text("VALUE = 1\n")
    ours = [sys.executable, "-m", "sweephand", "package", "google", "--handlers", "handlers", "--out", "ours"]
    subprocess.run(ours, cwd=tmp_path, check=True, capture_output=True)
    done = wheel.sweephand("package", "google", "--handlers", "handlers", "--out", "theirs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("api", "tick"):
        theirs = tmp_path / f"theirs/google/{name}.zip"
        assert _sha256(theirs) == _sha256(tmp_path / f"ours/google/{name}.zip")
        assert f"sha256 {_sha256(theirs)}" in done.stdout


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
