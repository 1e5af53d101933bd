"""Run: started jobs go through worker pools, one for each isolation, as slots come free."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from sweephand.domain.attempt import Attempt, Outcome
from sweephand.domain.handler import Isolation
from sweephand.ports.clock import Clock
from sweephand.ports.record import Entered
from sweephand.ports.runner import Runner
from sweephand.usecases.tick.dependencies import Shared
from sweephand.usecases.tick.settle import Settle

BATCH = 500
"""Jobs of one pool that one call claims and starts: half the size costs a tenth more a job, twice gains nothing."""
RUNS_PER_TURN = 64
"""Handlers that are entered before the event loop gets its turn."""
LOOK_AHEAD = 1.0
"""Seconds: no more is started than will be entered within this, at the rate just seen."""
TELL_AFTER = 0.1
"""Seconds that a handler has run before the record is told of it: a job that ends sooner is settled as cheaply."""
TOLD_AT_ONCE = 1000
"""Entered handlers of which one call tells."""


class PoolCapacity(NamedTuple):
    """The types that one pool may start now, and how many jobs of them."""

    types: Sequence[str]
    capacity: int


class Capacity(NamedTuple):
    """What may be started now, by pool; no pools when the budget is used."""

    pools: Sequence[PoolCapacity]

    @property
    def types(self) -> list[str]:
        """The types of which a job may be started now."""
        return [type_ for pool in self.pools if pool.capacity for type_ in pool.types]

    @property
    def whole(self) -> bool:
        """Whether every pool has capacity."""
        return all(pool.capacity for pool in self.pools)


class Run:
    """The worker pools of one tick; what ends in them goes on to be settled."""

    def __init__(self, shared: Shared, settle: Settle, entries: "Entries") -> None:
        self._runners, self._handlers = shared.parts.runners, shared.parts.handlers
        self._clock, self._report = shared.parts.clock, shared.report
        self._settle, self._entries = settle, entries
        self._pools = {
            isolation: WorkerPool(runner, self._clock, self._may_run, self._ended)
            for isolation, runner in self._runners.items()
        }
        self.longest = 0.0
        """The longest time limit of what was started, in seconds."""

    @property
    def in_flight(self) -> int:
        """How many jobs are started and not settled."""
        return sum(pool.in_flight for pool in self._pools.values()) + self._settle.unsettled

    @property
    def stuck(self) -> int:
        """How many handlers passed their time limit and could not be ended."""
        return sum(runner.stuck for runner in self._runners.values())

    def running(self) -> Sequence[tuple[Attempt, float]]:
        """Return what runs, each with the seconds until its time limit. Any thread may call this."""
        now = self._clock.monotonic()
        return [(attempt, at + attempt.handler.timeout - now) for attempt, at in self._entries.running()]

    def capacity(
        self, types: Iterable[str], paused: Collection[str], starting: Mapping[Isolation, int]
    ) -> Capacity:
        """Return what may be started now of `types`; start calls that are under way need room for `starting`."""
        isolations = {type_: self._handlers[type_].isolation for type_ in types}
        return Capacity(
            [
                PoolCapacity(
                    [type_ for type_, where in isolations.items() if where is isolation and type_ not in paused],
                    max(0, min(pool.capacity() - starting.get(isolation, 0), BATCH)),
                )
                for isolation, pool in self._pools.items()
                if (pool.slots or pool.in_flight) and isolation in isolations.values()
            ]
        )

    def full_pools(self) -> "Sequence[WorkerPool]":
        """Return the pools that have no capacity."""
        return [pool for pool in self._pools.values() if not pool.capacity()]

    def put(self, attempts: Iterable[Attempt]) -> None:
        """Run these, now or as slots come free."""
        batches: dict[Isolation, list[Attempt]] = {}
        for attempt in attempts:
            self.longest = max(self.longest, attempt.handler.timeout)
            self._report.started += 1
            batches.setdefault(attempt.handler.isolation, []).append(attempt)
        for isolation, batch in batches.items():
            self._pools[isolation].put(batch)

    def release(self) -> None:
        """Give back what is started and does not run yet."""
        for pool in self._pools.values():
            for attempt in pool.take_queued():
                self._settle.release(attempt)

    def close(self) -> None:
        """Let go of threads and child processes."""
        for runner in self._runners.values():
            runner.close()

    def _may_run(self, attempt: Attempt, queued: float) -> bool:
        """Tell whether a started job may still run: not too late for the budget, or for its lease after a freeze.

        After a freeze another tick may have run the job, or a person cancelled it.
        """
        now = self._clock.monotonic()
        if now > attempt.run_by:
            self._settle.release(attempt)
            return False
        self._report.lateness.add(attempt.late_ms + round(queued * 1000))
        self._entries.began(attempt, now)
        return True

    def _ended(self, attempt: Attempt, outcome: Outcome) -> None:
        self._entries.ended(attempt)
        self._settle.put(attempt, outcome)


class WorkerPool:
    """Runs attempts as slots come free, in order.

    `may_run(attempt, queued_s)` is asked just before each; what it refuses is dropped. `ended(attempt, outcome)` is
    called for each that ran.
    """

    def __init__(
        self,
        runner: Runner,
        clock: Clock,
        may_run: Callable[[Attempt, float], bool],
        ended: Callable[[Attempt, Outcome], None],
    ) -> None:
        self._runner, self._clock = runner, clock
        self._may_run, self._report_end = may_run, ended
        self._queue: deque[tuple[Attempt, float]] = deque()
        self._running = 0
        self._start_rate = StartRate()
        self._pumping = False

    @property
    def in_flight(self) -> int:
        """How many jobs are started and have not ended."""
        return len(self._queue) + self._running

    @property
    def slots(self) -> int:
        """How many jobs may run at once: a handler that could not be ended keeps its slot."""
        return max(0, self._runner.slots - self._runner.stuck)

    def capacity(self) -> int:
        """Return how many more jobs may be started now."""
        if not self.slots:
            return 0
        free = self.slots - self._running
        soon = self._start_rate.rate(self._clock.monotonic()) * LOOK_AHEAD
        return max(0, int(free + soon) - len(self._queue))

    def put(self, attempts: Sequence[Attempt]) -> None:
        """Run these, now or as slots come free."""
        now = self._clock.monotonic()
        self._queue.extend((attempt, now) for attempt in attempts)
        self._pump()

    def take_queued(self) -> Sequence[Attempt]:
        """Return what does not run yet; it will not run here."""
        queued = [attempt for attempt, _ in self._queue]
        self._queue.clear()
        return queued

    def _pump(self) -> None:
        if self._pumping:  # a handler that ended at once called back into here
            return
        self._pumping = True
        now = self._clock.monotonic()
        entered = 0
        while self._queue and self._running < self.slots and entered < RUNS_PER_TURN:
            attempt, since = self._queue.popleft()
            if self._may_run(attempt, now - since):
                self._running += 1
                entered += 1
                self._runner.run(attempt, self._ended)
        self._start_rate.add(now, entered)
        self._pumping = False
        if entered == RUNS_PER_TURN and self._queue:
            asyncio.get_running_loop().call_soon(self._pump)

    def _ended(self, attempt: Attempt, outcome: Outcome) -> None:
        self._running -= 1
        self._report_end(attempt, outcome)
        self._pump()


class StartRate:
    """How many handlers were entered in the last second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, now: float, entered: int) -> None:
        """Count `entered` handlers at `now`."""
        if entered:
            self._seen.append((now, entered))
            self._total += entered

    def rate(self, now: float) -> float:
        """Return handlers per second over the last second."""
        while self._seen and self._seen[0][0] < now - 1:
            self._total -= self._seen.popleft()[1]
        return self._total


class Entries:
    """Handlers that have been entered, while the record does not know it.

    A start that is lost with its function counts as a crash only where the record knows that its handler was
    entered. A tick tells the record so with calls that it makes anyway. Most jobs end before that, and then nothing
    needs to be told of them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._untold: deque[tuple[float, str, str]] = deque()
        self._running: dict[tuple[str, str], tuple[Attempt, float]] = {}

    def began(self, attempt: Attempt, now: float) -> None:
        """Note that the attempt's handler is entered `now`, on the clock's time."""
        self._untold.append((now, attempt.claim.id, attempt.token))
        self._running[attempt.claim.id, attempt.token] = attempt, now

    def ended(self, attempt: Attempt) -> None:
        """Note that the attempt has ended: nothing needs to be told of it any more."""
        self._running.pop((attempt.claim.id, attempt.token), None)

    def running(self) -> Sequence[tuple[Attempt, float]]:
        """Return the attempts that have not ended, each with when its handler was entered."""
        return list(self._running.values())  # one step: other threads call this too

    @contextmanager
    def telling(self) -> Iterator[Entered]:
        """Give what the call in the block is to tell; where the call raises, the next one is to tell it."""
        entered = self._take()
        try:
            yield entered
        except BaseException:
            for token, ids in entered.items():
                self._untold.extendleft((0.0, id_, token) for id_ in ids)
            raise

    def _take(self) -> Entered:
        entered: dict[str, list[str]] = {}
        before, count = self._clock.monotonic() - TELL_AFTER, 0
        while self._untold and self._untold[0][0] <= before and count < TOLD_AT_ONCE:
            _, id_, token = self._untold.popleft()
            if (id_, token) in self._running:
                entered.setdefault(token, []).append(id_)
                count += 1
        return entered
