"""Linger: wait while nothing may be started, for capacity, for what runs, or for the next job to come due."""

from sweephand.ports.index import ActiveTick
from sweephand.usecases.tick.claim import Claimer
from sweephand.usecases.tick.dependencies import Shared
from sweephand.usecases.tick.restore import POLL, Restore
from sweephand.usecases.tick.run import Capacity, Run
from sweephand.usecases.tick.start import StartCalls

FULL_POLL = 5.0
"""Seconds between looks at the record while no handler more may run: leases run out meanwhile."""
BLIND_POLL = 2.0
"""Seconds between looks at the record while something is to come due and no index tells of what is created."""


class Linger:
    """The waits of one tick, which `name` tells from others in the index."""

    def __init__(  # noqa: PLR0913, PLR0917 - what can end a wait
        self, shared: Shared, claimer: Claimer, restore: Restore, run: Run, starts: StartCalls, name: str
    ) -> None:
        self._clock, self._budget = shared.parts.clock, shared.budget
        self._signal, self._report = shared.signal, shared.report
        self._claimer, self._restore, self._run, self._starts = claimer, restore, run, starts
        self._name = name

    def active(self) -> ActiveTick:
        """Say how long this tick starts what is created meanwhile: whoever creates a job relies on it."""
        stay = 0.0
        if not self._claimer.superseded and not self._run.stuck:
            stay = self._budget.linger_ends - self._clock.monotonic()
        works = self._run.in_flight > 0 or self._starts.under_way
        return ActiveTick(self._name, max(0, round(stay * 1000)), works=works)

    async def for_capacity(self, capacity: Capacity) -> bool:
        """Where no job may be started, wait until a handler ends; now and then look for leases that run out."""
        if capacity.types:
            return False
        await self._wait(POLL)
        if self._clock.monotonic() >= self._restore.page_at + FULL_POLL and self._run.in_flight:
            await self._restore.read_all()
            self._restore.fresh = False
        return True

    async def while_running(self, _capacity: Capacity) -> bool:
        """While handlers run, wait for capacity or for new work; then look at the record again."""
        if not self._run.in_flight:
            return False
        until = self._clock.monotonic() + POLL
        self._claimer.listen()
        full = self._run.full_pools()
        while self._run.in_flight and not self._signal.stopping and not self._signal.notified:
            if any(pool.capacity() for pool in full):
                break
            left = min(until, self._claimer.next_due_at) - self._clock.monotonic()
            if left <= 0:
                break
            await self._wait(left)
        self._signal.notified = False
        self._restore.fresh = self._restore.fresh and self._clock.monotonic() < until
        return True

    async def for_next_job(self, _capacity: Capacity) -> bool:
        """Wait for the next job that is known to come due, or for a notification; tell whether to look again.

        No: nothing comes due in time, lingering is off, or the next tick has taken over. An idle system is left
        at once, so it costs nothing. A process that a handler cannot be ended in is not kept waiting.
        """
        now, up = self._clock.monotonic(), self._claimer.up
        next_due_at = self._claimer.next_due_at if up else self._restore.next_due_at()
        if self._claimer.superseded or self._run.stuck or next_due_at > self._budget.linger_ends:
            return False
        self._claimer.listen()
        await self._wait_until(next_due_at if up else min(next_due_at, now + BLIND_POLL))
        self._restore.fresh = self._restore.fresh and self._claimer.up
        self._report.lingered_ms += round((self._clock.monotonic() - now) * 1000)
        return True

    async def until_settled(self) -> None:
        """Wait for what runs to be settled: handlers keep their time limits, and settling gives up by itself."""
        over = self._budget.settle_until + POLL
        while self._run.in_flight and self._clock.monotonic() < over:
            await self._signal.wait(POLL)

    async def _wait_until(self, until: float) -> None:
        """Wait until then, on the clock's time, or for a notification or a stop."""
        while not self._signal.notified and not self._signal.stopping:
            left = until - self._clock.monotonic()
            if left <= 0:
                break
            await self._wait(left)
        self._signal.notified = False

    async def _wait(self, limit: float) -> None:
        """Wait until something changes, `limit` seconds have passed, or nothing may be started any more."""
        await self._signal.wait(min(limit, self._budget.left))
