"""Which jobs this process is inside of, and whose each printed line is.

The runners note what they enter. A process that is asked to end tells from it what to wait for; one whose output a
person reads (`sweephand dev`) gives each line that a handler prints or logs the id of its job.
"""

import io
import logging
import os
import sys
import threading
import time
from contextvars import ContextVar
from typing import NamedTuple, TextIO

from sweephand.ports.runner import Work

LABELLED = "SWEEPHAND_LABEL_OUTPUT"
"""Set to anything where children are to label their lines too."""
job: ContextVar[str] = ContextVar("job", default="")
"""The id of the job whose handler runs here, empty outside of handlers."""


class Entered(NamedTuple):
    """A job whose handler runs; `until`: when its time limit ends it, on `time.monotonic()`'s clock."""

    id: str
    token: str
    type: str
    until: float


_now: dict[str, Entered] = {}
_held: dict[tuple[int, str], str] = {}
"""What each job wrote to each stream since its last line break."""
_streams: list["Labelled"] = []


def enter(work: Work) -> None:
    """Note that this job's handler is entered, in the context (of a task or a thread) that calls this."""
    start = work.start
    job.set(start.id)
    _now[start.id] = Entered(start.id, start.token, start.type, time.monotonic() + work.handler.timeout)


def leave(work: Work) -> None:
    """Note that it has ended; what it printed last goes out without its line break."""
    _now.pop(work.start.id, None)
    if _held:
        for stream in _streams:
            stream.let_out(work.start.id)
    job.set("")


def entered() -> list[Entered]:
    """Return what runs at this moment."""
    return list(_now.values())


def label(job_id: str, line: str) -> str:
    """Return a line of a job's output as it is written; `infra.local.serving.job_lines` reads it."""
    return f"[job {job_id}] {line}\n"


class Labelled(io.TextIOBase):
    """A text stream that writes whole lines, each under its job's id; what no job writes passes as it is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Write what is complete, and keep the rest until its line ends."""
        job_id = job.get()
        if not job_id:
            return self._stream.write(text)
        key = (id(self), job_id)
        with self._lock:
            *lines, rest = (_held.pop(key, "") + text).split("\n")
            if rest:
                _held[key] = rest
            self._put(job_id, lines)
        return len(text)

    def let_out(self, job_id: str) -> None:
        """Write what a job has left unfinished."""
        with self._lock:
            if rest := _held.pop((id(self), job_id), ""):
                self._put(job_id, [rest])

    def flush(self) -> None:
        """Write out what is complete."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the stream's own."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Return what the stream itself says."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """Return True."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override] # a plain attribute there
        """The stream's own."""
        return self._stream.encoding

    @property
    def buffer(self) -> object:
        """The stream's own: bytes written to it are no job's."""
        return self._stream.buffer

    def _put(self, job_id: str, lines: list[str]) -> None:
        if lines:
            self._stream.write("".join(label(job_id, line) for line in lines))
            self._stream.flush()


def label_output() -> None:
    """Have this process, and the children that it starts, label what handlers print and log (from INFO on)."""
    os.environ[LABELLED] = "1"
    sys.stdout, sys.stderr = Labelled(sys.stdout), Labelled(sys.stderr)
    _streams[:] = [sys.stdout, sys.stderr]
    logs = logging.StreamHandler(sys.stderr)
    logs.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logs.addFilter(lambda record: bool(job.get()) or record.levelno >= logging.WARNING)
    root = logging.getLogger()
    root.addHandler(logs)
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each call of the record
