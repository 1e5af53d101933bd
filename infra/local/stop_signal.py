"""Remembers Ctrl-C and SIGTERM until the program checks for them, so that no start or stop is cut in half."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .services.service import Service


class Stopped(Exception):  # noqa: N818 - a request, no failure
    """A stop signal has come."""


class StopSignal:
    """Counts SIGINT, SIGTERM and SIGHUP. The second of them means: do not wait for running jobs."""

    def __init__(self) -> None:
        self._count = 0

    def check(self) -> None:
        """Raise Stopped if a signal has come."""
        if self._count:
            raise Stopped

    @property
    def impatient(self) -> bool:
        """Whether a second signal has come."""
        return self._count > 1

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals until the end of the block. A wait for a starting service ends with them too."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, self._remember) for number in numbers]
        Service.on_wait = staticmethod(self.check)
        try:
            yield
        finally:
            Service.on_wait = staticmethod(lambda: None)
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
