"""What has a tick run before the schedule does."""

from typing import Protocol


class Waker(Protocol):
    """Calls a tick that drains and lingers as the schedule's does, but calls no others."""

    def wake(self) -> None:
        """Ask for one, once, and return when the request is on its way.

        Never raises what the network does: a tick that was not called comes with the schedule.
        """
        ...
