"""Further ticks that drain beside this one."""

from typing import Protocol


class Drainers(Protocol):
    """Calls further drainers: ticks that drain and report, but call no others and wait for nothing."""

    def call(self, count: int) -> int:
        """Ask for `count` of them, once each and without waiting; return how many requests were taken.

        Never raises: what was not called is not needed for anything to be done, only for it to be done sooner.
        """
        ...

    def close(self) -> None:
        """Wait for those that end with this process."""
        ...
