"""Ctrl-C and SIGTERM as something to look at, so that no start or stop is cut in half."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .services.service import Service


class Stopped(Exception):  # noqa: N818 - asked for, no failure
    """Someone asked to stop."""


class StopSignal:
    """Counts SIGINT, SIGTERM and SIGHUP. The second says that nothing that runs is to be waited for."""

    def __init__(self) -> None:
        self._asked = 0

    def check(self) -> None:
        """Raise Stopped once a signal has come."""
        if self._asked:
            raise Stopped

    @property
    def impatient(self) -> bool:
        """Whether a second one has come."""
        return self._asked > 1

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Take the signals until the end of the block; services that are starting look at them too."""
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
        self._asked += 1
