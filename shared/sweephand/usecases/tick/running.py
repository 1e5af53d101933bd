"""The jobs that a tick has leased: started, on their way through the pools, and until they are settled."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from sweephand.domain.handler import Isolation
from sweephand.domain.outcome import Outcome, Succeeded
from sweephand.domain.retry_policy import Attempt, Complete, Fail, Release, RetryAfter, decide
from sweephand.ports.index import Claim, IndexUpdates
from sweephand.ports.record import Due, Settled, Settlement, Start
from sweephand.ports.runner import Work
from sweephand.usecases.tick.entries import Entries
from sweephand.usecases.tick.parts import Dependencies
from sweephand.usecases.tick.pool import WorkerPool
from sweephand.usecases.tick.report import Report
from sweephand.usecases.tick.settler import Settler

log = logging.getLogger("sweephand")


class Running:
    """Takes what was started, enters it as there is room, and settles what ends.

    `changed` is called whenever a job ends or is settled; `moves()` is what the index is to follow.
    """

    def __init__(
        self, parts: Dependencies, report: Report, moves: Callable[[], IndexUpdates], changed: Callable[[], None]
    ) -> None:
        self._parts, self._report, self._moves, self._changed = parts, report, moves, changed
        self._claims: dict[str, Claim] = {}
        self._lease_until: dict[
            str, tuple[float, str]
        ] = {}  # of what is queued or runs: when it ends, and its token
        self.entries = Entries(parts.clock.monotonic, self._runs)
        """What the record is to be told with the next call."""
        self.longest = 0.0
        """The longest time limit of what was started."""
        self.pools = {
            isolation: WorkerPool(runner, parts.clock, self._admit, self._finished)
            for isolation, runner in parts.runners.items()
        }
        self._settler = Settler(parts.record, parts.clock, self.entries, self._settled, self._bad)
        self._settling: asyncio.Task[None] | None = None
        self._last_end = math.inf

    @property
    def busy(self) -> int:
        """How many jobs are started and not settled."""
        # The settler only ends by an error, which is told at the end; nothing more is settled then.
        gone = self._settling is not None and self._settling.done()
        return sum(pool.busy for pool in self.pools.values()) + (0 if gone else self._settler.unsettled)

    @property
    def stuck(self) -> int:
        """How many handlers passed their time limit and could not be ended."""
        return sum(runner.stuck for runner in self._parts.runners.values())

    def begin(self, last_end: float, give_up_at: Callable[[], float]) -> None:
        """Enter what can end by `last_end`, and settle; while the record is away, until `give_up_at()`."""
        self._last_end = last_end
        self._settling = asyncio.create_task(self._settler.run(give_up_at))

    def put(self, starts: Iterable[Start], of: Mapping[str, Claim], lease_until: Mapping[str, float]) -> None:
        """Take starts: of which claims, and by type until when their leases last."""
        work: dict[Isolation, list[Work]] = {}
        for start in starts:
            handler = self._parts.handlers[start.type]
            self._claims[start.id] = of[start.id]
            self._lease_until[start.id] = (lease_until[start.type], start.token)
            self.longest = max(self.longest, handler.timeout)
            self._report.started += 1
            work.setdefault(handler.isolation, []).append(
                Work(start, handler, min(lease_until[start.type], self._last_end) - handler.timeout)
            )
        for isolation, batch in work.items():
            self.pools[isolation].put(batch)

    def disown(self, of: Mapping[str, Claim], token: str) -> None:
        """Give back what a start call may have leased whose answer was lost: nobody has entered it."""
        self._claims.update(of)
        for id_ in of:
            self._settler.put(Settlement(id_, token, Release()))

    def take_back(self) -> None:
        """Give back what is started and was not entered."""
        for pool in self.pools.values():
            for work in pool.take_back():
                self._give_back(work)

    async def end(self) -> None:
        """End the settling and raise what ended it before; nothing may be busy."""
        for runner in self._parts.runners.values():
            runner.close()
        if self._settling is not None:
            self._settling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._settling

    def _admit(self, work: Work, queued: float) -> bool:
        """Tell whether a started job may be entered: not too late for the budget, or for its lease after a freeze.

        By then another tick may have run it, or a person cancelled it.
        """
        if self._parts.clock.monotonic() > work.enter_by:
            self._give_back(work)
            return False
        self._report.lateness.add(work.start.late_ms + round(queued * 1000))
        self.entries.add(work.start.id, work.start.token)
        return True

    def _runs(self, id_: str, token: str) -> bool:
        return self._lease_until.get(id_, (0.0, ""))[1] == token

    def _give_back(self, work: Work) -> None:
        until, _ = self._lease_until.pop(work.start.id)
        self._settler.put(Settlement(work.start.id, work.start.token, Release()), until=until)
        self._changed()

    def _finished(self, work: Work, outcome: Outcome) -> None:
        start = work.start
        lease_until, _ = self._lease_until.pop(start.id)
        if isinstance(outcome, Succeeded):  # what nearly every job comes to: nothing is left to decide
            self._settler.put(
                Settlement(start.id, start.token, Complete(outcome.result)), outcome.size, lease_until
            )
        else:
            log.info("job %s (%s) attempt %d: %s", start.id, start.type, start.attempt, type(outcome).__name__)
            attempt = Attempt(start.attempt, start.crashes, start.max_retries, start.lost)
            lease = lease_until - self._parts.clock.monotonic()
            decision = decide(attempt, outcome, jitter=self._parts.chance.jitter(), lease=lease)
            self._settler.put(Settlement(start.id, start.token, decision), until=lease_until)
        self._changed()

    def _bad(self, id_: str, error: str) -> None:
        self._report.note_bad(id_, error)

    def _settled(self, answers: Iterable[tuple[Settlement, Settled]]) -> None:
        self._report.busy_settles = self._settler.busy
        for settlement, settled in answers:
            self._note(settlement, settled)
        self._changed()

    def _note(self, settlement: Settlement, settled: Settled) -> None:
        claim = self._claims.pop(
            settlement.id, None
        )  # none: it was started again while an older settlement was held
        if settled.lost:
            self._report.late_writes += not isinstance(settlement.decision, Release)
            return
        match settlement.decision:
            case Complete():
                self._report.completed += 1
            case RetryAfter():
                self._report.retried += 1
            case Fail():
                self._report.failed += 1
            case Release():
                self._report.returned += 1
        if claim and settled.wait_ms is not None and settled.wait_ms <= self._parts.horizon_ms:
            self._moves().requeue.append(Due(claim.id, claim.type, claim.priority, settled.wait_ms))


def by_id(claimed: Sequence[Claim]) -> dict[str, Claim]:
    """Return claims by their ids."""
    return {claim.id: claim for claim in claimed}
