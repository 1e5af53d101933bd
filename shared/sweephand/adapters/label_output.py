"""Labels each line that a handler prints or logs with its job's id, where a person reads it: `sweephand dev`."""

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TextIO

from sweephand.domain.handler import Context, Handler, Isolation

LABELLED = "SWEEPHAND_LABEL_OUTPUT"
"""The environment variable that has a process label its handlers' lines, whatever its value."""
job: ContextVar[str] = ContextVar("job", default="")
"""The id of the job whose handler runs here, empty outside of handlers."""


_held: dict[tuple[int, str], str] = {}
"""What each job wrote to each stream since its last line break."""
_streams: list["Labelled"] = []


def wanted() -> bool:
    """Tell whether this process is to label what its handlers print and log."""
    return LABELLED in os.environ


def labelled(handler: Handler) -> Handler:
    """Return `handler` such that what it prints and logs is its job's, in a task, a thread or a child process."""
    if handler.isolation is Isolation.ASYNC:

        async def run_async(payload: Any, ctx: Context) -> Any:
            with _output_of(str(ctx.job_id)):
                return await handler.run(payload, ctx)

        return replace(handler, run=run_async)

    def run(payload: Any, ctx: Context) -> Any:
        with _output_of(str(ctx.job_id)):
            return handler.run(payload, ctx)

    return replace(handler, run=run)


@contextmanager
def _output_of(job_id: str) -> Iterator[None]:
    """Label what the block writes; what it wrote last goes out without its line break."""
    job.set(job_id)
    try:
        yield
    finally:
        if _held:
            for stream in _streams:
                stream.let_out(job_id)
        job.set("")


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


def install() -> None:
    """Have this process, and the children that it starts, label what handlers print and log (from INFO on).

    Call it before the handlers are loaded: `app.handlers` passes each through `labelled`.
    """
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
