"""Ctrl-C and SIGTERM as something to look at, so that no start or stop is cut in half."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from infra.local.service import Service


class Stopped(Exception):  # noqa: N818 - asked for, no failure
    """Someone asked to stop."""


class StopSignal:
    """Remembers SIGINT, SIGTERM and SIGHUP. More of them, as an impatient Ctrl-C, change nothing."""

    def __init__(self) -> None:
        self._asked = False

    def check(self) -> None:
        """Raise Stopped once a signal has come."""
        if self._asked:
            raise Stopped

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
        self._asked = True
