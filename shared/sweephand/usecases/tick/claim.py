"""Claim: have the index follow what the record said, and take what is due for this tick."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from sweephand.ports.index import (
    NO_OPTIONS,
    ActiveTick,
    Claimed,
    ClaimOptions,
    ClaimQuota,
    IndexUpdates,
    Lane,
    Listener,
)
from sweephand.ports.record import Page
from sweephand.usecases.tick.dependencies import Shared
from sweephand.usecases.tick.index_calls import IndexCalls
from sweephand.usecases.tick.lanes import Lanes
from sweephand.usecases.tick.run import Capacity

HOLD_MS = 10_000
"""How long a claim keeps others off: enough to reach the record, short enough to wait for when a tick dies."""
FAR_MS = 5_000
"""Beyond a hold: what is due and stands further away in the index than both was not put there by a claim."""


class Claimer:
    """The index as one tick sees it; it may be away, or not be there at all.

    `lingers`: this tick is one that waits for jobs to come due, unless a newer one does.
    """

    def __init__(self, shared: Shared, *, lingers: bool) -> None:
        self._index, self._clock = shared.parts.index, shared.parts.clock
        self._signal, self._report, self._lingers = shared.signal, shared.report, lingers
        self._calls = IndexCalls(shared.parts.clock, shared.parts.background, shared.report)
        self._lanes = Lanes()
        self._updates = IndexUpdates()
        self._page: tuple[Page, Sequence[str]] | None = None  # of which types; the next call adds its jobs
        self._generation: int | None = None
        self._listener: Listener | None = None
        self.installation = ""
        """Known from the record's first page."""
        self.superseded = False
        """A newer scheduled tick has begun."""
        self.active = False
        """This tick counts as active: who creates a job relies on it."""
        self.next_due_at = math.inf
        """When something comes due, on the clock's time; known after a claim that got nothing."""

    @property
    def up(self) -> bool:
        """Whether it is worth asking the index."""
        return self._index is not None and self._calls.worthwhile

    @property
    def adds(self) -> bool:
        """Whether the next claim adds jobs of a page."""
        return bool(self._updates.add)

    def bounded(self, types: Collection[str]) -> bool:
        """Tell whether a lane of these types has jobs that the index lacks, before others that it has."""
        return self._lanes.bounded(types)

    def follow(self, updates: IndexUpdates) -> None:
        """Have the next call carry out these too.

        Updates that are lost with a call are not missed: the record is asked again, and its answer stands.
        """
        self._updates.remove.extend(updates.remove)
        self._updates.postpone.extend(updates.postpone)
        self._updates.release.extend(updates.release)
        self._updates.add.extend(updates.add)
        self._updates.requeue.extend(updates.requeue)

    def add(self, page: Page, types: Sequence[str]) -> None:
        """Have the next call add what is on a page of these types, and claim from its lanes."""
        self._updates.add.extend(page.jobs)
        self._page = page, types
        self._lanes.note_page(page)

    async def claim(self, capacity: Capacity, active: ActiveTick, *, count_due: bool) -> Claimed | None:
        """Carry out the updates and claim what is due within the capacity; None when the index does not answer.

        It claims again at once where the index tells of lanes that were not named before.
        """
        self._lanes.note_due(self._signal.take_lanes())
        options = ClaimOptions(
            HOLD_MS,
            begins=self._lingers and self._generation is None,
            # A tick that waits sees by itself what it hands back; any other one notifies the tick that waits.
            notify=None if self._lingers and not self.superseded else self._updates.reopened,
            count_due=count_due,
            tick=active,
            far_ms=HOLD_MS + FAR_MS,
        )
        types = capacity.types
        named: set[Lane] = set()
        while True:
            quotas = self._lanes.quotas(capacity.pools, named)
            upto_ms = self._lanes.upto_ms(self._clock.monotonic())
            claimed = await self._sync_and_claim(quotas, replace(options, upto_ms=upto_ms))
            if claimed is None or claimed.claims:
                return claimed
            named.update(lane for quota in quotas for lane in quota.lanes)
            if not any(lane.type in types and lane not in named for lane in claimed.due_lanes):
                self._expect(claimed, {type_ for pool in capacity.pools for type_ in pool.types})
                return claimed
            options = replace(options, begins=False, notify=None)

    async def leave(self, name: str) -> None:
        """Carry out the updates, and have the tick of this name count as active no more."""
        self.stop_listening()
        if self._updates or self.active:
            gone = ActiveTick(name, 0, works=False)
            await self._sync_and_claim((), ClaimOptions(notify=self._updates.reopened, tick=gone))

    def listen(self) -> None:
        """Begin to listen for notifications, once, unless this tick does not wait or a newer one does."""
        if self._listener is None and self._lingers and not self.superseded and self.up:
            assert self._index is not None
            self._listener = self._index.listen(self.installation, self._signal.notify_from_thread())

    def stop_listening(self) -> None:
        """Listen no more: a notification is for a tick that can still start something."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _sync_and_claim(
        self, quotas: Sequence[ClaimQuota] = (), options: ClaimOptions = NO_OPTIONS
    ) -> Claimed | None:
        if not self.up:
            return None
        assert self._index is not None
        index = self._index
        updates, self._updates = self._updates, IndexUpdates()
        page, self._page = self._page, None
        at = self._clock.monotonic()
        claimed = await self._calls.make(lambda: index.sync_and_claim(self.installation, updates, quotas, options))
        if claimed is None:
            self._lanes.unbind()
            return None
        self._report.note_index(claimed.added, claimed.foreign)
        if page is not None:
            self._lanes.bound(*page, claimed.grown, at)
        if quotas:
            self._note(claimed)
        return claimed

    def _note(self, claimed: Claimed) -> None:
        if self._generation is None:
            self._generation = claimed.generation
        self.superseded = claimed.generation > self._generation
        if self.superseded:
            self.stop_listening()  # one listener takes a notification: the newer tick waits for nothing else
        self.active = claimed.is_active
        from_lanes = (Lane(claim.type, claim.priority) for claim in claimed.claims)
        self._lanes.note_answer(claimed.due_lanes, (lane for lane, _ in claimed.coming), from_lanes)
        if claimed.claims:
            self.next_due_at = math.inf

    def _expect(self, claimed: Claimed, types: Collection[str]) -> None:
        """Note when the next job of these types comes due."""
        waits = [ms for lane, ms in claimed.coming if lane.type in types]
        if claimed.next_ms is not None:
            waits.append(claimed.next_ms)
        self.next_due_at = self._clock.monotonic() + min(waits) / 1000 if waits else math.inf
