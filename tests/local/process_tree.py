"""Which of a program's processes are still there."""

import time
from pathlib import Path

from infra.local.services.processes import children, command_line


def descendants(pid: int) -> set[int]:
    """Return every process that `pid` started, and theirs."""
    found = set(children(pid))
    return found.union(*(descendants(child) for child in found))


def wait_until_gone(pids: set[int], limit: float = 15) -> dict[int, str]:
    """Wait until none of `pids` runs, at most `limit` seconds; return those left with their command lines."""
    deadline = time.monotonic() + limit
    while (left := {pid: command_line(pid) for pid in pids if _runs(pid)}) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        # A zombie has ended; who inherited it has yet to notice.
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not stat.parent.parent.exists() and bool(command_line(pid))
