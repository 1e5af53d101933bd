"""Walks a user's way with the built wheel alone: init, dev, a job, its test, package. `.ci/walk-wheel` runs it.

python3 -m tests.e2e.walk_wheel WHEEL FOLDER REQUIREMENTS [--without-npm]

Makes a fresh virtual environment in FOLDER, outside the repository. REQUIREMENTS are the versions to install.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.walk import DONE, GONE, OURS, UP, call, free_port, left, said, wait

NODE = ("node", "npm", "npx", "postgrest")


def walk(wheel: Path, folder: Path, requirements: Path, *, npm: bool) -> None:
    """Walk the way; raises AssertionError with what was said where it ends."""
    env = _environment(folder, npm=npm)
    project = folder / "project"
    project.mkdir()
    _run(env, folder, sys.executable, "-m", "venv", "venv")
    _run(env, folder, "uv", "pip", "install", "-q", "--require-hashes", "-r", str(requirements))
    _run(env, folder, "uv", "pip", "install", "-q", "--no-deps", str(wheel))
    packages = folder / "venv/lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    taken = {path.name for path in packages.iterdir()} & {"shared", "functions", "infra", "requirements", "tests"}
    assert not taken, f"the wheel took {taken}"
    _run(env, project, "sweephand", "init")
    if npm:
        _run(
            env, project, "npm", "install", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"
        )
    _serve(env, project, npm=npm)
    assert "1 passed" in _run(env, project, "pytest", "-q")
    _run(env, project, "sweephand", "package", "--python", f"{sys.version_info.major}.{sys.version_info.minor}")
    for name in ("api", "tick"):
        assert (project / f"dist/aws/{name}.zip").stat().st_size > 1_000_000
    _run(env, project, "sweephand", "package", "google")


def _environment(folder: Path, *, npm: bool) -> dict[str, str]:
    """Return ours with the fresh virtual environment on PATH; without npm, nothing of Node's is on it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    path = [str(folder / "venv/bin"), *env["PATH"].split(os.pathsep)]
    if not npm:
        path = [each for each in path if not any((Path(each) / name).exists() for name in NODE)]
        (folder / "bin").mkdir()
        for name in ("uv", "sh", "env", "ps"):  # which lay in the same folders
            if (found := shutil.which(name)) is not None:
                (folder / "bin" / name).symlink_to(found)
        path.append(str(folder / "bin"))
    return {**env, "PATH": os.pathsep.join(path), "VIRTUAL_ENV": str(folder / "venv")}


def _run(env: dict[str, str], cwd: Path, *command: str) -> str:
    program = shutil.which(command[0], path=env["PATH"]) or command[0]
    done = subprocess.run([program, *command[1:]], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def _serve(env: dict[str, str], project: Path, *, npm: bool) -> None:
    """Run `sweephand dev`, and a job of the example handler to its result."""
    port = free_port()
    with (project / "dev.log").open("w+") as log:
        dev = subprocess.Popen(
            [shutil.which("sweephand", path=env["PATH"]) or "sweephand", "dev"],
            cwd=project,
            env={**env, "PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait(lambda: "Ctrl-C" in said(log) or dev.poll() is not None, UP, log)
            assert dev.poll() is None, said(log)
            job = call(port, "/jobs", {"type": "greet", "payload": {"name": "Ada"}})["id"]
            wait(lambda: call(port, f"/jobs/{job}")["status"] == "completed", DONE, log)
            assert call(port, f"/jobs/{job}")["result"] == {"said": "Hello, Ada!"}
            assert ("STORE=direct" in said(log)) is not npm, said(log)
        finally:
            os.killpg(dev.pid, signal.SIGINT)
            dev.wait(60)
        wait(lambda: not left(project), GONE, log)


if __name__ == "__main__":
    began = time.monotonic()
    with_npm = "--without-npm" not in sys.argv
    walk(*(Path(word).resolve() for word in sys.argv[1:4]), npm=with_npm)
    way = "with npm" if with_npm else "without npm"
    sys.stdout.write(f"✓ the wheel, {way}: init, dev, a job, its test, package: {time.monotonic() - began:.0f} s\n")
