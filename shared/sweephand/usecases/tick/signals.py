"""What ends a tick's waits: a change within the tick, a notification of a new job, or a stop."""

import asyncio
import contextlib
from collections.abc import Callable

from sweephand.ports.index import Lane


class Signal:
    """Set by whatever changes - a job ends, a notification, a stop - and waited for on the event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._lanes: set[Lane] = set()
        self.notified = False
        """Whether a job was created since this was last set to False."""
        self.stopping = False
        """Whether the tick is to start nothing more."""

    def changed(self) -> None:
        """End the wait that is under way."""
        self._event.set()

    def stop(self) -> None:
        """Have the tick start nothing more."""
        self.stopping = True
        self._event.set()

    def notify(self, lane: Lane | None = None) -> None:
        """Tell that a job was created, and in which lane, where that is known."""
        self.notified = True
        if lane is not None:
            self._lanes.add(lane)
        self._event.set()

    def take_lanes(self) -> set[Lane]:
        """Return the lanes of the notifications since the last call."""
        lanes, self._lanes = self._lanes, set()
        return lanes

    def notify_from_thread(self) -> Callable[[Lane | None], None]:
        """Return `notify` for other threads; it does nothing once this event loop is closed."""
        loop = asyncio.get_running_loop()

        def notify(lane: Lane | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self.notify, lane)

        return notify

    async def wait(self, limit: float) -> None:
        """Wait until something changes or `limit` seconds have passed."""
        self._event.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), max(0.0, limit))
