"""What `make dev` needs and is not there is said at once, before anything is installed."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "test", "touch", "mkdir", "echo")


def _make(folder: Path, *, node: str | None, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
    """Run `make dev` in a copy of the project's outside, where no other programs than these are on PATH."""
    for name in ("Makefile", "pyproject.toml", "package.json", "package-lock.json"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    programs = folder / "bin"
    programs.mkdir()
    for name in TOOLS:
        (programs / name).symlink_to(str(shutil.which(name)))
    if node is not None:
        new = str(int(node.partition(".")[0]) >= 20).lower()  # what the real one would print
        scripts = {"npm": "", "node": f"[ $1 = --version ] && echo v{node} || echo {new}"}
        for name, text in scripts.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
    command = [str(shutil.which("make")), "dev", f"PYTHON={python}"]
    env = {"PATH": str(programs)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("node", "python", "told"),
    [
        (None, sys.executable, "npm is missing: install Node 20 or later"),
        ("18.19.0", sys.executable, "Node 20 or later is needed, and this is v18.19.0"),
        ("20.0.0", "no-such-python", "no-such-python is missing: Python 3.11 or later is needed"),
    ],
    ids=["npm", "old", "python"],
)
def test_what_is_missing_is_said_at_once(tmp_path: Path, node: str | None, python: str, told: str) -> None:
    """One line with the cure comes first, and no virtual environment is begun."""
    began = time.monotonic()
    done = _make(tmp_path, node=node, python=python)
    assert time.monotonic() - began < 5
    assert done.returncode != 0
    assert done.stderr.startswith(told), done.stdout + done.stderr
    assert done.stdout == ""
    assert not (tmp_path / ".venv").exists()


def test_what_only_tests_need_is_not_installed_by_make_dev() -> None:
    """The lock file of `make dev` is a part of the tests', version by version, and has none of their tools."""
    pins = {
        name: {
            line.split(" ")[0] for line in (ROOT / "requirements" / name).read_text().splitlines() if "==" in line
        }
        for name in ("run.txt", "dev.txt")
    }
    assert pins["run.txt"] < pins["dev.txt"]
    names = {pin.partition("==")[0] for pin in pins["run.txt"]}
    assert not names & {"pytest", "mypy", "moto", "cfn-lint", "ruff", "hypothesis", "tfparse", "schemathesis"}
