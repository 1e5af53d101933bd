"""Settle: decide what becomes of each attempt that ended, and record the decisions in batches, while others run."""

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sweephand.domain.attempt import Attempt, Claim, Outcome, Succeeded
from sweephand.domain.errors import (
    RecordRefusedError,
    RecordSetupError,
    RecordStatementError,
    RecordUnavailableError,
)
from sweephand.domain.retry_policy import Complete, Fail, Release, RetryAfter, decide, result_refused
from sweephand.ports.index import IndexUpdates
from sweephand.ports.record import Due, Settled, Settlement
from sweephand.usecases.tick.dependencies import Shared
from sweephand.usecases.tick.record_calls import ASIDE, BUSY_MS, RETRY_WAITS, CallsLeft, Telling

log = logging.getLogger("sweephand")
BATCH = 500
"""Jobs settled by one call."""
BATCH_BYTES = 4 * 1024 * 1024
"""Bytes of results in one call; 64 of the largest."""
GATHER = 0.005
"""Seconds to wait for company before a call: far less than the call takes."""
BUSY_WAITS = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
"""Seconds until a settlement is tried again whose row another transaction holds; the last repeats."""


class _Ended(NamedTuple):
    """A settlement and its job's claim, the bytes of its result, when its lease ends, and how often it was busy."""

    claim: Claim
    settlement: Settlement
    size: int
    lease_ends: float
    tries: int = 0


class Settle:
    """Takes attempts one at a time, and settles them a batch at a time.

    `follow` gets what the index is to do about settled jobs. An attempt that is given up is not lost: its lease
    expires, and the job runs again.
    """

    def __init__(self, shared: Shared, telling: Telling, follow: Callable[[IndexUpdates], None]) -> None:
        self._clock, self._randomness = shared.parts.clock, shared.parts.randomness
        self._budget, self._report, self._changed = shared.budget, shared.report, shared.signal.changed
        self._horizon_ms = shared.parts.horizon_ms
        self._calls, self._follow = SettleCalls(shared, telling), follow
        self._queue: deque[_Ended] = deque()
        self._busy: list[tuple[float, _Ended]] = []  # when to try again
        self._arrived = asyncio.Event()
        self._unsettled = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def unsettled(self) -> int:
        """How many jobs were given and are not settled; 0 once an error has ended the settling."""
        ended = self._task is not None and self._task.done()  # the error is raised by `end`
        return 0 if ended else self._unsettled

    def put(self, attempt: Attempt, outcome: Outcome) -> None:
        """Settle an attempt that ended with `outcome`."""
        size = 0
        if isinstance(outcome, Succeeded):
            size = outcome.size
        else:
            kind = type(outcome).__name__
            log.info("job %s (%s) attempt %d: %s", attempt.claim.id, attempt.type, attempt.number, kind)
        jitter, now = self._randomness.jitter(), self._clock.monotonic()
        decision = decide(attempt, outcome, jitter=jitter, now=now)
        settlement = Settlement(attempt.claim.id, attempt.token, decision)
        self._put(_Ended(attempt.claim, settlement, size, attempt.lease_ends))

    def release(self, attempt: Attempt) -> None:
        """Give back a job that was leased and does not run."""
        settlement = Settlement(attempt.claim.id, attempt.token, Release())
        self._put(_Ended(attempt.claim, settlement, 0, attempt.lease_ends))

    def release_lost(self, claims: Iterable[Claim], token: str) -> None:
        """Give back what a start call may have leased whose answer was lost: none of it runs."""
        for claim in claims:
            self._put(_Ended(claim, Settlement(claim.id, token, Release()), 0, math.inf))

    def begin(self) -> None:
        """Settle from now on."""
        self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        """End the settling; raises the error that ended it before."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _put(self, ended: _Ended) -> None:
        self._queue.append(ended)
        self._unsettled += 1
        self._arrived.set()
        self._changed()

    async def _run(self) -> None:
        again = asyncio.create_task(self._run_busy())
        again.add_done_callback(_log_failure)
        try:
            while True:
                await self._arrived.wait()
                if len(self._queue) < BATCH:
                    await asyncio.sleep(GATHER)
                batch = self._next_batch()
                if not self._queue:
                    self._arrived.clear()
                await self._settle_batch(batch)
        finally:
            again.cancel()

    async def _run_busy(self) -> None:
        """Try again what was busy, beside the others: a call that meets a held row takes some 65 ms."""
        while True:
            await asyncio.sleep(BUSY_WAITS[0] / 2)
            now = self._clock.monotonic()
            due = [ended for at, ended in self._busy if at <= now]
            if not due:
                continue
            self._busy = [(at, ended) for at, ended in self._busy if at > now]
            left = [ended for ended in due if now <= min(ended.lease_ends, self._budget.settle_until)]
            if over := len(due) - len(left):
                log.warning("%d jobs could not be settled before their leases ended: they were held", over)
                self._unsettled -= over
                self._changed()
            for first in range(0, len(left), BATCH):
                await self._settle_batch(left[first : first + BATCH])

    def _next_batch(self) -> list[_Ended]:
        batch: list[_Ended] = []
        size = 0
        while self._queue and len(batch) < BATCH and (not batch or size + self._queue[0].size <= BATCH_BYTES):
            ended = self._queue.popleft()
            batch.append(ended)
            size += ended.size
        return batch

    async def _settle_batch(self, batch: Sequence[_Ended]) -> None:
        answers = {answer.id: answer for answer in await self._calls.settle([e.settlement for e in batch])}
        now = self._clock.monotonic()
        updates = IndexUpdates()
        for ended in batch:
            answer = answers.get(ended.settlement.id)
            if answer is not None and answer.busy:
                self._report.busy_settles += 1
                wait = BUSY_WAITS[min(ended.tries, len(BUSY_WAITS) - 1)]
                wait = answer.wait_ms / 1000 if answer.wait_ms else wait
                self._busy.append((now + wait, ended._replace(tries=ended.tries + 1)))
                continue
            self._unsettled -= 1
            if answer is not None:
                self._note(ended, answer, updates)
        self._follow(updates)
        self._changed()

    def _note(self, ended: _Ended, answer: Settled, updates: IndexUpdates) -> None:
        """Count a settled job, and have the index look at it again when it is due."""
        decision = ended.settlement.decision
        if answer.lost:
            self._report.late_writes += not isinstance(decision, Release)
            return
        match decision:
            case Complete():
                self._report.completed += 1
            case RetryAfter():
                self._report.retried += 1
            case Fail():
                self._report.failed += 1
            case Release():
                self._report.released += 1
        if answer.wait_ms is not None and answer.wait_ms <= self._horizon_ms:
            claim = ended.claim
            updates.requeue.append(Due(claim.id, claim.type, claim.priority, answer.wait_ms))


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("what was busy is not settled any more: %r", error)


class SettleCalls:
    """Makes the settle calls of one tick, until the budget's `settle_until`.

    Without an answer, a call is repeated. A batch in which a row fails is halved until that row is found.
    """

    def __init__(self, shared: Shared, telling: Telling) -> None:
        self._record, self._clock, self._budget = shared.parts.record, shared.parts.clock, shared.budget
        self._telling, self._report = telling, shared.report

    async def settle(self, batch: Sequence[Settlement]) -> Sequence[Settled]:
        """Return what the record says of each; nothing where the record is given up: the leases will expire."""
        return await self._settle(batch, CallsLeft())

    async def _settle(self, batch: Sequence[Settlement], calls: CallsLeft) -> Sequence[Settled]:
        tries = 0
        while True:
            try:
                with self._telling() as entered:
                    return await asyncio.to_thread(self._record.settle, batch, entered)
            except (RecordRefusedError, RecordStatementError) as e:
                if isinstance(e, RecordStatementError) and tries < 1:  # it may be gone at once: a deadlock, a lock
                    tries += 1
                    await asyncio.sleep(RETRY_WAITS[0])
                    continue
                return await self._settle_apart(batch, e, calls)
            except (RecordUnavailableError, RecordSetupError) as e:
                wait = RETRY_WAITS[min(tries, len(RETRY_WAITS) - 1)]
                tries += 1
                if self._clock.monotonic() + wait > self._budget.settle_until:
                    log.error("%d jobs could not be settled, their leases will expire: %s", len(batch), e)  # noqa: TRY400
                    return []
                await asyncio.sleep(wait)

    async def _settle_apart(
        self,
        batch: Sequence[Settlement],
        error: RecordRefusedError | RecordStatementError,
        calls: CallsLeft,
    ) -> Sequence[Settled]:
        """Find the settlement that fails the statement, so that it does not take the others with it."""
        if len(batch) > 1 and calls.take(2):
            half = len(batch) // 2
            first = await self._settle(batch[:half], calls)
            return [*first, *await self._settle(batch[half:], calls)]
        if len(batch) > 1:  # several fail it: the turn of the rest comes
            return [Settled(each.id, lost=False, wait_ms=BUSY_MS, busy=True) for each in batch]
        [settlement] = batch
        if isinstance(settlement.decision, Complete) and isinstance(error, RecordRefusedError) and calls.take(1):
            return await self._settle([settlement._replace(decision=result_refused(str(error)))], calls)
        log.error("job %s could not be settled: %s", settlement.id, error)
        self._report.note_bad(settlement.id, str(error))
        return [Settled(settlement.id, lost=False, wait_ms=round(ASIDE * 1000), busy=True)]
