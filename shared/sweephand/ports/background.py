"""Work whose caller may stop waiting for it."""

from collections.abc import Callable
from typing import Protocol


class Background(Protocol):
    """Does work beside the caller. Work that hangs keeps neither the caller nor the process."""

    def does(self, work: Callable[[], None], within: float) -> bool:
        """Begin `work`, wait at most `within` seconds for its end, and tell whether it has ended.

        Work that has not ended goes on. An error that it raises is logged.
        """
        ...
