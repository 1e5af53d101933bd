"""Walks a newcomer's way in a fresh clone: `make dev`, a job, its mail, Ctrl-C. `.ci/walk` runs it.

python3 tests/e2e/walk.py CLONE

Needs nothing but Python, so that it can be run as any user and from anywhere.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

UP, DONE, GONE = 600.0, 30.0, 15.0
"""Seconds for the start, which installs what is missing; for a job; and for the end."""
JOB = {
    "type": "email_notification",
    "payload": {"to": "test@example.com", "subject": "Hello!", "message": "This is a test job."},
}
OURS = ("SUPABASE_", "REDIS_", "SWEEPHAND_", "PYTHON", "MAKE", "MFLAGS", "VIRTUAL_ENV")


def walk(clone: Path) -> None:
    """Walk the way in `clone`; raises AssertionError with what was said where it ends."""
    shutil.rmtree(clone / ".sweephand", ignore_errors=True)
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    # One for each user: another's could not be written to.
    with (clone / f"walk-{os.geteuid()}.log").open("w+") as log:
        make = subprocess.Popen(
            ["make", "dev", *[word for word in sys.argv[2:] if "=" in word]],
            cwd=clone,
            env={**env, "PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait(lambda: "Ctrl-C" in said(log) or make.poll() is not None, UP, log)
            assert make.poll() is None, said(log)
            job = call(port, "/jobs", JOB)["id"]
            wait(lambda: call(port, f"/jobs/{job}")["status"] == "completed", DONE, log)
            [letter] = (clone / ".sweephand" / "outbox").glob(f"{job}*.eml")
            assert message_from_bytes(letter.read_bytes())["Subject"] == "Hello!"
        finally:
            os.killpg(make.pid, signal.SIGINT)  # as a terminal's Ctrl-C: make gets it too
            make.wait(60)
        wait(lambda: not left(clone), GONE, log)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def call(port: int, path: str, body: object = None) -> dict[str, Any]:
    """Call the API and return its answer; POST where there is a body."""
    headers = {"Authorization": "Bearer dev-key", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"http://127.0.0.1:{port}{path}", data, headers)
    with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def said(log: Any) -> str:
    """Return what stands in the log."""
    log.seek(0)
    return str(log.read())


def wait(happened: Any, limit: float, log: Any) -> None:
    """Wait until it has happened; raises AssertionError with the log after `limit` seconds."""
    until = time.monotonic() + limit
    while not happened():
        assert time.monotonic() < until, said(log)
        time.sleep(0.1)


def left(clone: Path) -> list[int]:
    """Return the processes that work in the clone or name it, but for this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            cwd = str((entry / "cwd").readlink())
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # gone, or another user's
            continue
        if int(entry.name) not in {os.getpid(), os.getppid()} and (
            cwd.startswith(str(clone)) or str(clone) in words
        ):
            found.append(int(entry.name))
    return found


if __name__ == "__main__":
    began = time.monotonic()
    walk(Path(sys.argv[1]))
    sys.stdout.write(f"✓ make dev, uid {os.geteuid()}, in {sys.argv[1]}: {time.monotonic() - began:.0f} s\n")
