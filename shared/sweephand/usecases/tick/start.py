"""Start: lease claimed jobs in the record, and hand what it started to the worker pools."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sweephand.domain.attempt import Attempt, Claim
from sweephand.domain.errors import RecordRefusedError, RecordStatementError, RecordUnavailableError
from sweephand.domain.handler import Isolation
from sweephand.ports.index import IndexUpdates
from sweephand.ports.record import Entered, Started, Verdict
from sweephand.usecases.tick.dependencies import Shared
from sweephand.usecases.tick.quarantine import Quarantine
from sweephand.usecases.tick.record_calls import ASIDE, BUSY_MS, CallsLeft, RecordCalls
from sweephand.usecases.tick.run import Capacity, Run
from sweephand.usecases.tick.settle import Settle
from sweephand.usecases.tick.skip_list import SkipList

log = logging.getLogger("sweephand")
BATCH_BYTES = 8 * 1024 * 1024
"""Bytes of payload in one call, so that a batch and its copies fit a small function: 32 of the largest."""
MOST = 2
"""Start calls under way at once: the record works on one while the answer of another is taken in."""
Call = Callable[["asyncio.Task[None] | None"], Coroutine[Any, Any, None]]
"""Given the call before it, which it is to hand over after; None when that has ended."""


class StartCalls:
    """Keeps at most MOST calls under way; `changed` is called when one has ended."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._tasks: deque[asyncio.Task[None]] = deque()
        self.claimed: Counter[Isolation] = Counter()
        """How many jobs are in these calls: they will need capacity in their pools."""

    @property
    def under_way(self) -> bool:
        """Whether there is a call that nobody has waited for."""
        return bool(self._tasks)

    async def begin(self, call: Call, isolations: Iterable[Isolation]) -> None:
        """Make a call for jobs of these isolations, after waiting for the oldest where there are MOST.

        Raises what that one raised; the new one is not made then.
        """
        while len(self._tasks) >= MOST:
            await self._tasks.popleft()
        count = Counter(isolations)
        self.claimed.update(count)
        before = self._tasks[-1] if self._tasks else None
        self._tasks.append(asyncio.create_task(self._counted(call(before), count)))

    async def finish(self) -> bool:
        """Wait for all, and tell whether there was any; raises what the first that failed raised."""
        any_ = self.under_way
        while self._tasks:
            await self._tasks.popleft()
        return any_

    async def end(self) -> None:
        """Wait for what is left after an error, and raise nothing: the caller raises that error."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _counted(self, call: Coroutine[Any, Any, None], count: Counter[Isolation]) -> None:
        try:
            await call
        finally:
            self.claimed.subtract(count)
            self._changed()


class _Lease(NamedTuple):
    """What one start call asks for: a lease token, and by type how long a lease lasts and when it ends."""

    token: str
    ms: Mapping[str, int]
    ends: Mapping[str, float]
    exclusive: bool


class Start:
    """Starts claims; `follow` gets what the index is to do about each."""

    def __init__(  # noqa: PLR0913, PLR0917 - the stages on both sides of it
        self,
        shared: Shared,
        calls: RecordCalls,
        run: Run,
        settle: Settle,
        quarantine: Quarantine,
        skips: SkipList,
        follow: Callable[[IndexUpdates], None],
    ) -> None:
        self._shared, self._calls = shared, calls
        self._run, self._settle = run, settle
        self._quarantine, self._skips, self._follow = quarantine, skips, follow
        self.calls = StartCalls(shared.signal.changed)

    async def begin(self, claims: Sequence[Claim]) -> None:
        """Begin to start these beside the call that is under way; what is claimed first is handed over first."""
        handlers = self._shared.parts.handlers
        await self.calls.begin(
            lambda before: self._start(claims, before), (handlers[claim.type].isolation for claim in claims)
        )

    async def finish(self, _capacity: Capacity | None = None) -> bool:
        """Wait for the calls that are under way; tell whether there was any."""
        return await self.calls.finish()

    async def exclusively(self, claim: Claim) -> None:
        """Start one job that is to run with nothing beside it."""
        await self._start([claim], None, exclusive=True)

    async def _start(
        self, claims: Sequence[Claim], before: "asyncio.Task[None] | None", *, exclusive: bool = False
    ) -> None:
        """Lease what was claimed and may start, and hand it to its pool after what `before` starts."""
        lease = self._new_lease({claim.type for claim in claims}, exclusive=exclusive)
        by_id = {claim.id: claim for claim in claims}
        try:
            answers = await self._call(list(by_id), lease, CallsLeft())
            if before:
                await asyncio.wait([before])
        except RecordUnavailableError:
            self._settle.release_lost(claims, lease.token)
            raise
        for started in answers:
            self._follow(self._judge(started, by_id))
            self._run.put(self._attempts(started, by_id, lease))

    def _new_lease(self, types: Iterable[str], *, exclusive: bool) -> _Lease:
        """Return a lease for these types: they fitted the budget when they were claimed, a moment ago."""
        parts, now = self._shared.parts, self._shared.parts.clock.monotonic()
        ms = {type_: self._shared.budget.lease_ms(type_) for type_ in types}
        ends = {type_: now + each / 1000 for type_, each in ms.items()}
        return _Lease(parts.randomness.token(), ms, ends, exclusive)

    def _attempts(self, started: Started, by_id: Mapping[str, Claim], lease: _Lease) -> list[Attempt]:
        handlers, last_end = self._shared.parts.handlers, self._shared.budget.last_end
        attempts = []
        for id_, type_, number, crashes, lost, max_retries, late_ms, payload, token in started.starts:
            handler, ends = handlers[type_], lease.ends[type_]
            run_by = min(ends, last_end) - handler.timeout
            counts = (number, crashes, lost, max_retries, late_ms)
            attempts.append(Attempt(by_id[id_], token, type_, *counts, payload, handler, ends, run_by))
        return attempts

    async def _call(self, ids: Sequence[str], lease: _Lease, calls: CallsLeft) -> list[Started]:
        """Make the start call; a batch that fails is halved until the row is found that fails it.

        What is not asked any more, since `calls` are used up, is taken as busy.
        """

        def call(entered: Entered) -> Started:
            return self._shared.parts.record.start(
                ids, lease.token, lease.ms, exclusive=lease.exclusive, max_bytes=BATCH_BYTES, entered=entered
            )

        try:
            return [await self._calls.make_telling(call, halved=True)]
        except (RecordRefusedError, RecordStatementError) as e:
            if len(ids) == 1:
                return [await self._set_aside(ids[0], str(e))]
            if not calls.take(2):
                return [Started([], dict.fromkeys(ids, (Verdict.BUSY, BUSY_MS)))]
            half = len(ids) // 2
            first = await self._call(ids[:half], lease, calls)
            return [*first, *await self._call(ids[half:], lease, calls)]

    async def _set_aside(self, id_: str, error: str) -> Started:
        """Have this tick and others leave a job alone whose row fails the statement."""
        log.error("job %s could not be started, it is left alone for a minute: %s", id_, error)
        self._shared.report.note_bad(id_, error)
        self._skips.put(id_, ASIDE)
        try:
            await self._calls.make(lambda: self._shared.parts.record.set_aside({id_: error}))
        except (RecordRefusedError, RecordUnavailableError) as e:
            log.warning("the record could not note that: %s", e)
        return Started([], {id_: (Verdict.BUSY, round(ASIDE * 1000))})

    def _judge(self, started: Started, by_id: Mapping[str, Claim]) -> IndexUpdates:
        """Return what the index is to do with each claimed id."""
        updates, report = IndexUpdates(), self._shared.report
        updates.remove.extend(by_id[start.id] for start in started.starts)
        for id_, (verdict, wait_ms) in started.others.items():
            claim = by_id[id_]
            match verdict:
                case Verdict.ALREADY:
                    continue
                case Verdict.FINAL | Verdict.UNKNOWN:
                    updates.remove.append(claim)
                    report.skipped += 1
                case Verdict.EARLY | Verdict.LEASED:
                    updates.postpone.append((claim, wait_ms or 0))
                    report.skipped += 1
                case Verdict.BUSY:
                    updates.postpone.append((claim, wait_ms or BUSY_MS))
                    self._skips.put(id_, (wait_ms or BUSY_MS) / 1000)
                    report.busy_starts += 1
                case Verdict.EXCLUSIVE:
                    if not self._quarantine.keep(claim):
                        self._leave_to_others(claim, updates, soon=bool(self._run.in_flight or started.starts))
                case Verdict.DEFERRED:
                    updates.release.append(claim)
                    report.released += 1
        return updates

    def _leave_to_others(self, claim: Claim, updates: IndexUpdates, *, soon: bool) -> None:
        """Hand back what must run exclusively and has no place in the quarantine."""
        if soon:  # this tick runs others and will not come to it soon
            updates.postpone.append((claim, BUSY_MS))
        else:
            updates.release.append(claim)
        self._shared.report.released += 1
