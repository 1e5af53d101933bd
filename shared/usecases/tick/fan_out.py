"""Whether one drainer is enough: from what is due, what was drained so far, and the time that is left."""

import asyncio
import logging
import math

from shared.ports.clock import Clock
from shared.ports.drainers import Drainers
from shared.usecases.tick.report import Report

log = logging.getLogger("minutehand")
AFTER = 1.0
"""Seconds of draining after which the rate is known well enough to say whether others are needed."""


class FanOut:
    """Calls further drainers, at most `most` and once, when one second has shown that this one is not enough."""

    def __init__(self, drainers: Drainers | None, most: int, clock: Clock, report: Report) -> None:
        self._drainers, self._most, self._clock, self._report = drainers, most, clock, report
        self._began = 0.0
        self._asked = drainers is None or most <= 0

    def begin(self) -> None:
        """Count the seconds from now."""
        self._began = self._clock.monotonic()

    def wants_to_know(self) -> bool:
        """Tell whether it is time to ask how much is due."""
        return not self._asked and self._clock.monotonic() >= self._began + AFTER

    async def call(self, due: int, left: float) -> None:
        """Call as many as `due` jobs need in the `left` seconds; each call is tried once."""
        assert self._drainers is not None
        self._asked = True
        settled = self._report.completed + self._report.retried + self._report.failed
        count = further(due, settled, self._clock.monotonic() - self._began, left, self._most)
        if count:
            log.info("%d jobs are due: calling %d further drainers", due, count)
            self._report.drainers = await asyncio.to_thread(self._drainers.call, count)

    async def end(self) -> None:
        """Wait for those that end with this process."""
        if self._report.drainers and self._drainers is not None:
            await asyncio.to_thread(self._drainers.close)


def further(due: int, drained: int, seconds: float, left: float, most: int) -> int:
    """Return how many further drainers a backlog needs, at most `most`.

    `due`: jobs that are due and not claimed; `drained`: jobs settled in the `seconds` so far; `left`: seconds in
    which jobs may still be started. None are needed for what this drainer will do by itself.
    """
    if due <= 0 or most <= 0:
        return 0
    alone = drained / seconds * max(left, 0.0)
    if alone * (most + 1) <= due:
        return most
    return max(0, math.ceil(due / alone) - 1)
