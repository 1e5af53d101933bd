"""What enters handlers: one runner for each isolation."""

from collections.abc import Callable
from math import inf
from typing import NamedTuple, Protocol

from sweephand.domain.handler import Handler
from sweephand.domain.outcome import Outcome
from sweephand.ports.record import Start


class Work(NamedTuple):
    """One start and the handler to enter."""

    start: Start
    handler: Handler
    enter_by: float = inf
    """When its lease or the budget gets too short for a whole run, in seconds of `time.monotonic()`."""


Finished = Callable[[Outcome], None]


class Runner(Protocol):
    """Enters handlers; used on one event loop alone."""

    @property
    def slots(self) -> int:
        """How many handlers may run at once."""
        ...

    @property
    def stuck(self) -> int:
        """How many handlers passed their time limit and could not be ended: they are still running."""
        ...

    def enter(self, work: Work, finished: Finished) -> None:
        """Enter the handler now, and call `finished` on the event loop, once, within its time limit or soon after.

        A slot must be free. May call `finished` before it returns.
        """
        ...

    def close(self) -> None:
        """Let go of threads and child processes; what is stuck in a thread stays."""
        ...
