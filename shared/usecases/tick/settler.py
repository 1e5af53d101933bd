"""Settles finished jobs in batches, while others run."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from shared.domain.errors import RecordRefusedError, RecordSetupError, RecordUnavailableError
from shared.domain.policy import Dead, Done, cut
from shared.ports.clock import Clock
from shared.ports.record import Record, Settled, Settlement

log = logging.getLogger("minutehand")
BATCH = 500
"""Jobs settled by one call."""
BATCH_BYTES = 4 * 1024 * 1024
"""Bytes of results in one call; 64 of the largest."""
GATHER = 0.005
"""Seconds to wait for company before a call: far less than the call takes."""
RETRY_WAITS = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between tries while the record is away; the last repeats."""


class Settler:
    """Takes settlements one at a time, and gives `settled` what the record said of each, a batch at a time."""

    def __init__(
        self, record: Record, clock: Clock, settled: Callable[[Iterable[tuple[Settlement, Settled]]], None]
    ) -> None:
        self._record, self._clock, self._settled = record, clock, settled
        self._todo: deque[tuple[Settlement, int]] = deque()
        self._arrived = asyncio.Event()
        self.unsettled = 0
        """Jobs that were given and not settled yet."""

    def put(self, settlement: Settlement, size: int = 0) -> None:
        """Settle this soon; `size`: bytes of its result."""
        self._todo.append((settlement, size))
        self.unsettled += 1
        self._arrived.set()

    async def run(self, give_up_at: Callable[[], float]) -> None:
        """Settle until cancelled. A call that finds no record is made again until `give_up_at()`, then dropped.

        What is dropped is not lost: its leases expire, and the jobs run again.
        """
        while True:
            await self._arrived.wait()
            if len(self._todo) < BATCH:
                await asyncio.sleep(GATHER)
            batch = self._next_batch()
            if not self._todo:
                self._arrived.clear()
            answers = await self._settle(batch, give_up_at)
            said = {answer.id: answer for answer in answers}
            self.unsettled -= len(batch)
            self._settled((settlement, said[settlement.id]) for settlement in batch if settlement.id in said)

    def _next_batch(self) -> list[Settlement]:
        batch: list[Settlement] = []
        size = 0
        while self._todo and len(batch) < BATCH and (not batch or size + self._todo[0][1] <= BATCH_BYTES):
            settlement, bytes_ = self._todo.popleft()
            batch.append(settlement)
            size += bytes_
        return batch

    async def _settle(self, batch: Sequence[Settlement], give_up_at: Callable[[], float]) -> Sequence[Settled]:
        tries = 0
        while True:
            try:
                return await asyncio.to_thread(self._record.settle, batch)
            except RecordRefusedError as e:
                return await self._settle_apart(batch, e, give_up_at)
            except (RecordUnavailableError, RecordSetupError) as e:
                wait = RETRY_WAITS[min(tries, len(RETRY_WAITS) - 1)]
                tries += 1
                if self._clock.monotonic() + wait > give_up_at():
                    log.error("%d jobs could not be settled, their leases will expire: %s", len(batch), e)  # noqa: TRY400
                    return []
                await asyncio.sleep(wait)

    async def _settle_apart(
        self, batch: Sequence[Settlement], error: RecordRefusedError, give_up_at: Callable[[], float]
    ) -> Sequence[Settled]:
        """Find the one that the record refuses, so that it does not take the others with it."""
        if len(batch) > 1:
            half = len(batch) // 2
            first = await self._settle(batch[:half], give_up_at)
            return [*first, *await self._settle(batch[half:], give_up_at)]
        if not isinstance(batch[0].decision, Done):
            log.error("job %s could not be settled: %s", batch[0].id, error)
            return []
        dead = Dead("its result could not be stored", "raised", cut(str(error)))
        return await self._settle([batch[0]._replace(decision=dead)], give_up_at)
