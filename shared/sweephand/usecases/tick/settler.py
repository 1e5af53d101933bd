"""Settles finished jobs in batches, while others run."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sweephand.domain.errors import (
    RecordRefusedError,
    RecordSetupError,
    RecordStatementError,
    RecordUnavailableError,
)
from sweephand.domain.retry_policy import Complete, Fail, cut
from sweephand.ports.clock import Clock
from sweephand.ports.record import Record, Settled, Settlement
from sweephand.usecases.tick.entries import Entries

log = logging.getLogger("sweephand")
BATCH = 500
"""Jobs settled by one call."""
BATCH_BYTES = 4 * 1024 * 1024
"""Bytes of results in one call; 64 of the largest."""
GATHER = 0.005
"""Seconds to wait for company before a call: far less than the call takes."""
RETRY_WAITS = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between tries while the record is away; the last repeats."""
BUSY_WAITS = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
"""Seconds until a settlement is tried again whose row another transaction holds; the last repeats."""
HALVINGS = 20
"""Calls that are made at most to find the row that fails a batch."""
ASIDE = 60.0
"""Seconds that such a row is left alone."""


class _Waiting(NamedTuple):
    """A settlement, the bytes of its result, when its lease ends, and how often it was found busy."""

    settlement: Settlement
    size: int
    until: float
    tries: int = 0


class Settler:
    """Takes settlements one at a time, and gives `settled` what the record said of each, a batch at a time.

    `dropped(settlements)` is told which are not tried any more; their leases expire, and the jobs run again.
    """

    def __init__(
        self,
        record: Record,
        clock: Clock,
        entries: Entries,
        settled: Callable[[Iterable[tuple[Settlement, Settled]]], None],
        bad: Callable[[str, str], None],
    ) -> None:
        self._record, self._clock, self._entries, self._settled, self._bad = record, clock, entries, settled, bad
        self._todo: deque[_Waiting] = deque()
        self._held: list[tuple[float, _Waiting]] = []  # when to try again
        self._arrived = asyncio.Event()
        self.unsettled = 0
        """Jobs that were given and not settled yet."""
        self.busy = 0
        """How often a row was held by another transaction."""

    def put(self, settlement: Settlement, size: int = 0, until: float = float("inf")) -> None:
        """Settle this soon; `size`: bytes of its result, `until`: when its lease ends, on the clock's time."""
        self._todo.append(_Waiting(settlement, size, until))
        self.unsettled += 1
        self._arrived.set()

    async def run(self, give_up_at: Callable[[], float]) -> None:
        """Settle until cancelled. A call that finds no record is made again until `give_up_at()`, then dropped.

        What is dropped is not lost: its leases expire, and the jobs run again.
        """
        again = asyncio.create_task(self._run_held(give_up_at))
        again.add_done_callback(_tell_failure)
        try:
            while True:
                await self._arrived.wait()
                if len(self._todo) < BATCH:
                    await asyncio.sleep(GATHER)
                batch = self._next_batch()
                if not self._todo:
                    self._arrived.clear()
                await self._settle_batch(batch, give_up_at)
        finally:
            again.cancel()

    async def _run_held(self, give_up_at: Callable[[], float]) -> None:
        """Try again what was busy, beside the others: a call that meets a held row takes some 65 ms."""
        while True:
            await asyncio.sleep(BUSY_WAITS[0] / 2)
            now = self._clock.monotonic()
            due = [waiting for at, waiting in self._held if at <= now]
            if not due:
                continue
            self._held = [(at, waiting) for at, waiting in self._held if at > now]
            over = [w for w in due if now > min(w.until, give_up_at())]
            if over:
                log.warning("%d jobs could not be settled before their leases ended: they were held", len(over))
                self.unsettled -= len(over)
                self._settled(())
            left = [w for w in due if now <= min(w.until, give_up_at())]
            for first in range(0, len(left), BATCH):
                await self._settle_batch(left[first : first + BATCH], give_up_at)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._todo and len(batch) < BATCH and (not batch or size + self._todo[0].size <= BATCH_BYTES):
            waiting = self._todo.popleft()
            batch.append(waiting)
            size += waiting.size
        return batch

    async def _settle_batch(self, batch: Sequence[_Waiting], give_up_at: Callable[[], float]) -> None:
        answers = await self._settle([w.settlement for w in batch], give_up_at, _Calls())
        said = {answer.id: answer for answer in answers}
        now = self._clock.monotonic()
        ended = []
        for waiting in batch:
            answer = said.get(waiting.settlement.id)
            if answer is not None and answer.busy:
                self.busy += 1
                tries = waiting.tries
                wait = answer.wait_ms / 1000 if answer.wait_ms else BUSY_WAITS[min(tries, len(BUSY_WAITS) - 1)]
                self._held.append((now + wait, waiting._replace(tries=tries + 1)))
                continue
            self.unsettled -= 1
            if answer is not None:
                ended.append((waiting.settlement, answer))
        self._settled(ended)

    async def _settle(
        self, batch: Sequence[Settlement], give_up_at: Callable[[], float], calls: "_Calls"
    ) -> Sequence[Settled]:
        tries = 0
        while True:
            entered = self._entries.take()
            try:
                return await asyncio.to_thread(self._record.settle, batch, entered)
            except (RecordRefusedError, RecordStatementError) as e:
                self._entries.put_back(entered)
                if isinstance(e, RecordStatementError) and tries < 1:  # it may be gone at once: a deadlock, a lock
                    tries += 1
                    await asyncio.sleep(RETRY_WAITS[0])
                    continue
                return await self._settle_apart(batch, e, give_up_at, calls)
            except (RecordUnavailableError, RecordSetupError) as e:
                self._entries.put_back(entered)
                wait = RETRY_WAITS[min(tries, len(RETRY_WAITS) - 1)]
                tries += 1
                if self._clock.monotonic() + wait > give_up_at():
                    log.error("%d jobs could not be settled, their leases will expire: %s", len(batch), e)  # noqa: TRY400
                    return []
                await asyncio.sleep(wait)

    async def _settle_apart(
        self,
        batch: Sequence[Settlement],
        error: RecordRefusedError | RecordStatementError,
        give_up_at: Callable[[], float],
        calls: "_Calls",
    ) -> Sequence[Settled]:
        """Find the one that fails the statement, so that it does not take the others with it."""
        if len(batch) > 1 and calls.left >= 2:  # noqa: PLR2004 - one for each half
            calls.left -= 2
            half = len(batch) // 2
            first = await self._settle(batch[:half], give_up_at, calls)
            return [*first, *await self._settle(batch[half:], give_up_at, calls)]
        if len(batch) > 1:  # others that fail it: their turn comes
            return [Settled(one.id, lost=False, wait_ms=round(BUSY_WAITS[-1] * 1000), busy=True) for one in batch]
        one = batch[0]
        if isinstance(one.decision, Complete) and isinstance(error, RecordRefusedError) and calls.left > 0:
            calls.left -= 1
            dead = Fail("its result could not be stored", "raised", cut(str(error)))
            return await self._settle([one._replace(decision=dead)], give_up_at, calls)
        log.error("job %s could not be settled: %s", one.id, error)
        self._bad(one.id, str(error))
        return [Settled(one.id, lost=False, wait_ms=round(ASIDE * 1000), busy=True)]


class _Calls:
    """How many calls may still be made to find what fails a batch."""

    def __init__(self) -> None:
        self.left = HALVINGS


def _tell_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("what was busy is not settled any more: %r", error)
