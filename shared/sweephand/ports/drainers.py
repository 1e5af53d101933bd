"""Further ticks that drain beside this one."""

from typing import Protocol


class Drainers(Protocol):
    """Calls further drainers: ticks that drain and report, but call no others and wait for nothing."""

    def call(self, count: int, left: float) -> int:
        """Ask for `count` of them, once each and without waiting; return how many requests were taken.

        `left`: seconds in which the caller's handlers may still run. Those that end with this process end by then.
        Never raises: what was not called is not needed for anything to be done, only for it to be done sooner.
        """
        ...

    def stop(self) -> None:
        """Have those that end with this process start nothing more; returns at once, from any thread."""
        ...

    def close(self) -> None:
        """Wait for those that end with this process, which takes no longer than was `left`."""
        ...
