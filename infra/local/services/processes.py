"""Facts about running processes, from /proc where there is one, else from `ps` (macOS)."""

import subprocess
from pathlib import Path


def command_line(pid: int) -> str:
    """Return the command line of process `pid`, empty when no such process runs."""
    if _PROC.exists():
        try:
            return (_PROC.parent / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    return _ps("-o", "args=", "-p", str(pid)).strip()


def works_on(pid: int, folder: Path) -> bool:
    """Tell whether `folder` is the current folder of process `pid`; without /proc, whether its command names it."""
    if _PROC.exists():
        try:
            return (_PROC.parent / str(pid) / "cwd").samefile(folder)
        except OSError:
            return False
    return str(folder) in command_line(pid)


def children(pid: int) -> list[int]:
    """Return the pids of the running processes that `pid` started."""
    if _PROC.exists():
        listed = [(int(path.name), _parent(path)) for path in _PROC.parent.iterdir() if path.name.isdigit()]
    else:
        rows = (line.split() for line in _ps("-axo", "pid=,ppid=").splitlines())
        listed = [(int(child), int(parent)) for child, parent in rows]
    return [child for child, parent in listed if parent == pid]


_PROC = Path("/proc/self")


def _parent(entry: Path) -> int:
    try:
        # The name, in parentheses, may hold anything; the state and the parent's pid follow it.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _ps(*arguments: str) -> str:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout
