"""The Makefile says at once what is missing, before it installs anything."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "test", "touch", "mkdir", "echo")


def _make(
    folder: Path, target: str, *, node: str | None, python: str = sys.executable
) -> "subprocess.CompletedProcess[str]":
    """Run `make` in a copy of the project's files for it, with TOOLS and `node` alone on PATH."""
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
    command = [str(shutil.which("make")), target, f"PYTHON={python}"]
    env = {"PATH": str(programs)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("target", "node", "python", "message"),
    [
        ("test", None, sys.executable, "npm is missing: install Node 20 or later"),
        ("test", "18.19.0", sys.executable, "Node 20 or later is needed, and this is v18.19.0"),
        ("test", "20.0.0", "no-such-python", "no-such-python is missing: Python 3.11 or later is needed"),
        ("dev", "20.0.0", "no-such-python", "no-such-python is missing: Python 3.11 or later is needed"),
        ("dev", None, "no-such-python", "no-such-python is missing: Python 3.11 or later is needed"),
        ("dev", "18.19.0", "no-such-python", "no-such-python is missing: Python 3.11 or later is needed"),
    ],
)
def test_what_is_missing_is_said_at_once(
    tmp_path: Path, target: str, node: str | None, python: str, message: str
) -> None:
    """One line with the cure comes first, and no virtual environment is begun; `make dev` needs no Node."""
    began = time.monotonic()
    done = _make(tmp_path, target, node=node, python=python)
    assert time.monotonic() - began < 5
    assert done.returncode != 0
    assert done.stderr.startswith(message), done.stdout + done.stderr
    assert done.stdout == ""
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("node", [None, "18.19.0"])
def test_make_dev_installs_nothing_of_node_without_node(tmp_path: Path, node: str | None) -> None:
    """Without npm, or with an old Node, the step succeeds, and is not marked as done: Node may come later."""
    done = _make(tmp_path, "node_modules/.run", node=node)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "node_modules").exists()


def test_make_dev_installs_postgrest_with_node(tmp_path: Path) -> None:
    """With Node the step runs npm and is marked as done."""
    done = _make(tmp_path, "node_modules/.run", node="20.0.0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "installing the Node packages" in done.stdout
    assert (tmp_path / "node_modules" / ".run").exists()


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
