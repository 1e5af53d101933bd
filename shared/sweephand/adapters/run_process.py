"""Runs handlers in child processes, which can be killed at their time limit.

A child serves one job after another; `sweephand/child.py` is its side. Messages are JSON behind four bytes of
length, on its standard input and output. No multiprocessing: its queues need semaphores that AWS Lambda has not.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sweephand.adapters.run_thread import ThreadRunner
from sweephand.domain.attempt import (
    Attempt,
    Failed,
    GaveUp,
    NotRun,
    Outcome,
    PayloadInvalid,
    RetryRequested,
    Succeeded,
    TimedOut,
)
from sweephand.ports.runner import Ended

_KINDS: dict[str, type[Outcome]] = {
    kind.__name__: kind for kind in (Succeeded, Failed, RetryRequested, GaveUp, PayloadInvalid, NotRun)
}
START_LIMIT = 8.0
"""Seconds that a new child gets to load its handlers; less than a lease lasts beyond the time limit."""
MAX_MESSAGE = 1024 * 1024
"""Bytes of an answer: a result is at most 64 KiB, so more than this is no answer of ours."""


class ProcessRunner:
    """The `Runner` port for `Isolation.PROCESS`. `command` starts a child, in the environment `env`."""

    def __init__(self, slots: int, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.slots = slots
        self._children = _Children(command, env)
        self._threads = ThreadRunner(slots, self._children.perform, grace=START_LIMIT + 5.0)

    @property
    def stuck(self) -> int:
        """See the port: a process can always be ended, so this stays 0 unless the system itself hangs."""
        return self._threads.stuck

    def run(self, attempt: Attempt, ended: Ended) -> None:
        """See the port."""
        self._threads.run(attempt, ended)

    def close(self) -> None:
        """See the port."""
        self._threads.close()
        self._children.close()


class _Children:
    """Idle children, and what is asked of one."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._command, self._env = command, env
        self._idle: list[_Child] = []
        self._lock = threading.Lock()

    def perform(self, attempt: Attempt) -> Outcome:
        """Have a child run the handler; its time limit begins when the child is ready."""
        ready_by = min(time.monotonic() + START_LIMIT, attempt.run_by)
        child = self._take()
        try:
            child.become_ready(ready_by)
        except TimeoutError:
            child.kill()
            too_late = ready_by == attempt.run_by
            return NotRun() if too_late else Failed(f"its process was not ready within {START_LIMIT:g} s")
        except (OSError, EOFError):
            return Failed(f"its process {child.kill()} before it was ready")
        until = time.monotonic() + attempt.handler.timeout
        try:
            answer = child.ask(
                {
                    "type": attempt.type,
                    "job_id": attempt.claim.id,
                    "attempt": attempt.number,
                    "payload": attempt.payload,
                    "timeout": attempt.handler.timeout,
                    "run_by": attempt.run_by,
                },
                until,
            )
        except TimeoutError:
            child.kill()
            return TimedOut(attempt.handler.timeout, stuck=False)
        except (OSError, EOFError):
            return Failed(f"its process {child.kill()} before it answered")
        except ValueError as e:
            child.kill()
            return Failed(f"its process gave no answer that can be read: {e}")
        with self._lock:
            self._idle.append(child)
        return _KINDS[answer.pop("kind")](**answer)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.kill()

    def _take(self) -> "_Child":
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Child(self._command, self._env)


class _Child:
    """One child process, in a process group of its own so that what it starts ends with it."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        self._ready = False

    def become_ready(self, until: float) -> None:
        """Wait until the child has its handlers; raises `TimeoutError` at `until`, `EOFError` if it ended."""
        if not self._ready:
            self._read(4, until)
            self._ready = True

    def ask(self, request: dict[str, Any], until: float) -> dict[str, Any]:
        """Return the child's answer; raises `TimeoutError` at `until`, `EOFError` when it has ended."""
        assert self._process.stdin is not None
        body = json.dumps(request).encode()
        self._send(len(body).to_bytes(4, "big") + body, until)
        size = int.from_bytes(self._read(4, until), "big")
        if size > MAX_MESSAGE:
            raise ValueError(f"an answer of {size} bytes")
        answer: dict[str, Any] = json.loads(self._read(size, until))
        return answer

    def kill(self) -> str:
        """End the child and all it started; return in words how it had ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"

    def _send(self, data: bytes, until: float) -> None:
        """Write all of `data`, however slowly it is read."""
        assert self._process.stdin is not None
        pipe = self._process.stdin.fileno()
        os.set_blocking(pipe, False)
        view = memoryview(data)
        while view:
            if not select.select([], [pipe], [], max(0, until - time.monotonic()))[1]:
                raise TimeoutError
            view = view[os.write(pipe, view) :]

    def _read(self, size: int, until: float) -> bytes:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        data = b""
        while len(data) < size:
            if not select.select([pipe], [], [], max(0, until - time.monotonic()))[0]:
                raise TimeoutError
            chunk = os.read(pipe, size - len(data))
            if not chunk:
                self._process.wait()
                raise EOFError
            data += chunk
        return data
