"""Restore: put back into the index what the record has and the index lost, one page at a time.

It is level-triggered: no flag says that something is missing. Each page is read from the record and added, and the
index keeps what it has.
"""

import math
from collections.abc import Collection, Iterable, Sequence

from sweephand.domain.attempt import Claim
from sweephand.ports.index import Lane
from sweephand.ports.record import Page, UnknownTypes
from sweephand.usecases.tick.claim import Claimer
from sweephand.usecases.tick.dependencies import Shared
from sweephand.usecases.tick.quarantine import Quarantine
from sweephand.usecases.tick.record_calls import RecordCalls
from sweephand.usecases.tick.run import Capacity
from sweephand.usecases.tick.skip_list import SkipList

POLL = 1.0
"""Seconds after which a page is old, while handlers run."""
ROTATE_EVERY = 0.25
"""Seconds between further pages while a backlog stands."""
ROTATE_COST = 20
"""How many times as long as a page took the next one waits, from the beginning of the one to that of the other."""
AGAIN = 0.05
"""Seconds before a tick looks again at what is due on a page and was claimed by nobody that it can see."""
LOOKS = 3
"""How often it looks again, at most, until something is claimed."""
NO_PAGE = Page("", [], [], more=False, paused=frozenset(), unknown=UnknownTypes(), look=False, oldest={}, rescued=0,
               failed=0, bad={})  # fmt: skip


def pause(took: float) -> float:
    """Return the seconds from the beginning of a further page that `took` so many to that of the next.

    The rows of what was just drained make a page dear until they are vacuumed, just when there is much to drain.
    """
    return max(ROTATE_EVERY, ROTATE_COST * took)


class Restore:
    """The record's pages as one tick reads them, and when to read another."""

    def __init__(
        self, shared: Shared, calls: RecordCalls, claimer: Claimer, skips: SkipList, quarantine: Quarantine
    ) -> None:
        self._clock, self._pages = shared.parts.clock, shared.parts.pages
        self._budget, self._signal, self._report = shared.budget, shared.signal, shared.report
        self._all_types = list(shared.parts.handlers)
        self._calls, self._claimer, self._skips, self._quarantine = calls, claimer, skips, quarantine
        self.page = NO_PAGE
        """The last first page."""
        self.page_at = -math.inf
        """When it was read."""
        self.fresh = False
        """Whether it is newer than the last claim."""
        self.paused: set[str] = set()
        """Types that an operator holds back."""
        self._shown: frozenset[str] = frozenset()  # the types that it was to show
        self._due_types: set[str] = set()  # that had a due job on the last page that was to show them
        self._gave = False  # whether the last page had jobs for this tick that the index lacked
        self._looked_again = 0
        self._rotate_at = -math.inf

    async def read(self, types: Sequence[str], *, begins: bool = False) -> None:
        """Read a fresh first page of these types; the next claim adds it to the index."""
        types = [*types, *self.paused.difference(types)]  # which may have been resumed
        skip, strict = self._skips.ids(), not self._claimer.up
        self.page = await self._calls.make_telling(
            lambda entered: self._pages.first(types, strict=strict, skip=skip, entered=entered, begins=begins)
        )
        self.fresh = True
        self.page_at = self._clock.monotonic()
        self._shown = frozenset(types)
        self._claimer.installation = self.page.installation
        self.paused = (self.paused - set(types)) | self.page.paused
        self._due_types -= set(types)
        self._note(self.page, types)

    async def read_all(self, *, begins: bool = False) -> None:
        """Read a fresh first page of all types."""
        await self.read(self._all_types, begins=begins)

    async def rotate(self, types: Sequence[str]) -> None:
        """Read on behind a standing backlog, now and then."""
        if self._pages.has_more and (began := self._clock.monotonic()) >= self._rotate_at and self._claimer.up:
            await self._read_on(types)
            self._rotate_at = began + pause(self._clock.monotonic() - began)

    async def fill_bounded_lanes(self, capacity: Capacity) -> bool:
        """Read on where a lane may be claimed no further until the index has the jobs in between."""
        if not self._claimer.bounded(capacity.types):
            return False
        await self._read_on(capacity.types)
        return True

    async def look(self, capacity: Capacity) -> bool:
        """Read a fresh page where one is due now that nothing was claimed, maybe for want of capacity in a pool.

        A page that was read while one pool was full shows nothing of that pool's types. One that left schedules
        whose fires are to be made is followed by another at once.
        """
        types = capacity.types
        shown = self._shown.issuperset(types)
        if self.fresh and shown and self.page.schedules is None:
            return False
        old = self._clock.monotonic() >= self.page_at + POLL
        if not (old or self._gave or self.page.schedules or capacity.whole or not (shown or self._claimer.up)):
            return False
        await self.read(types)
        return True

    async def look_behind(self, capacity: Capacity) -> bool:
        """Read on behind a fresh page of which nothing was claimed: others hold what it shows."""
        if not (self.fresh and self._pages.has_more and self._claimer.up):
            return False
        await self._read_on(capacity.types)
        return True

    async def look_again(self, capacity: Capacity) -> bool:
        """Look again, a few times, where jobs are due and nothing says who has them: they may just have started."""
        if not self.held(capacity.types) or self._claimer.next_due_at < math.inf or self._looked_again >= LOOKS:
            return False
        self._looked_again += 1
        await self._signal.wait(min(AGAIN, self._budget.left))
        self.fresh = False
        return True

    def due_on_page(self, capacity: Capacity) -> Sequence[Claim]:
        """Return what is due on a fresh page, as far as there is capacity: the batch where there is no index."""
        if not self.fresh:
            return []
        pool_of = {type_: at for at, pool in enumerate(capacity.pools) for type_ in pool.types}
        left = [pool.capacity for pool in capacity.pools]
        batch = []
        for due in self.page.jobs:
            at = pool_of.get(due.type)
            if at is None or due.wait_ms > 0 or left[at] <= 0:
                continue
            if due.id in self._quarantine or due.id in self._skips:
                continue
            left[at] -= 1
            batch.append(Claim(due.id, due.type, due.priority, 0, 0))
        self._gave = bool(batch)
        return batch

    def note_grown(self, lanes: Iterable[Lane], types: Collection[str]) -> None:
        """Note in which lanes the index lacked a job of the last page; of these types, a job may be started now."""
        self._gave = any(lane.type in types for lane in lanes)

    def note_claims(self, count: int) -> None:
        """Note that so many jobs were claimed: the page shows what was due before that."""
        self._report.claimed += count
        self.fresh = False
        self._looked_again = 0

    def has_due(self) -> bool:
        """Tell whether something is known to be due that this tick leaves to the next."""
        return not self.fresh or not self._due_types <= set(self._budget.fitting())

    def held(self, types: Collection[str] | None = None) -> bool:
        """Tell whether something of these types, or of any, is due that another tick has claimed."""
        known = self._all_types if types is None else types
        return any(due.wait_ms <= 0 and due.type in known and due.id not in self._skips for due in self.page.jobs)

    def next_due_at(self) -> float:
        """Return when the next job of the page comes due, on the clock's time."""
        fitting = set(self._budget.fitting())
        waits = [due.wait_ms for due in self.page.jobs if due.type in fitting and due.wait_ms > 0]
        return self.page_at + min(waits) / 1000 if waits else math.inf

    async def _read_on(self, types: Sequence[str]) -> None:
        """Read on behind what the last page showed of its lanes, or begin anew where there is nothing behind it."""
        if not self._pages.has_more:
            await self.read(types)
            return
        skip = self._skips.ids()
        page = await self._calls.make_telling(lambda entered: self._pages.further(types, skip, entered))
        self._note(page, types)

    def _note(self, page: Page, types: Sequence[str]) -> None:
        self._claimer.add(page, types)
        self._due_types |= {due.type for due in page.jobs if due.wait_ms <= 0}
        self._report.note_page(page, whole=len(types) == len(self._all_types))
