"""Work that goes on whether or not who began it waits for it."""

from collections.abc import Callable
from typing import Protocol


class Background(Protocol):
    """Does work beside the caller; what hangs in it keeps neither the caller nor the process."""

    def does(self, work: Callable[[], None], within: float) -> bool:
        """Begin `work`, wait for it for at most `within` seconds, and tell whether it has ended; else it goes on.

        What it raises is logged.
        """
        ...
