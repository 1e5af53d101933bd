"""A tick's dealings with the index: moves that gather, claims, and what the index tells beside them."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from sweephand.domain.errors import IndexUnavailableError
from sweephand.ports.background import Background
from sweephand.ports.clock import Clock
from sweephand.ports.index import NO_OPTIONS, Claimed, ClaimOptions, ClaimQuota, Index, IndexUpdates, Lane, Listener
from sweephand.ports.record import Page
from sweephand.usecases.tick.report import Report
from sweephand.usecases.tick.wakeup import Signal

log = logging.getLogger("sweephand")
PAUSE = 5.0
"""Seconds to leave an index alone that did not answer."""
PATIENCE = 2.5
"""Seconds to wait for an index: longer than its own limits take, were it not for look-ups that have none."""
NAMED = 64
"""Lanes that one claim names: the index looks at each of them."""
SLACK_MS = 100
"""By how much a bound is laid too late: what is added is placed some ms after it was read."""


class Claimer:
    """The index as one tick sees it; it may be away, or not be there at all."""

    def __init__(self, index: Index | None, clock: Clock, background: Background, report: Report) -> None:
        self._index, self._clock, self._background, self._report = index, clock, background, report
        self.moves = IndexUpdates()
        """What the next step carries out."""
        self.installation = ""
        """Told by the record's first page."""
        self.superseded = False
        """A newer scheduled tick has begun."""
        self.active = False
        """This tick counts as active: who creates a job relies on it."""
        self.next_due_at = math.inf
        """When something comes due, on the clock's time; known after a step that claimed nothing."""
        self._back_at = -math.inf
        self._generation: int | None = None
        self._listener: Listener | None = None
        self._hung = False  # a call has not come back that is waited for no more
        self._due: list[Lane] = []  # told by the last step, or by a notification
        self._seen: dict[Lane, None] = {}  # on pages, or told as coming
        self._page: tuple[Page, Sequence[str]] | None = None  # added by the next step, and of which types
        self._bounds: dict[Lane, tuple[int, float]] = {}

    @property
    def up(self) -> bool:
        """Tell whether it is worth asking."""
        return self._index is not None and not self._hung and self._clock.monotonic() >= self._back_at

    @property
    def entered(self) -> bool:
        """Tell whether the index has given a generation."""
        return self._generation is not None

    def bounded(self, types: Iterable[str]) -> bool:
        """Tell whether a lane of these types has jobs that the index lacks, before others that it has."""
        able = set(types)
        return any(lane.type in able for lane in self._bounds)

    def add(self, page: Page, types: Sequence[str]) -> None:
        """Have the next step add what is on a page of these types, and claim from its lanes."""
        self.moves.add.extend(page.jobs)
        self._page = page, types
        self._seen.update(dict.fromkeys(Lane(job.type, job.priority) for job in page.jobs))

    def told(self, lanes: Iterable[Lane]) -> None:
        """Claim from these lanes first: there is something new in them."""
        self._due = [*lanes, *self._due]

    async def claim(self, rooms: Sequence[tuple[Sequence[str], int]], ask: ClaimOptions) -> Claimed | None:
        """Carry out the moves and claim what is due of each `(types, room)`; None when the index does not answer.

        It claims again at once where the index tells of lanes that were not named before.
        """
        named: set[Lane] = set()
        while True:
            quotas = self._quotas(rooms, named)
            step = await self.step(quotas, replace(ask, upto_ms=self._upto_ms()))
            if step is None or step.claims:
                return step
            named.update(lane for quota in quotas for lane in quota.lanes)
            able = {type_ for types, room in rooms if room for type_ in types}
            if not any(lane.type in able and lane not in named for lane in step.due_lanes):
                self._expect(step, {type_ for types, _ in rooms for type_ in types})
                return step
            ask = replace(ask, begins=False, notify=None)

    async def step(self, quotas: Sequence[ClaimQuota] = (), ask: ClaimOptions = NO_OPTIONS) -> Claimed | None:
        """Carry out the moves that have gathered, and claim; None when the index does not answer.

        Moves that are lost with it are not missed: the record is asked again, and its answer stands.
        """
        if not self.up:
            return None
        assert self._index is not None
        index = self._index
        moves, self.moves = self.moves, IndexUpdates()
        page, self._page = self._page, None
        at = self._clock.monotonic()
        try:
            step = await self._bounded_wait(lambda: index.sync_and_claim(self.installation, moves, quotas, ask))
        except IndexUnavailableError as e:
            log.warning("working without the index: %s", e)
            self._report.index_errors += 1
            self._back_at = self._clock.monotonic() + PAUSE
            self._bounds.clear()
            return None
        self._report.restored += step.added
        self._report.index_foreign += len(step.foreign)
        self._report.index_foreign_named = [*self._report.index_foreign_named, *step.foreign][:10]
        if page is not None:
            self._bound(*page, step.grown, at)
        if quotas:
            self._note(step)
        return step

    async def _bounded_wait(self, call: Callable[[], Claimed]) -> Claimed:
        """Make a call in the background, and stop waiting for it after PATIENCE.

        The look-up of a name, or a cluster's search for its nodes, has no limit; a thread that hangs must keep
        neither the record's calls from their turn nor the process from its end.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Claimed] = loop.create_future()

        def done(step: Claimed | None, error: BaseException | None) -> None:
            self._hung = False
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            elif step is not None:
                answer.set_result(step)

        def run() -> None:
            step, error = None, None
            try:
                step = call()
            except BaseException as e:  # noqa: BLE001 - told to the one who waits
                error = e
            if not loop.is_closed():
                try:
                    loop.call_soon_threadsafe(done, step, error)
                except RuntimeError:  # closed meanwhile
                    return

        self._hung = True
        self._background.does(run, 0)
        try:
            return await asyncio.wait_for(answer, PATIENCE)
        except TimeoutError as e:
            raise IndexUnavailableError(f"The index does not answer: nothing in {PATIENCE:g} s.") from e

    def _quotas(self, rooms: Sequence[tuple[Sequence[str], int]], tried: AbstractSet[Lane]) -> list[ClaimQuota]:
        """Return the lanes to name: those known to be due first, then others, each the highest priority first.

        `tried` were named just before and had nothing: each round names others, so the rounds end.
        """
        pool_of = {type_: at for at, (types, _) in enumerate(rooms) for type_ in types}
        due = sorted(dict.fromkeys(self._due), key=lambda lane: -lane.priority)
        seen = sorted(self._seen, key=lambda lane: -lane.priority)
        named: list[list[Lane]] = [[] for _ in rooms]
        left = NAMED
        for lane in dict.fromkeys([*due, *seen]):
            if lane.type in pool_of and lane not in tried and left:
                named[pool_of[lane.type]].append(lane)
                left -= 1
        return [ClaimQuota(lanes, room) for lanes, (_, room) in zip(named, rooms, strict=True)]

    def _expect(self, step: Claimed, types: set[str]) -> None:
        """Note when the next job of these types comes due."""
        waits = [ms for lane, ms in step.coming if lane.type in types]
        if step.next_ms is not None:
            waits.append(step.next_ms)
        self.next_due_at = self._clock.monotonic() + min(waits) / 1000 if waits else math.inf

    def _note(self, step: Claimed) -> None:
        if self._generation is None:
            self._generation = step.generation
        self.superseded = step.generation > self._generation
        if self.superseded:
            self.close()  # one listener takes a notification: the newer tick waits for nothing else
        self.active = step.is_active
        self._due = list(step.due_lanes)
        if len(self._seen) > 4 * NAMED:  # what matters of them is told as due or coming
            self._seen = dict.fromkeys(
                lane for claim in step.claims for lane in (Lane(claim.type, claim.priority),)
            )
        self._seen.update(dict.fromkeys(lane for lane, _ in step.coming))
        if step.claims:
            self.next_due_at = math.inf

    def _bound(self, page: Page, types: Sequence[str], grown: frozenset[Lane], at: float) -> None:
        """Keep later jobs of a lane waiting while earlier ones are missing from the index.

        A lane that the page cut and that got something new lacks what comes behind, maybe; what was created since
        stands in the index already. It is claimed from as far as the page reached, until another shows the rest.
        """
        reached = {Lane(job.type, job.priority): job.wait_ms for job in page.jobs}
        cut = {(row[0], row[1]) for row in page.cut if isinstance(row, list)}
        of = set(types)
        self._bounds = {lane: bound for lane, bound in self._bounds.items() if lane.type not in of}
        for lane, wait_ms in reached.items():
            if lane in grown and (lane.type, lane.priority) in cut and wait_ms < 0:
                self._bounds[lane] = (wait_ms, at)

    def _upto_ms(self) -> Mapping[Lane, int]:
        now = self._clock.monotonic()
        return {
            lane: min(0, round(wait_ms - (now - at) * 1000) + SLACK_MS)
            for lane, (wait_ms, at) in self._bounds.items()
        }

    def listen(self, wakeup: Signal) -> None:
        """Begin to listen for notifications, once, unless a newer tick does."""
        if self._listener is not None or self.superseded or not self.up:
            return
        assert self._index is not None
        loop = asyncio.get_running_loop()

        def notified(lane: Lane | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(wakeup.notify, lane)

        self._listener = self._index.listen(self.installation, notified)

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
