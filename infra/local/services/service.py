"""A program that the local emulation starts, waits for, and stops."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Self

from .orphan_reaper import orphan_reaper

START_LIMIT = 30.0
"""Seconds that a program has to become ready."""
STOP_LIMIT = 15.0
"""Seconds between a program's stop signal and SIGKILL."""
LOG_LIMIT = 8 * 1024 * 1024
"""Bytes above which the next start begins the log anew."""


class ServiceError(Exception):
    """A program of the local emulation is missing or did not start. The message says what to do."""


PORTS = range(10_000, 32_768)
"""Ports below those that systems give to outgoing connections (on Linux from 32,768).

Such a connection could take the port of a service that is down for a moment.
"""


def free_port() -> int:
    """Return one of PORTS that is free on 127.0.0.1 now. Raises ServiceError when none is free."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServiceError("no port is free on 127.0.0.1")


def accepts(port: int) -> bool:
    """Tell whether a program on 127.0.0.1 accepts connections at `port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Service:
    """A child process with a log, a port, and a check that it is ready.

    Subclasses give `command`, and where needed `environment`, `prepare`, `ready`. The port stays the same over
    stop, kill and start, so that clients find the service again.
    """

    name = "service"
    stop_signal = signal.SIGTERM
    log: Path
    """The file that gets the program's stdout and stderr."""
    on_wait: ClassVar[Callable[[], None]] = staticmethod(lambda: None)
    """Called again and again while a start waits. An exception that it raises ends the wait: a signal does that."""

    def __init__(self, log: Path, port: int | None = None) -> None:
        self.log = log
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return the program's whole environment."""
        return dict(os.environ)

    def working_directory(self) -> Path | None:
        """Return the folder that the program runs in, None for our own."""
        return None

    def user(self) -> int | None:
        """Return the uid to run as, None for our own."""
        return None

    def prepare(self) -> None:
        """Make the files that the program needs."""

    @contextmanager
    def started_with(self) -> Iterator[tuple[list[str], tuple[int, ...]]]:
        """Yield `command` and the descriptors that the program inherits; they stay open during its start only."""
        yield self.command(), ()

    def ready(self) -> bool:
        """Tell whether the program answers."""
        return accepts(self.port)

    @property
    def pid(self) -> int | None:
        """The process id of the running program, None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def returncode(self) -> int | None:
        """The exit status of the program's last end, None while it runs or before its first start."""
        return self._process.poll() if self._process else None

    def start(self, limit: float = START_LIMIT) -> None:
        """Start the program and wait until it is ready, at most `limit` seconds.

        Raises ServiceError with the log's tail when it ends or does not get ready; no process is left then.
        """
        self.spawn()
        self.wait_ready(limit)

    def __enter__(self) -> Self:
        """Start the program."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the program."""
        self.stop()

    def spawn(self) -> None:
        """Start the program without waiting for it."""
        if self.pid is not None:
            return
        self._forget_ended()
        self.prepare()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        mode = "wb" if self.log.exists() and self.log.stat().st_size > LOG_LIMIT else "ab"
        uid = self.user()
        with self.log.open(mode) as log, self.started_with() as (command, handed):
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command,
                pass_fds=handed,
                env=self.environment(),
                cwd=self.working_directory(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone: we stop the programs in order
                user=uid,
                group=uid,
                extra_groups=None if uid is None else [],
            )
        orphan_reaper().watch(self._process.pid, self.stop_signal)

    def wait_ready(self, limit: float = START_LIMIT) -> None:
        """Wait until the spawned program is ready. Raises ServiceError as `start` does."""
        deadline = time.monotonic() + limit
        pause = 0.005
        while not self.ready():
            Service.on_wait()
            if self.pid is None:
                self._forget_ended()
                raise ServiceError(f"{self.name} did not start:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceError(f"{self.name} was not ready after {limit:.0f} s:\n{self.log_tail()}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def stop(self) -> None:
        """End the program by its stop signal, after STOP_LIMIT seconds by SIGKILL. Harmless when it is down."""
        self.signal(self.stop_signal)
        if self._process:
            try:
                self._process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self.kill()
            self._forget_ended()

    def kill(self) -> None:
        """End the program and its process group at once with SIGKILL, as a power cut would."""
        if self._process and self.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._forget_ended()

    def signal(self, number: signal.Signals) -> None:
        """Send the running program a signal: SIGSTOP and SIGCONT make it hang and go on."""
        if self._process and self.pid is not None:
            self._process.send_signal(number)

    def log_tail(self, lines: int = 15) -> str:
        """Return the last `lines` lines that the program wrote since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode(errors="replace").strip()
        return "\n".join(text.splitlines()[-lines:]) or "(it wrote nothing)"

    def _forget_ended(self) -> None:
        if self._process and self._process.poll() is not None:
            orphan_reaper().forget(self._process.pid)
