"""Starts ticks besides those of the schedule."""

from typing import Protocol


class TickTrigger(Protocol):
    """Starts other ticks. None of its methods raises what a network or a platform does."""

    def now(self, count: int = 1, left: float = 0.0) -> int:
        """Start `count` ticks, without waiting for them to end; return how many requests were taken.

        Makes each request once. If a tick does not start, jobs are delayed, not lost: the next scheduled tick runs
        them. `left`: seconds in which the caller's handlers may still run. A tick that is a child process of the
        caller ends by then, or does not start.
        """
        ...

    def stop(self) -> None:
        """Have child processes of the caller start no more jobs. Returns at once; may be called from any thread."""
        ...

    def close(self) -> None:
        """Wait for child processes of the caller, no longer than was `left`."""
        ...
