"""What a tick waits for: something that happens, or time that passes."""

import asyncio
import contextlib


class Wakeup:
    """Set by whatever happens - a job ends, a kick, a stop - and waited for on the event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.kicked = False
        """A new job was created since this was last set to False."""

    def happened(self) -> None:
        """End the wait that is under way."""
        self._event.set()

    def kick(self) -> None:
        """Tell that there is a new job."""
        self.kicked = True
        self._event.set()

    async def wait(self, limit: float) -> None:
        """Wait until something happens or `limit` seconds have passed."""
        self._event.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), max(0.0, limit))
