"""A tick: restore → claim → start → run → settle, until nothing is due or the budget is used.

All steps work on batches and overlap: while one batch runs, the next is claimed and started, and what has finished
is settled. The record's calls block, so each is made in a thread; everything else happens on one event loop.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from typing import TypeVar

from shared.domain.errors import RecordSetupError, RecordUnavailableError
from shared.ports.index import Ask, Awake, Claimed, Lane
from shared.ports.record import Page, Started, Verdict
from shared.usecases.tick.fan_out import FanOut
from shared.usecases.tick.index_side import IndexSide
from shared.usecases.tick.parts import MARGIN, Limits, Parts
from shared.usecases.tick.report import Report
from shared.usecases.tick.restore import pause
from shared.usecases.tick.running import Running, by_id
from shared.usecases.tick.settler import RETRY_WAITS
from shared.usecases.tick.starts import Starts
from shared.usecases.tick.wakeup import Wakeup

log = logging.getLogger("minutehand")
Answer = TypeVar("Answer")

BATCH = 500
"""Jobs started by one call: half the size costs a tenth more a job, twice the size gains nothing."""
BATCH_BYTES = 8 * 1024 * 1024
"""Bytes of payload in one call, so that a batch and its copies fit a small function: 32 of the largest."""
HOLD_MS = 10_000
"""How long a claim keeps others off: enough to reach the record, short enough to wait for when a tick dies."""
LEASE_MARGIN_MS = 10_000
"""What a lease lasts beyond the handler's time limit, for settling."""
PATIENCE = 10.0
"""Seconds to go on asking a record that does not answer; after that the tick ends and the next one tries."""
SUSPECTS = 64
"""Jobs that were lost with a function before, and that one tick keeps to run them alone."""
SUSPECT_WAIT_MS = 2000
"""How long those beyond are left alone while others run."""
POLL = 1.0
"""Seconds between looks for new work while handlers run and nothing is due."""
PRUNE = 5.0
"""Seconds that a tick deletes old jobs: on Google the next one waits for it to end."""


class Tick:
    """One tick; `await run()` does all of it."""

    def __init__(self, parts: Parts, limits: Limits) -> None:
        self._parts, self._limits = parts, limits
        self._report = Report(budget_ms=round(limits.budget * 1000))
        self._wakeup = Wakeup()
        self._index = IndexSide(parts.index, parts.clock, self._report)
        self._running = Running(parts, self._report, lambda: self._index.moves, self._wakeup.happened)
        self._starts = Starts(self._wakeup.happened)
        self._suspects: dict[str, Claimed] = {}
        self._page = Page("", [], None, frozenset(), {}, {}, 0, 0)
        self._fresh = False  # whether the page is newer than the last claim
        self._page_at = -math.inf
        self._rotate_at = -math.inf
        self._stopping = False
        self._name = parts.chance.token()
        self._fan_out = FanOut(parts.drainers, limits.drainers, parts.clock, self._report)

    def stop(self) -> None:
        """Start nothing more; what runs is finished, the rest handed back."""
        self._stopping = True
        self._fan_out.stop()
        self._wakeup.happened()

    async def run(self) -> Report:
        """Do the work and return the report.

        Raises `RecordUnavailableError` or `RecordSetupError` when the record was away for the whole tick.
        """
        self._began = self._parts.clock.monotonic()
        self._deadline = self._began + self._limits.budget
        self._running.begin(self._deadline - MARGIN / 2, lambda: self._deadline + LEASE_MARGIN_MS / 1000)
        try:
            await self._drain()
        finally:
            await self._wind_up()
        await self._prune()
        return await self._finish()

    # ------------------------------------------------------------------ drain

    async def _drain(self) -> None:  # noqa: C901 - one round of choices, in their order
        """Go round: claim and start what is due; where nothing is, look at a fresh page before saying so."""
        await self._restore()
        while not self._stopping and (lanes := self._open_lanes()) and not self._running.stuck:
            if self._must_run_suspects():
                await self._run_suspects()
            elif not any(lane.room for lane in lanes):
                await self._wait(POLL)
            elif await self._start_due(lanes):
                await self._rotate()
            elif self._starts.under_way:
                await self._starts.finish()
            elif self._must_look(lanes):
                await self._restore()
            elif self._running.busy:
                await self._wait_while_busy()
            elif self._suspects:
                await self._run_suspects()
            elif not await self._linger() and not await self._stays_after_all(lanes):
                break
        await self._starts.finish()
        if self._stopping or self._running.stuck or self._has_due():
            self._report.stopped = "budget"

    def _has_due(self) -> bool:
        """Tell whether something is known to be due that this tick leaves to the next."""
        fitting = set(self._fitting())
        return not self._fresh or any(d.wait_ms == 0 and d.type not in fitting for d in self._page.jobs)

    def _must_look(self, lanes: Sequence[Lane]) -> bool:
        """Tell whether to look at the record now that nothing was claimed, maybe for want of room in a lane."""
        old = self._parts.clock.monotonic() >= self._page_at + POLL
        return not self._fresh and (old or all(lane.room for lane in lanes))

    async def _start_due(self, lanes: Sequence[Lane]) -> bool:
        """Claim what is due and start it; tell whether there was any."""
        enter = not self._index.entered and self._limits.linger > 0
        count = self._fan_out.wants_to_know()
        waits = self._limits.linger > 0 and not self._index.superseded
        kick = self._index.moves.bring_back and not waits  # for one that does
        step = await self._index.step(lanes, Ask(HOLD_MS, enter=enter, kick=kick, count=count, tick=self._awake()))
        if step is not None and count:
            self._fan_out.call(step.due, self._left, self._running.longest)
        claimed = list(step.claimed) if step is not None else self._due_on_page(lanes)
        if claimed:
            self._fresh = False
            self._report.claimed += len(claimed)
            isolations = (self._parts.handlers[c.type].isolation for c in claimed)
            await self._starts.begin(partial(self._start, claimed), isolations)
        elif all(lane.room for lane in lanes):
            self._fan_out.idle()
        return bool(claimed)

    def _awake(self) -> Awake:
        """Say how long this tick takes what is created meanwhile: what creates a job relies on it."""
        stay = 0.0 if self._index.superseded else self._linger_ends() - self._parts.clock.monotonic()
        busy = self._running.busy > 0 or self._starts.under_way
        return Awake(self._name, max(0, round(stay * 1000)), busy=busy)

    def _due_on_page(self, lanes: Sequence[Lane]) -> list[Claimed]:
        """Return what is due on a fresh page, as far as the lanes have room: the batch where there is no index."""
        if not self._fresh:
            return []
        due = [d for d in self._page.jobs if d.wait_ms == 0 and d.id not in self._suspects]
        return [
            Claimed(d.id, d.type, d.priority, 0, 0)
            for lane in lanes
            for d in [d for d in due if d.type in lane.types][: lane.room]
        ]

    @property
    def _left(self) -> float:
        """Seconds in which handlers may still run."""
        return self._deadline - MARGIN - self._parts.clock.monotonic()

    def _fitting(self) -> list[str]:
        """Return the types whose time limit fits what is left of the budget."""
        left = self._left
        return [name for name, handler in self._parts.handlers.items() if handler.timeout <= left]

    def _open_lanes(self) -> list[Lane]:
        """Return the lanes that may still start something, with their room; none when the budget is used."""
        fitting = [self._parts.handlers[name] for name in self._fitting()]
        return [
            Lane(
                [h.name for h in fitting if h.isolation is isolation and h.name not in self._page.paused],
                max(0, min(lane.room() - self._starts.claimed(isolation), BATCH)),
            )
            for isolation, lane in self._running.lanes.items()
            if any(h.isolation is isolation for h in fitting)
        ]

    # ------------------------------------------------------------------ restore

    async def _restore(self) -> None:
        """Read a fresh first page; the next step puts it into the index."""
        self._page = await self._ask(self._parts.restorer.first, list(self._parts.handlers))
        self._fresh = True
        self._page_at = self._parts.clock.monotonic()
        self._index.installation = self._page.installation
        self._note(self._page)

    async def _rotate(self) -> None:
        """Look behind a standing backlog, now and then."""
        clock = self._parts.clock
        if self._parts.restorer.has_more and (began := clock.monotonic()) >= self._rotate_at and self._index.up:
            self._note(await self._ask(self._parts.restorer.further, list(self._parts.handlers)))
            self._rotate_at = began + pause(clock.monotonic() - began)

    def _note(self, page: Page) -> None:
        self._index.moves.add.extend(page.jobs)
        self._report.expired_leases += page.lapsed
        self._report.failed += page.failed
        self._report.unknown_types = page.unknown
        self._report.oldest_due_age_s_by_priority = page.oldest
        self._report.oldest_due_age_s = max(page.oldest.values(), default=0.0)

    # ------------------------------------------------------------------ start

    async def _start(
        self, claimed: Sequence[Claimed], before: asyncio.Task[None] | None = None, *, alone: bool = False
    ) -> None:
        """Lease what was claimed and may start, hand it to its lane, and note what the index is to follow.

        It is handed over after what `before` starts: in the order in which it was claimed.
        """
        token = self._parts.chance.token()
        types = {c.type for c in claimed}  # they fitted the budget when they were claimed, a moment ago
        leases = {t: round(self._parts.handlers[t].timeout * 1000) + LEASE_MARGIN_MS for t in types}
        asked_at = self._parts.clock.monotonic()
        of = by_id(claimed)

        def call() -> Started:
            return self._parts.record.start(list(of), token, leases, alone=alone, max_bytes=BATCH_BYTES)

        try:
            started = await self._ask(call)
            if before:
                await asyncio.wait([before])
        except RecordUnavailableError:
            self._running.disown(of, token)
            raise
        self._follow(of, started)
        self._running.put(started.starts, of, {t: asked_at + ms / 1000 for t, ms in leases.items()})

    def _follow(self, of: Mapping[str, Claimed], started: Started) -> None:
        """Note what the index is to do with each claimed id."""
        self._index.moves.remove.extend(of[start.id] for start in started.starts)
        for id_, (verdict, wait_ms) in started.others.items():
            claim = of[id_]
            match verdict:
                case Verdict.ALREADY:
                    continue
                case Verdict.FINAL | Verdict.UNKNOWN:
                    self._index.moves.remove.append(claim)
                    self._report.skipped += 1
                case Verdict.EARLY | Verdict.LEASED:
                    self._index.moves.wait.append((claim, wait_ms or 0))
                    self._report.skipped += 1
                case Verdict.ALONE if len(self._suspects) < SUSPECTS or id_ in self._suspects:
                    self._suspects[id_] = claim
                case Verdict.ALONE:
                    # Left to other ticks: one that kills its function would hold back all that are kept here.
                    if self._running.busy or started.starts:  # this one will not come to them soon
                        self._index.moves.wait.append((claim, SUSPECT_WAIT_MS))
                    else:
                        self._index.moves.back.append(claim)
                    self._report.returned += 1
                case Verdict.FULL:
                    self._index.moves.back.append(claim)
                    self._report.returned += 1

    # ------------------------------------------------------------------ wait

    async def _wait(self, limit: float) -> None:
        """Wait until something happens, `limit` seconds have passed, or nothing may be started any more."""
        await self._wakeup.wait(min(limit, self._left))

    async def _wait_while_busy(self) -> None:
        """Wait for room, or for what comes due or is created, while handlers run; then look at the record again."""
        until = self._parts.clock.monotonic() + POLL
        self._listen()
        full = [lane for lane in self._running.lanes.values() if not lane.room()]
        while self._running.busy and not self._stopping and not self._wakeup.kicked:
            if any(lane.room() for lane in full):
                break
            left = min(until, self._index.next_due_at) - self._parts.clock.monotonic()
            if left <= 0:
                break
            await self._wait(left)
        self._wakeup.kicked = False
        self._fresh = self._fresh and self._parts.clock.monotonic() < until

    async def _linger(self) -> bool:
        """Wait for the next job that is known to come due, or for a kick; tell whether to look again.

        No: nothing comes due in time, lingering is off, or the next tick has taken over. An idle system is left
        at once, so it costs nothing.
        """
        now = self._parts.clock.monotonic()
        if self._index.superseded or self._index.next_due_at > self._linger_ends() or not self._index.up:
            return False
        self._listen()
        while not self._wakeup.kicked and not self._stopping:
            left = self._index.next_due_at - self._parts.clock.monotonic()
            if left <= 0:
                break
            await self._wait(left)
        self._wakeup.kicked = False
        self._report.lingered_ms += round((self._parts.clock.monotonic() - now) * 1000)
        return True

    async def _stays_after_all(self, lanes: Sequence[Lane]) -> bool:
        """Look once more where the last step said that this tick is awake: this one says that it is not.

        What was created since is either found by it, or finds nobody awake.
        """
        return self._index.awake and (await self._start_due(lanes) or await self._linger())

    def _linger_ends(self) -> float:
        return min(self._began + self._limits.linger, self._deadline - MARGIN)

    def _listen(self) -> None:
        if self._limits.linger > 0:
            self._index.listen(self._wakeup)

    async def _wait_until_settled(self) -> None:
        while self._running.busy:
            await self._wakeup.wait(POLL)

    # ------------------------------------------------------------------ alone

    def _must_run_suspects(self) -> bool:
        """Tell whether it is time for what was lost with a function: nothing else runs, or the budget ends."""
        if len(self._suspects) >= SUSPECTS and not self._running.busy:
            return True
        longest = max((self._parts.handlers[c.type].timeout for c in self._suspects.values()), default=0.0)
        return bool(self._suspects) and self._left <= longest + MARGIN

    async def _run_suspects(self) -> None:
        """Run such jobs one by one, for a while: one that kills this function too takes nobody with it."""
        until = self._parts.clock.monotonic() + POLL
        await self._starts.finish()
        await self._wait_until_settled()
        while self._suspects and not self._stopping and not self._running.stuck:
            fitting = set(self._fitting())
            able = [claim for claim in self._suspects.values() if claim.type in fitting]
            if not able:
                self._hand_back_suspects()
                return
            # Any of them: were it the oldest, one that kills its function would come first for every tick.
            claim = able[int(self._parts.chance.jitter() * len(able))]
            del self._suspects[claim.id]
            await self._start([claim], alone=True)
            await self._wait_until_settled()
            if self._parts.clock.monotonic() >= until:
                return

    def _hand_back_suspects(self) -> None:
        self._index.moves.back.extend(self._suspects.values())
        self._report.returned += len(self._suspects)
        self._suspects.clear()

    # ------------------------------------------------------------------ end

    async def _wind_up(self) -> None:
        """Let what runs finish, settle it, and hand back what was claimed and not started."""
        self._index.close()  # a kick is for one that can still start something
        await self._starts.end()
        self._running.take_back()
        await self._wait_until_settled()
        self._hand_back_suspects()
        if self._index.moves or self._index.awake:
            kick = self._index.moves.bring_back
            await self._index.step(ask=Ask(kick=kick, tick=Awake(self._name, 0, busy=False)))
        await self._running.end()

    async def _prune(self) -> None:
        """Delete what was kept for long enough, for some seconds and when there is time; the next tick goes on."""
        retention, clock = self._parts.retention, self._parts.clock
        until = clock.monotonic() + min(PRUNE, self._left)
        while retention and retention.due(clock.monotonic()) and clock.monotonic() < until and not self._stopping:
            try:
                self._report.pruned += await asyncio.to_thread(retention.step, clock.monotonic())
            except (RecordUnavailableError, RecordSetupError) as e:  # the work itself is done, and is to be told
                log.warning("not pruned: %s", e)
                return

    async def _finish(self) -> Report:
        await self._fan_out.end()
        self._report.stuck = self._running.stuck
        self._report.duration_ms = round((self._parts.clock.monotonic() - self._began) * 1000)
        return self._report

    async def _ask(self, call: Callable[..., Answer], *args: object) -> Answer:
        """Make a call of the record in a thread; again, for a while, when there is no answer."""
        give_up_at = self._parts.clock.monotonic() + min(PATIENCE, max(0.0, self._left))
        for wait in chain(RETRY_WAITS, repeat(RETRY_WAITS[-1])):
            try:
                return await asyncio.to_thread(call, *args)
            except RecordUnavailableError:
                if self._stopping or self._parts.clock.monotonic() + wait > give_up_at:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")
