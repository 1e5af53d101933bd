"""Ends what a process started when that process is gone, whichever way it went.

A guard is one tiny process per owner. It learns each child's pid through a pipe and acts when the pipe
closes or its parent changes: also after a SIGKILL, which leaves the owner no chance to clean up. Linux'
parent-death signal would do less: it is tied to the thread that forked, is cleared by setuid, and macOS
has none.
"""

import atexit
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

GRACE = 8.0
"""Seconds that orphans get between their stop signal and SIGKILL."""


class Guard:
    """The owner's end: which children are to be ended with it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(self.owner)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._children: set[int] = set()
        atexit.register(self._close)

    def protect(self, pid: int, stop: signal.Signals) -> None:
        """End `pid`, a leader of its own process group, with `stop` (then SIGKILL) once the owner is gone."""
        self._children.add(pid)
        self._tell(f"+{pid} {int(stop)}\n")

    def release(self, pid: int) -> None:
        """Forget `pid`, which has ended: its number may soon be another's."""
        self._children.discard(pid)
        self._tell(f"-{pid}\n")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()

    def _close(self) -> None:
        if os.getpid() != self.owner:
            return  # a fork of the owner, whose children these are not
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not self._children:
            self._process.wait()
        # Else it has work, part of which is to see us gone: until then what has ended stays a zombie.


_guard: Guard | None = None


def guard() -> Guard:
    """Return this process's guard, started at the first call."""
    global _guard  # noqa: PLW0603 - one per process is the point
    if _guard is None or _guard.owner != os.getpid():
        _guard = Guard()
    return _guard


def _wait_for_the_owner(owner: int) -> dict[int, int]:
    """Follow the pipe until the owner is gone; return the pids left, each with its stop signal."""
    children: dict[int, int] = {}
    buffer = b""
    while os.getppid() == owner:
        # The time limit matters where a fork of the owner keeps the pipe open.
        if not select.select([0], [], [], 0.5)[0]:
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            pid, _, stop = line[1:].partition(b" ")
            if line.startswith(b"+"):
                children[int(pid)] = int(stop)
            else:
                children.pop(int(pid), None)
    return children


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def main() -> None:
    """Wait for the owner named in argv to go, then end its children, last started first."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    children = _wait_for_the_owner(int(sys.argv[1]))
    for pid in reversed(children):
        with suppress(OSError):
            os.kill(pid, children[pid])
    deadline = time.monotonic() + GRACE
    while any(map(_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in children:
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
