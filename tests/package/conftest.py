"""What the package's tests share: the wheel, built once and unpacked."""

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.package.target import uv
from sweephand.layout import ROOT

PARTS = ("functions", "infra", "requirements", "shared", "LICENSE", "README.md", "main.py", "pyproject.toml")
"""What of the repository a build reads, and `serverless.yml`."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel, and the folder that it was unpacked into, as `pip install` would."""

    file: Path
    site: Path

    def sweephand(self, *words: str, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run the command `sweephand` of the unpacked wheel in the folder `cwd`."""
        return self.python("-m", "sweephand", *words, cwd=cwd, **env)

    def python(self, *words: str, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run this interpreter in the folder `cwd`, where `sweephand` is the wheel's."""
        found = {**os.environ, "PYTHONPATH": str(self.site), "PYTHONSAFEPATH": "1", **env}
        command = [sys.executable, *words]
        return subprocess.run(command, cwd=cwd, env=found, capture_output=True, text=True, check=False)


def build(source: Path, out: Path, *options: str) -> None:
    """Build `source`, a folder or an sdist, into `out`, with the packages at hand."""
    command = [uv(), "build", "-q", "--offline", "--no-build-isolation", "--python", sys.executable]
    done = subprocess.run(
        [*command, *options, "--out-dir", str(out), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what a wheel is built from, so that nobody's editing meanwhile shows."""
    copy = tmp_path_factory.mktemp("source")
    for name in (*PARTS, "serverless.yml"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".terraform*"))
        else:
            shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """Return the wheel."""
    out = tmp_path_factory.mktemp("wheel")
    build(source, out, "--wheel")
    [file] = out.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(out / "site")
    return Wheel(file, out / "site")
