"""What a tick waits for: something that happens, or time that passes."""

import asyncio
import contextlib

from sweephand.ports.index import Lane


class Signal:
    """Set by whatever happens - a job ends, a notification, a stop - and waited for on the event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.notified = False
        """A new job was created since this was last set to False."""
        self.lanes: set[Lane] = set()
        """The lanes of such jobs, as far as they were told."""

    def set(self) -> None:
        """End the wait that is under way."""
        self._event.set()

    def notify(self, lane: Lane | None = None) -> None:
        """Tell that there is a new job, and in which lane."""
        self.notified = True
        if lane is not None:
            self.lanes.add(lane)
        self._event.set()

    async def wait(self, limit: float) -> None:
        """Wait until something happens or `limit` seconds have passed."""
        self._event.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), max(0.0, limit))
