"""What runs handlers: one runner for each isolation."""

from collections.abc import Callable
from typing import Protocol

from sweephand.domain.attempt import Attempt, Outcome

Ended = Callable[[Attempt, Outcome], None]


class Runner(Protocol):
    """Runs handlers; used on one event loop alone."""

    @property
    def slots(self) -> int:
        """How many handlers may run at once."""
        ...

    @property
    def stuck(self) -> int:
        """How many handlers passed their time limit and could not be ended: they are still running."""
        ...

    def run(self, attempt: Attempt, ended: Ended) -> None:
        """Run the handler now, and call `ended` on the event loop, once, within its time limit or soon after.

        A slot must be free. May call `ended` before it returns.
        """
        ...

    def close(self) -> None:
        """Let go of threads and child processes; a stuck thread stays."""
        ...
