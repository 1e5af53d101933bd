"""Quarantine: jobs that were lost with a function twice run one at a time, with nothing beside them."""

from collections.abc import Awaitable, Callable

from sweephand.domain.attempt import Claim
from sweephand.ports.index import IndexUpdates
from sweephand.usecases.tick.budget import MARGIN
from sweephand.usecases.tick.dependencies import Shared

MOST = 64
"""Jobs that one tick keeps here: one that kills its function holds back all that are kept beside it."""
RUN_FOR = 1.0
"""Seconds after which other jobs get their turn."""


class Quarantine:
    """The claims of such jobs, until they run or are handed back."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._claims: dict[str, Claim] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._claims

    def keep(self, claim: Claim) -> bool:
        """Keep a claim until its job may run exclusively; tell whether there is a place for it."""
        if len(self._claims) >= MOST and claim.id not in self._claims:
            return False
        self._claims[claim.id] = claim
        return True

    def must_run(self, in_flight: int) -> bool:
        """Tell whether it is time to run them: nothing else runs and all places are taken, or the budget ends."""
        if len(self._claims) >= MOST and not in_flight:
            return True
        handlers = self._shared.parts.handlers
        longest = max((handlers[claim.type].timeout for claim in self._claims.values()), default=0.0)
        return bool(self._claims) and self._shared.budget.left <= longest + MARGIN

    async def run(
        self, start_exclusively: Callable[[Claim], Awaitable[None]], until_settled: Callable[[], Awaitable[None]]
    ) -> bool:
        """Run them one by one, for a while: one that kills this function too takes nobody with it.

        Return False where none of those that are left fits what is left of the budget.
        """
        parts, budget, signal, _ = self._shared
        until = parts.clock.monotonic() + RUN_FOR
        await until_settled()
        while self._claims and not signal.stopping:
            fitting = set(budget.fitting())
            runnable = [claim for claim in self._claims.values() if claim.type in fitting]
            if not runnable:
                return False
            # Any of them: were it the oldest, one that kills its function would come first for every tick.
            claim = runnable[int(parts.randomness.jitter() * len(runnable))]
            del self._claims[claim.id]
            await start_exclusively(claim)
            await until_settled()
            if parts.clock.monotonic() >= until:
                break
        return True

    def release(self) -> IndexUpdates:
        """Hand back what is kept."""
        updates = IndexUpdates(release=list(self._claims.values()))
        self._shared.report.released += len(self._claims)
        self._claims.clear()
        return updates
