"""Settle calls: without an answer a call is repeated; a batch that a row fails is halved until the row is found."""

import asyncio
import logging
from collections.abc import Sequence

from sweephand.domain.errors import (
    RecordRefusedError,
    RecordSetupError,
    RecordStatementError,
    RecordUnavailableError,
)
from sweephand.domain.retry_policy import Complete, result_refused
from sweephand.ports.record import Settled, Settlement
from sweephand.usecases.tick.dependencies import Shared
from sweephand.usecases.tick.entries import Entries
from sweephand.usecases.tick.record_calls import ASIDE, BUSY_MS, RETRY_WAITS, CallsLeft

log = logging.getLogger("sweephand")


class SettleCalls:
    """Settles one batch at a time, until the budget's `settle_until`."""

    def __init__(self, shared: Shared, entries: Entries) -> None:
        self._record, self._clock, self._budget = shared.parts.record, shared.parts.clock, shared.budget
        self._entries, self._report = entries, shared.report

    async def settle(self, batch: Sequence[Settlement]) -> Sequence[Settled]:
        """Return what the record says of each; nothing where the record is given up: the leases will expire."""
        return await self._settle(batch, CallsLeft())

    async def _settle(self, batch: Sequence[Settlement], calls: CallsLeft) -> Sequence[Settled]:
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
                return await self._settle_apart(batch, e, calls)
            except (RecordUnavailableError, RecordSetupError) as e:
                self._entries.put_back(entered)
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
            return [Settled(one.id, lost=False, wait_ms=BUSY_MS, busy=True) for one in batch]
        [one] = batch
        if isinstance(one.decision, Complete) and isinstance(error, RecordRefusedError) and calls.take(1):
            return await self._settle([one._replace(decision=result_refused(str(error)))], calls)
        log.error("job %s could not be settled: %s", one.id, error)
        self._report.note_bad(one.id, str(error))
        return [Settled(one.id, lost=False, wait_ms=round(ASIDE * 1000), busy=True)]
