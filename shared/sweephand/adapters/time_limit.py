"""How long a handler may run: by the clock, but not while nothing here could run."""

import asyncio
from collections.abc import Callable

LATE = 0.2
"""Seconds after which a timer is late because its process was frozen, or its event loop held up."""
AGAIN = 1.0
"""Seconds at most that are given back for that, once: leases and the budget have room for it."""


class TimeLimit:
    """Calls `over` on the running event loop after `seconds`, unless cancelled.

    A process that wakes after the limit finds its timer due before what it ran could go on: a handler that had done
    all but return would count as too slow, and a thread as stuck. So it gets some of the lost time back.
    """

    def __init__(self, seconds: float, over: Callable[[], None]) -> None:
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._passed)

    def cancel(self) -> None:
        """Forget it."""
        self._timer.cancel()

    def _passed(self) -> None:
        late = self._loop.time() - self._due
        if late > LATE:
            self._timer = self._loop.call_later(min(late, AGAIN), self._over)
        else:
            self._over()
