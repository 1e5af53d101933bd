"""Whether one drainer is enough: from what is due, what was drained so far, and the time that is left."""

import asyncio
import logging
import math

from sweephand.ports.clock import Clock
from sweephand.ports.tick_trigger import TickTrigger
from sweephand.usecases.tick.report import Report

log = logging.getLogger("sweephand")
AFTER = 1.0
"""Seconds of draining after which the rate is known well enough to say whether others are needed."""


class FanOut:
    """Calls further drainers, at most `most` and once, when this one is not enough for a backlog.

    It is asked after one second of a backlog, then each time that the backlog has lasted twice as long.
    """

    def __init__(self, drainers: TickTrigger | None, most: int, clock: Clock, report: Report) -> None:
        self._drainers, self._most, self._clock, self._report = drainers, most, clock, report
        self._since: float | None = None
        self._settled_before = 0
        self._ask_at = 0.0
        self._called = drainers is None or most <= 0
        self._calling: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def _settled(self) -> int:
        return self._report.completed + self._report.retried + self._report.failed

    def idle(self) -> None:
        """Measure the next backlog anew: nothing is due."""
        self._since = None

    def wants_to_know(self) -> bool:
        """Tell whether it is time to ask how much is due; the first time since `idle`, begin to measure."""
        now = self._clock.monotonic()
        if self._since is None:
            self._since, self._settled_before, self._ask_at = now, self._settled, now + AFTER
        return not self._called and now >= self._ask_at

    def call(self, due: int, left: float, longest: float = 0.0) -> None:
        """Begin to call as many as `due` jobs need in the `left` seconds; each call is tried once.

        `longest`: the longest time limit that it has met. Less that, `left` is how long jobs may still be started.
        """
        assert self._since is not None
        now = self._clock.monotonic()
        seconds = now - self._since
        count = further(due, self._settled - self._settled_before, seconds, left - longest, self._most)
        self._ask_at = now + seconds
        if count:
            self._called = True
            log.info("%d jobs are due: calling %d further drainers", due, count)
            self._calling = asyncio.create_task(self._call(count, left))

    async def _call(self, count: int, left: float) -> None:
        assert self._drainers is not None
        if self._stopped:
            return
        try:
            self._report.drainers = await asyncio.to_thread(self._drainers.now, count, left)
        except Exception:  # what was drained is not to be lost to the report by it
            log.exception("no drainers were called")
        if self._stopped:  # meanwhile: those that had not been started were not told
            self._drainers.stop()

    def stop(self) -> None:
        """Call no more, and have those that end with this process start nothing more; from a signal, too."""
        self._called = self._stopped = True
        if self._calling is not None and self._drainers is not None:
            self._drainers.stop()

    async def end(self) -> None:
        """Wait for the calls, and for those that end with this process."""
        if self._calling is not None and self._drainers is not None:
            await self._calling
            await asyncio.to_thread(self._drainers.close)
            self._calling = None


def further(due: int, drained: int, seconds: float, left: float, most: int) -> int:
    """Return how many further drainers a backlog needs, at most `most`.

    `due`: jobs that are due and not claimed; `drained`: jobs settled in the `seconds` so far; `left`: seconds in
    which jobs may still be started. None are needed for what this drainer will do by itself, and no more than jobs.
    """
    most = min(most, due)
    if most <= 0:
        return 0
    alone = drained / seconds * max(left, 0.0)
    if alone * (most + 1) <= due:
        return most
    return max(0, math.ceil(due / alone) - 1)
