"""A tick: restore → claim → start → run → settle, until nothing is due or the budget is used.

All steps work on batches and overlap: while one batch runs, the next is claimed and started, and what has finished
is settled. The record's calls block, so each is made in a thread; everything else happens on one event loop.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TypeVar

from shared.domain.errors import IndexUnavailableError, RecordUnavailableError
from shared.domain.handler import Handler, Isolation
from shared.domain.outcome import Outcome, Returned
from shared.domain.policy import Attempt, Dead, Done, RetryAfter, Unstarted, decide
from shared.ports import index as ports_index
from shared.ports.clock import Chance, Clock
from shared.ports.drainers import Drainers
from shared.ports.index import PLAIN, Ask, Claimed, Index, Listener, Moves
from shared.ports.record import Due, Page, Record, Settled, Settlement, Started, Verdict
from shared.ports.runner import Runner, Work
from shared.usecases.tick.fan_out import further
from shared.usecases.tick.lane import Lane
from shared.usecases.tick.report import Report
from shared.usecases.tick.restore import ROTATE_EVERY, Restorer
from shared.usecases.tick.settler import RETRY_WAITS, Settler

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
MARGIN = 2.0
"""Seconds of the budget that are kept for settling and reporting after the last handler may have ended."""
FAN_OUT_AFTER = 1.0
"""Seconds of draining after which the rate is known well enough to say whether others are needed."""
INDEX_PAUSE = 5.0
"""Seconds to leave an index alone that did not answer."""
PATIENCE = 10.0
"""Seconds to go on asking a record that does not answer; after that the tick ends and the next one tries."""
SUSPECTS = 16
"""Jobs that were lost with a function before, and that one tick keeps to run them alone."""
SUSPECT_WAIT_MS = 1000
"""How long those beyond are left alone, at least; at most twice as long."""
POLL = 1.0
"""Seconds between looks for new work while handlers run and nothing is due."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a tick is made of."""

    record: Record
    index: Index | None
    clock: Clock
    chance: Chance
    handlers: Mapping[str, Handler]
    runners: Mapping[Isolation, Runner]
    restorer: Restorer
    horizon_ms: int
    drainers: Drainers | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a tick goes on, in seconds from its beginning."""

    budget: float
    """For all it does, provided that handlers end within their time limits."""
    linger: float = 0
    """For waiting when nothing is due but something will be; 0: it does not wait."""
    drainers: int = 0
    """How many further drainers it may call, once. A drainer calls none: drainers that did would never end."""


class Tick:
    """One tick; `await run()` does all of it."""

    def __init__(self, parts: Parts, limits: Limits) -> None:
        self._parts = parts
        self._limits = limits
        self._report = Report(budget_ms=round(limits.budget * 1000))
        self._moves = Moves()
        self._claims: dict[str, Claimed] = {}
        self._suspects: dict[str, Claimed] = {}
        self._lease_until: dict[str, float] = {}
        self._progress = asyncio.Event()
        self._stopping = False
        self._page = Page("", [], None, frozenset(), {}, {}, 0, 0)
        self._fresh = False  # whether the page is newer than the last claim
        self._index_back_at = 0.0
        self._rotated_at = 0.0
        self._generation: int | None = None  # None until the index has given one
        self._superseded = False
        self._next_due_at = math.inf  # when the index said that something comes due
        self._listener: Listener | None = None
        self._kicked = False
        self._asked_for_drainers = False
        self._longest = 0.0  # time limit among what was started
        self._lanes = {
            isolation: Lane(runner, parts.clock, self._admit, self._on_finished)
            for isolation, runner in parts.runners.items()
        }
        self._settler = Settler(parts.record, parts.clock, self._on_settled)

    def stop(self) -> None:
        """Start nothing more; what runs is finished, the rest handed back."""
        self._stopping = True
        self._progress.set()

    async def run(self) -> Report:
        """Do the work and return the report.

        Raises `RecordUnavailableError` or `RecordSetupError` when the record was away for the whole tick.
        """
        self._began = self._parts.clock.monotonic()
        self._deadline = self._began + self._limits.budget
        self._settling = asyncio.create_task(self._settler.run(lambda: self._deadline + LEASE_MARGIN_MS / 1000))
        try:
            await self._drain()
        finally:
            await self._wind_up()
            self._settling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._settling
        await self._wait_for_drainers()
        return self._finish()

    # ------------------------------------------------------------------ drain

    async def _drain(self) -> None:
        """Go round: claim and start what is due; where nothing is, look at a fresh page before saying so."""
        await self._restore()
        while not self._stopping and (lanes := self._open_lanes()) and not self._stuck:
            if self._must_run_suspect():
                await self._run_suspects()
            elif not any(lane.room for lane in lanes):
                await self._wait(POLL)
            elif await self._start_due(lanes):
                await self._rotate()
            elif not self._fresh:
                await self._restore()
            elif self._busy:
                await self._wait_while_busy()
            elif self._suspects:
                await self._run_suspects()
            elif not await self._linger():
                break
        if self._stopping or self._stuck or self._has_due():
            self._report.stopped = "budget"

    @property
    def _stuck(self) -> int:
        return sum(runner.stuck for runner in self._parts.runners.values())

    def _has_due(self) -> bool:
        """Tell whether something is known to be due that this tick leaves to the next."""
        return not self._fresh or any(
            entry.wait_ms == 0 and entry.type not in self._fitting() for entry in self._page.jobs
        )

    async def _start_due(self, lanes: Sequence[ports_index.Lane]) -> bool:
        """Claim what is due and start it; tell whether there was any."""
        ask = Ask(
            HOLD_MS, enter=self._generation is None and self._limits.linger > 0, count=self._may_call_drainers()
        )
        step = await self._step(lanes, ask) if self._index_is_up() else None
        if step is not None:
            self._note_step(step)
            if ask.count:
                await self._call_drainers(step.due)
        claimed = list(step.claimed) if step is not None else self._due_on_page(lanes)
        if claimed:
            self._fresh = False
            self._report.claimed += len(claimed)
            await self._start(claimed)
        return bool(claimed)

    def _due_on_page(self, lanes: Sequence[ports_index.Lane]) -> list[Claimed]:
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
    def _busy(self) -> int:
        unsettled = 0 if self._settling.done() else self._settler.unsettled  # done: by an error, which run() raises
        return sum(lane.busy for lane in self._lanes.values()) + unsettled

    @property
    def _left(self) -> float:
        return self._deadline - MARGIN - self._parts.clock.monotonic()

    def _fitting(self) -> list[str]:
        """Return the types whose time limit fits what is left of the budget."""
        left = self._left
        return [name for name, handler in self._parts.handlers.items() if handler.timeout <= left]

    def _open_lanes(self) -> list[ports_index.Lane]:
        """Return the lanes that may still start something, with their room; none when the budget is used."""
        fitting = [self._parts.handlers[name] for name in self._fitting()]
        return [
            ports_index.Lane(
                [h.name for h in fitting if h.isolation is isolation and h.name not in self._page.paused],
                min(lane.room(), BATCH),
            )
            for isolation, lane in self._lanes.items()
            if any(h.isolation is isolation for h in fitting)
        ]

    # ------------------------------------------------------------------ fan out

    def _may_call_drainers(self) -> bool:
        """Tell whether to ask if others are needed: once, after a second of draining has shown the rate."""
        return (
            self._limits.drainers > self._report.drainers
            and not self._asked_for_drainers
            and self._parts.drainers is not None
            and self._parts.clock.monotonic() - self._began >= FAN_OUT_AFTER
        )

    async def _call_drainers(self, due: int) -> None:
        """Call as many drainers as the backlog needs; each call is tried once."""
        assert self._parts.drainers is not None
        self._asked_for_drainers = True
        seconds = self._parts.clock.monotonic() - self._began
        settled = self._report.completed + self._report.retried + self._report.failed
        count = further(due, settled, seconds, self._left - self._longest, self._limits.drainers)
        if count:
            log.info("%d jobs are due: calling %d further drainers", due, count)
            self._report.drainers = await asyncio.to_thread(self._parts.drainers.call, count)

    # ------------------------------------------------------------------ restore

    async def _restore(self) -> None:
        """Read a fresh first page; the next step puts it into the index."""
        self._page = await self._ask(self._parts.restorer.first, list(self._parts.handlers))
        self._fresh = True
        self._note(self._page)
        self._moves.add.extend(self._page.jobs)

    async def _rotate(self) -> None:
        """Look behind a standing backlog, now and then."""
        now = self._parts.clock.monotonic()
        if self._parts.restorer.has_more and now >= self._rotated_at + ROTATE_EVERY and self._index_is_up():
            self._rotated_at = now
            page = await self._ask(self._parts.restorer.further, list(self._parts.handlers))
            self._note(page)
            self._moves.add.extend(page.jobs)

    def _note(self, page: Page) -> None:
        self._report.expired_leases += page.lapsed
        self._report.failed += page.failed
        self._report.unknown_types = page.unknown
        self._report.oldest_due_age_s_by_priority = page.oldest
        self._report.oldest_due_age_s = max(page.oldest.values(), default=0.0)

    # ------------------------------------------------------------------ claim

    def _index_is_up(self) -> bool:
        return self._parts.index is not None and self._parts.clock.monotonic() >= self._index_back_at

    def _note_step(self, step: ports_index.Step) -> None:
        """Note when something comes due, and whether a newer tick has begun."""
        if self._generation is None:
            self._generation = step.generation
        self._superseded = step.generation > self._generation
        self._next_due_at = (
            math.inf if step.next_ms is None else self._parts.clock.monotonic() + step.next_ms / 1000
        )

    async def _step(self, lanes: Sequence[ports_index.Lane], ask: Ask = PLAIN) -> ports_index.Step | None:
        """Carry out the moves that have gathered, and claim; None when the index does not answer."""
        assert self._parts.index is not None
        moves, self._moves = self._moves, Moves()
        try:
            step = await asyncio.to_thread(self._parts.index.step, self._page.installation, moves, lanes, ask)
        except IndexUnavailableError as e:
            log.warning("working without the index: %s", e)
            self._report.index_errors += 1
            self._index_back_at = self._parts.clock.monotonic() + INDEX_PAUSE
            return None
        self._report.restored += step.added
        return step

    # ------------------------------------------------------------------ start

    async def _start(self, claimed: Sequence[Claimed], *, alone: bool = False) -> None:
        """Lease what was claimed and may start, hand it to its lane, and note what the index is to follow."""
        token = self._parts.chance.token()
        types = {c.type for c in claimed}  # they fitted the budget when they were claimed, a moment ago
        leases = {t: round(self._parts.handlers[t].timeout * 1000) + LEASE_MARGIN_MS for t in types}
        asked_at = self._parts.clock.monotonic()
        of = {c.id: c for c in claimed}
        try:
            started = await self._ask(self._start_call, list(of), token, leases, alone)
        except RecordUnavailableError:
            # The record may have started them and lost the answer: nobody has entered them.
            self._claims.update(of)
            for id_ in of:
                self._settler.put(Settlement(id_, token, Unstarted()))
            raise
        self._follow(of, started)
        work: dict[Isolation, list[Work]] = {}
        for start in started.starts:
            handler = self._parts.handlers[start.type]
            self._claims[start.id] = of[start.id]
            self._lease_until[start.id] = asked_at + leases[start.type] / 1000
            self._longest = max(self._longest, handler.timeout)
            work.setdefault(handler.isolation, []).append(Work(start, handler))
        self._report.started += len(started.starts)
        for isolation, batch in work.items():
            self._lanes[isolation].put(batch)

    def _start_call(self, ids: Sequence[str], token: str, leases: Mapping[str, int], alone: bool) -> Started:  # noqa: FBT001
        return self._parts.record.start(ids, token, leases, alone=alone, max_bytes=BATCH_BYTES)

    def _follow(self, of: Mapping[str, Claimed], started: Started) -> None:
        """Note what the index is to do with each claimed id."""
        self._moves.remove.extend(of[start.id] for start in started.starts)
        for id_, (verdict, wait_ms) in started.others.items():
            claim = of[id_]
            match verdict:
                case Verdict.ALREADY:
                    continue
                case Verdict.FINAL | Verdict.UNKNOWN:
                    self._moves.remove.append(claim)
                    self._report.skipped += 1
                case Verdict.EARLY | Verdict.LEASED:
                    self._moves.wait.append((claim, wait_ms or 0))
                    self._report.skipped += 1
                case Verdict.ALONE if len(self._suspects) < SUSPECTS or id_ in self._suspects:
                    self._suspects[id_] = claim
                case Verdict.ALONE:
                    # Left to other ticks, and to this one later: were they held here, one that kills its function
                    # would keep them all from running.
                    self._moves.wait.append((claim, round(SUSPECT_WAIT_MS * (1 + self._parts.chance.jitter()))))
                    self._report.returned += 1
                case Verdict.FULL:
                    self._moves.back.append(claim)
                    self._report.returned += 1

    # ------------------------------------------------------------------ run and settle

    def _admit(self, work: Work, queued: float) -> bool:
        """Tell whether a started job may be entered: not after a freeze that used up its lease.

        By then another tick may have run it, or a person cancelled it.
        """
        if self._lease_until[work.start.id] - self._parts.clock.monotonic() < work.handler.timeout:
            self._give_back(work)
            return False
        self._report.lateness.add(work.start.late_ms + round(queued * 1000))
        return True

    def _give_back(self, work: Work) -> None:
        """Settle a started job that was not entered."""
        self._lease_until.pop(work.start.id)
        self._settler.put(Settlement(work.start.id, work.start.token, Unstarted()))
        self._progress.set()

    def _on_finished(self, work: Work, outcome: Outcome) -> None:
        start = work.start
        lease = self._lease_until.pop(start.id) - self._parts.clock.monotonic()
        attempt = Attempt(start.attempt, start.crashes, start.max_retries)
        decision = decide(attempt, outcome, jitter=self._parts.chance.jitter(), lease=lease)
        if not isinstance(decision, Done):
            log.info("job %s (%s) attempt %d: %s", start.id, start.type, start.attempt, type(outcome).__name__)
        size = outcome.size if isinstance(outcome, Returned) else 0
        self._settler.put(Settlement(start.id, start.token, decision), size)
        self._progress.set()

    def _on_settled(self, settlement: Settlement, settled: Settled) -> None:
        claim = self._claims.pop(settlement.id)
        self._progress.set()
        if settled.lost:
            self._report.late_writes += not isinstance(settlement.decision, Unstarted)
            return
        match settlement.decision:
            case Done():
                self._report.completed += 1
            case RetryAfter():
                self._report.retried += 1
            case Dead():
                self._report.failed += 1
            case Unstarted():
                self._report.returned += 1
        if settled.wait_ms is not None and settled.wait_ms <= self._parts.horizon_ms:
            self._moves.add.append(Due(claim.id, claim.type, claim.priority, settled.wait_ms))

    # ------------------------------------------------------------------ wait

    async def _wait(self, limit: float) -> None:
        """Wait until something happens - a job ends, a kick, a stop - or `limit` seconds have passed."""
        self._progress.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._progress.wait(), max(0.0, min(limit, self._left)))

    async def _wait_while_busy(self) -> None:
        """Wait for what comes due, or is created, while handlers run; after a while look at the record again."""
        until = self._parts.clock.monotonic() + POLL
        self._listen()
        while self._busy and not self._stopping and not self._kicked:
            left = min(until, self._next_due_at) - self._parts.clock.monotonic()
            if left <= 0:
                break
            await self._wait(left)
        self._kicked = False
        self._fresh = self._parts.clock.monotonic() < until

    async def _linger(self) -> bool:
        """Wait for the next job that is known to come due, or for a kick; tell whether to look again.

        No: nothing comes due in time, lingering is off, or the next tick has taken over. An idle system is left
        at once, so it costs nothing.
        """
        now = self._parts.clock.monotonic()
        ends = min(self._began + self._limits.linger, now + self._left)
        if self._superseded or self._next_due_at > ends or not self._index_is_up():
            return False
        self._listen()
        self._progress.clear()
        while (
            not self._kicked
            and not self._stopping
            and (left := self._next_due_at - self._parts.clock.monotonic()) > 0
        ):
            await self._wait(left)
        self._kicked = False
        self._report.lingered_ms += round((self._parts.clock.monotonic() - now) * 1000)
        return True

    def _listen(self) -> None:
        """Begin to listen for kicks, once."""
        if self._listener is not None or self._limits.linger <= 0 or not self._index_is_up():
            return
        assert self._parts.index is not None
        loop = asyncio.get_running_loop()

        def woken() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._kick)

        self._listener = self._parts.index.listen(self._page.installation, woken)

    def _kick(self) -> None:
        self._kicked = True
        self._progress.set()

    # ------------------------------------------------------------------ alone

    def _must_run_suspect(self) -> bool:
        """Tell whether the rest of the budget is needed for a job that was lost with its function before."""
        longest = max((self._parts.handlers[c.type].timeout for c in self._suspects.values()), default=0.0)
        return bool(self._suspects) and self._left <= longest + MARGIN

    async def _run_suspects(self) -> None:
        """Run such jobs one by one, for a while: one that kills this function too takes nobody with it."""
        until = self._parts.clock.monotonic() + POLL
        while self._busy:
            await self._wait(POLL)
        while self._suspects and not self._stopping and not self._stuck:
            fitting = set(self._fitting())
            able = [claim for claim in self._suspects.values() if claim.type in fitting]
            if not able:
                self._moves.back.extend(self._suspects.values())
                self._report.returned += len(self._suspects)
                self._suspects.clear()
                return
            # Any of them: were it the oldest, one that kills its function would come first for every tick.
            claim = able[int(self._parts.chance.jitter() * len(able))]
            del self._suspects[claim.id]
            await self._start([claim], alone=True)
            while self._busy:
                await self._wait(POLL)
            if self._parts.clock.monotonic() >= until:
                return

    # ------------------------------------------------------------------ end

    async def _wind_up(self) -> None:
        """Let what runs finish, settle it, and hand back what was claimed and not started."""
        for lane in self._lanes.values():
            for work in lane.take_back():
                self._give_back(work)
        while self._busy:
            self._progress.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._progress.wait(), POLL)
        self._moves.back.extend(self._suspects.values())
        self._report.returned += len(self._suspects)
        if self._moves and self._index_is_up():
            await self._step([])
        if self._listener is not None:
            self._listener.close()
        for runner in self._parts.runners.values():
            runner.close()

    async def _wait_for_drainers(self) -> None:
        if self._report.drainers and self._parts.drainers is not None:
            await asyncio.to_thread(self._parts.drainers.close)

    def _finish(self) -> Report:
        self._report.stuck = self._stuck
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
