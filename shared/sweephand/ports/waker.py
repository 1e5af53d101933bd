"""What has a tick run before the schedule does."""

from typing import Protocol


class Waker(Protocol):
    """Calls a tick that drains and lingers as the schedule's does, and calls no others where it can be told so."""

    def wake(self) -> None:
        """Ask for one, once, without waiting for it to end.

        Never raises what the network does: a tick that was not called comes with the schedule.
        """
        ...
