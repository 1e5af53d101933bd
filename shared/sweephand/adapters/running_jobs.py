"""Which jobs' handlers run in this process, and which job each printed line comes from.

The runners note each handler as it begins and ends. A process that is asked to end says from these notes which jobs
it waits for. A process whose output a person reads (`sweephand dev`) labels each line that a handler prints or logs
with the id of its job.
"""

import io
import logging
import os
import sys
import threading
import time
from contextvars import ContextVar
from typing import NamedTuple, TextIO

from sweephand.domain.attempt import Attempt

LABELLED = "SWEEPHAND_LABEL_OUTPUT"
"""The environment variable that has children label their lines too, whatever its value."""
job: ContextVar[str] = ContextVar("job", default="")
"""The id of the job whose handler runs here, empty outside of handlers."""


class RunningJob(NamedTuple):
    """A job whose handler runs; `until`: when its time limit ends it, on `time.monotonic()`'s clock."""

    id: str
    token: str
    type: str
    until: float


_now: dict[str, RunningJob] = {}
_held: dict[tuple[int, str], str] = {}
"""What each job wrote to each stream since its last line break."""
_streams: list["Labelled"] = []


def begin(attempt: Attempt) -> None:
    """Note that the attempt's handler runs from now on, in the context (of a task or a thread) that calls this."""
    id_ = attempt.claim.id
    job.set(id_)
    _now[id_] = RunningJob(id_, attempt.token, attempt.type, time.monotonic() + attempt.handler.timeout)


def end(attempt: Attempt) -> None:
    """Note that the attempt's handler has ended; what it printed last goes out without its line break."""
    id_ = attempt.claim.id
    _now.pop(id_, None)
    if _held:
        for stream in _streams:
            stream.let_out(id_)
    job.set("")


def running() -> list[RunningJob]:
    """Return the jobs whose handlers run at this moment."""
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
