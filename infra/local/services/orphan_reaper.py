"""Ends the programs that a process started when that process is gone, however it ended.

The reaper is one small process for each owner. It learns the pid of each program through a pipe, and acts when
the pipe closes or its own parent changes. So it acts after a SIGKILL too, when the owner cannot clean up.
Linux' parent-death signal would do less: it is tied to the thread that forked, setuid clears it, macOS lacks it.
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
"""Seconds between an orphan's stop signal and SIGKILL."""


class OrphanReaper:
    """The owner's end of the pipe: which children end with the owner."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(self.owner)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._children: set[int] = set()
        atexit.register(self._close)

    def watch(self, pid: int, stop: signal.Signals) -> None:
        """Have `pid`, a leader of its own process group, get `stop`, then SIGKILL, once the owner is gone."""
        self._children.add(pid)
        self._send(f"+{pid} {int(stop)}\n")

    def forget(self, pid: int) -> None:
        """Forget `pid`, which has ended: another process may get its number soon."""
        self._children.discard(pid)
        self._send(f"-{pid}\n")

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()

    def _close(self) -> None:
        if os.getpid() != self.owner:
            return  # this is a fork of the owner: the children are not its own
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not self._children:
            self._process.wait()
        # Else the reaper has children to end, and waits for us to be gone: until then ended ones stay zombies.


_reaper: OrphanReaper | None = None


def orphan_reaper() -> OrphanReaper:
    """Return this process's reaper; the first call starts it."""
    global _reaper  # noqa: PLW0603 - one per process is the point
    if _reaper is None or _reaper.owner != os.getpid():
        _reaper = OrphanReaper()
    return _reaper


def _wait_for_the_owner(owner: int) -> dict[int, int]:
    """Read the pipe until the owner is gone; return the pids that remain, each with its stop signal."""
    children: dict[int, int] = {}
    buffer = b""
    while os.getppid() == owner:
        # The limit of the wait matters where a fork of the owner keeps the pipe open.
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
    """Wait until the owner, whose pid is in argv, is gone; then end its children, the last started first."""
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
