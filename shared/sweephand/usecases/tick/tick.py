"""A tick: restore → claim → start → run → settle, until nothing is due or the budget is used; then linger.

All stages work on batches and overlap: while one batch runs, the next is claimed and started, and what has ended is
settled. The record's calls block, so each is made in a thread; everything else happens on one event loop.
"""

from sweephand.usecases.tick import housekeeping
from sweephand.usecases.tick.budget import Budget, Limits
from sweephand.usecases.tick.claim import Claimer
from sweephand.usecases.tick.dependencies import Dependencies, Shared
from sweephand.usecases.tick.fan_out import FanOut
from sweephand.usecases.tick.linger import Linger
from sweephand.usecases.tick.quarantine import Quarantine
from sweephand.usecases.tick.record_calls import RecordCalls
from sweephand.usecases.tick.report import Report, Stopped
from sweephand.usecases.tick.restore import Restore
from sweephand.usecases.tick.run import Capacity, Entries, Run
from sweephand.usecases.tick.settle import Settle
from sweephand.usecases.tick.signals import Signal
from sweephand.usecases.tick.skip_list import SkipList
from sweephand.usecases.tick.start import Start


class Tick:
    """One tick; `await run()` does all of it."""

    def __init__(self, parts: Dependencies, limits: Limits) -> None:
        self._budget = budget = Budget(parts.clock, parts.handlers, limits)
        self._signal, self._report = Signal(), Report(budget_ms=round(limits.budget * 1000))
        self._shared = shared = Shared(parts, budget, self._signal, self._report)
        self._name = parts.randomness.token()
        entries, skips = Entries(parts.clock), SkipList(parts.clock)
        calls = RecordCalls(shared, entries.telling)
        self._claimer = Claimer(shared, lingers=limits.linger > 0)
        self._quarantine = Quarantine(shared)
        self._restore = Restore(shared, calls, self._claimer, skips, self._quarantine)
        self._settle = Settle(shared, entries.telling, self._claimer.follow)
        self._run = Run(shared, self._settle, entries)
        self.running = self._run.running
        self._start = Start(shared, calls, self._run, self._settle, self._quarantine, skips, self._claimer.follow)
        self._linger = Linger(shared, self._claimer, self._restore, self._run, self._start.calls, self._name)
        self._fan_out = FanOut(parts.drainers, limits.drainers, parts.clock, self._report)

    def stop(self) -> None:
        """Start nothing more; what runs is finished, the rest handed back."""
        self._fan_out.stop()
        self._signal.stop()

    async def run(self) -> Report:
        """Do the work and return the report.

        Raises `RecordUnavailableError` or `RecordSetupError` when the record was away for the whole tick.
        """
        self._budget.begin()
        self._settle.begin()
        try:
            await self._drain()
        finally:
            await self._wind_up()
        if self._restore.page.look:
            await housekeeping.find_unknown_types(self._shared)
        await housekeeping.prune(self._shared)
        await self._fan_out.end()
        self._report.stuck, self._report.duration_ms = self._run.stuck, self._budget.elapsed_ms
        return self._report

    async def _drain(self) -> None:
        """Go round: claim and start what is due; where nothing is, look at the record before saying so.

        Each round takes the first of the steps that has a cause; where none has, the tick ends.
        """
        steps = (
            self._run_quarantined_in_time,
            self._linger.for_capacity,
            self._start_due,
            self._restore.fill_bounded_lanes,
            self._start.finish,
            self._restore.look,
            self._restore.look_behind,
            self._linger.while_running,
            self._run_quarantined,
            self._restore.look_again,
            self._linger.for_next_job,
            self._leave,
        )
        await self._restore.read_all(begins=True)
        while not self._signal.stopping and (capacity := self._capacity()).pools:
            for step in steps:
                if await step(capacity):
                    break
            else:
                break
        await self._start.finish()
        self._report.stopped = self._why_stopped()

    def _capacity(self) -> Capacity:
        return self._run.capacity(self._budget.fitting(), self._restore.paused, self._start.calls.claimed)

    async def _start_due(self, capacity: Capacity) -> bool:
        """Claim what is due and begin to start it; tell whether there was any."""
        count_due, adds = self._fan_out.wants_to_know(), self._claimer.adds
        claimed = await self._claimer.claim(capacity, self._linger.active(), count_due=count_due)
        if claimed is not None and count_due:
            self._fan_out.call(claimed.due_count, self._budget.left, self._run.longest)
        if claimed is not None and adds:
            self._restore.note_grown(claimed.grown, capacity.types)
        if claims := claimed.claims if claimed is not None else self._restore.due_on_page(capacity):
            self._restore.note_claims(len(claims))
            await self._start.begin(claims)
            await self._restore.rotate(capacity.types)
        elif capacity.whole:
            self._fan_out.idle()
        return bool(claims)

    async def _run_quarantined_in_time(self, capacity: Capacity) -> bool:
        return self._quarantine.must_run(self._run.in_flight) and await self._run_quarantined(capacity)

    async def _run_quarantined(self, _capacity: Capacity) -> bool:
        """Run what must run exclusively, when everything else has ended."""
        if not self._quarantine:
            return False
        await self._start.finish()
        if not await self._quarantine.run(self._start.exclusively, self._linger.until_settled):
            self._claimer.follow(self._quarantine.release())
        return True

    async def _leave(self, capacity: Capacity) -> bool:
        """Claim once more where this tick counts as active: that claim says that it does no more.

        What was created since is either claimed by it, or finds no active tick.
        """
        leaves = self._claimer.active
        return leaves and (await self._start_due(capacity) or await self._linger.for_next_job(capacity))

    def _why_stopped(self) -> Stopped:
        if self._signal.stopping or self._run.stuck or self._restore.has_due():
            return "budget"
        return "held" if self._restore.held() else "drained"

    async def _wind_up(self) -> None:
        """Let what runs finish, settle it, and hand back what was claimed and not started."""
        self._claimer.stop_listening()
        await self._start.calls.end()
        self._run.release()
        await self._linger.until_settled()
        self._claimer.follow(self._quarantine.release())
        await self._claimer.leave(self._name)
        self._run.close()
        await self._settle.end()
