"""A worker pool: the started jobs of one isolation on their way through its slots."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from sweephand.domain.outcome import Outcome
from sweephand.ports.clock import Clock
from sweephand.ports.runner import Runner, Work

RUNS_PER_TURN = 64
"""Jobs that are entered before the event loop gets its turn."""
LOOK_AHEAD = 1.0
"""Seconds: no more is started than will be entered within this, at the rate just seen."""


class WorkerPool:
    """Enters work as slots come free, in order.

    `admit(work, queued_s)` is asked just before each is entered; what it refuses is dropped.
    `finished(work, outcome)` is called for each that was entered.
    """

    def __init__(
        self,
        runner: Runner,
        clock: Clock,
        admit: Callable[[Work, float], bool],
        finished: Callable[[Work, Outcome], None],
    ) -> None:
        self.runner = runner
        self._clock = clock
        self._admit, self._finished = admit, finished
        self._queue: deque[tuple[Work, float]] = deque()
        self._running = 0
        self._pace = StartRate()
        self._pumping = False

    @property
    def busy(self) -> int:
        """How many jobs are started and not finished."""
        return len(self._queue) + self._running

    @property
    def slots(self) -> int:
        """How many jobs may run at once: a handler that could not be ended keeps its slot."""
        return max(0, self.runner.slots - self.runner.stuck)

    def room(self) -> int:
        """Return how many more jobs may be started now."""
        if not self.slots:
            return 0
        free = self.slots - self._running
        soon = self._pace.rate(self._clock.monotonic()) * LOOK_AHEAD
        return max(0, int(free + soon) - len(self._queue))

    def put(self, work: Sequence[Work]) -> None:
        """Enter `work`, now or as slots come free."""
        now = self._clock.monotonic()
        self._queue.extend((one, now) for one in work)
        self._pump()

    def take_back(self) -> Sequence[Work]:
        """Return what was not entered yet; it will not be."""
        left = [work for work, _ in self._queue]
        self._queue.clear()
        return left

    def _pump(self) -> None:
        if self._pumping:  # a handler that finished at once called back into here
            return
        self._pumping = True
        now = self._clock.monotonic()
        entered = 0
        while self._queue and self._running < self.slots and entered < RUNS_PER_TURN:
            work, since = self._queue.popleft()
            if self._admit(work, now - since):
                self._running += 1
                entered += 1
                self._enter(work)
        self._pace.add(now, entered)
        self._pumping = False
        if entered == RUNS_PER_TURN and self._queue:
            asyncio.get_running_loop().call_soon(self._pump)

    def _enter(self, work: Work) -> None:
        def finished(outcome: Outcome) -> None:
            self._running -= 1
            self._finished(work, outcome)
            self._pump()

        self.runner.enter(work, finished)


class StartRate:
    """How many jobs were entered in the last second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, now: float, entered: int) -> None:
        """Count `entered` jobs at `now`."""
        if entered:
            self._seen.append((now, entered))
            self._total += entered

    def rate(self, now: float) -> float:
        """Return jobs per second over the last second."""
        while self._seen and self._seen[0][0] < now - 1:
            self._total -= self._seen.popleft()[1]
        return self._total
