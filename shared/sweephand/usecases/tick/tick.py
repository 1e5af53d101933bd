"""A tick: restore → claim → start → run → settle, until nothing is due or the budget is used.

All steps work on batches and overlap: while one batch runs, the next is claimed and started, and what has finished
is settled. The record's calls block, so each is made in a thread; everything else happens on one event loop.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from typing import NamedTuple, TypeVar

from sweephand.domain.errors import (
    RecordRefusedError,
    RecordSetupError,
    RecordStatementError,
    RecordUnavailableError,
)
from sweephand.domain.handler import Isolation
from sweephand.ports.index import Awake, Claim, ClaimOptions
from sweephand.ports.record import Page, Started, UnknownTypes, Verdict
from sweephand.usecases.tick.fan_out import FanOut
from sweephand.usecases.tick.index_side import Claimer
from sweephand.usecases.tick.parts import MARGIN, Dependencies, Limits
from sweephand.usecases.tick.report import Report
from sweephand.usecases.tick.restore import pause
from sweephand.usecases.tick.running import Running, by_id
from sweephand.usecases.tick.settler import ASIDE, HALVINGS, RETRY_WAITS
from sweephand.usecases.tick.starts import StartCalls
from sweephand.usecases.tick.wakeup import Signal

log = logging.getLogger("sweephand")
Answer = TypeVar("Answer")

BATCH = 500
"""Jobs started by one call: half the size costs a tenth more a job, twice the size gains nothing."""
BATCH_BYTES = 8 * 1024 * 1024
"""Bytes of payload in one call, so that a batch and its copies fit a small function: 32 of the largest."""
HOLD_MS = 10_000
"""How long a claim keeps others off: enough to reach the record, short enough to wait for when a tick dies."""
FAR_MS = 5_000
"""Beyond a hold: what is due and stands further away in the index than both was not put there by a claim."""
LEASE_MARGIN_MS = 10_000
"""What a lease lasts beyond the handler's time limit, for settling."""
PATIENCE = 10.0
"""Seconds to go on asking a record that does not answer; after that the tick ends and the next one tries."""
SUSPECTS = 64
"""Jobs that were lost with a function twice, and that one tick keeps to run them alone."""
SUSPECT_WAIT_MS = 2000
"""How long those beyond are left alone while others run."""
POLL = 1.0
"""Seconds between looks for new work while handlers run and nothing is due."""
FULL_POLL = 5.0
"""Seconds between looks at the record while no handler more may run: leases run out meanwhile."""
BLIND_POLL = 2.0
"""Seconds between looks at the record while something is to come due and no index tells of what is created."""
AGAIN = 0.05
"""Seconds before a tick looks again at what is due on a page and was claimed by nobody that it can see."""
PRUNE = 5.0
"""Seconds that a tick deletes old jobs: on Google the next one waits for it to end."""
SKIPPED = 5_000
"""Ids that a page is asked to pass over, at most."""


NO_PAGE = Page("", [], [], more=False, paused=frozenset(), unknown=UnknownTypes(), look=False, oldest={}, rescued=0,
               failed=0, bad={})  # fmt: skip


class Quota(NamedTuple):
    """The types of one isolation that may be started now, and how many jobs of them."""

    isolation: Isolation
    types: list[str]
    room: int


class Tick:
    """One tick; `await run()` does all of it."""

    def __init__(self, parts: Dependencies, limits: Limits) -> None:
        self._parts, self._limits = parts, limits
        self._report = Report(budget_ms=round(limits.budget * 1000))
        self._wakeup = Signal()
        self._index = Claimer(parts.index, parts.clock, parts.background, self._report)
        self._running = Running(parts, self._report, lambda: self._index.moves, self._wakeup.happened)
        self._starts = StartCalls(self._wakeup.happened)
        self._suspects: dict[str, Claim] = {}
        self._skip: dict[str, float] = {}  # ids to leave alone, and until when
        self._page = NO_PAGE
        self._fresh = False  # whether the page is newer than the last claim
        self._shown: frozenset[str] = frozenset()  # the types that it was to show
        self._paused: set[str] = set()
        self._due_types: set[str] = set()  # that had a due job on the last page that was to show them
        self._gave = False  # whether the last page had jobs for us that the index lacked
        self._looked_again = 0
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
        await self._look_for_unknown()
        await self._prune()
        return await self._finish()

    # ------------------------------------------------------------------ drain

    async def _drain(self) -> None:  # noqa: C901, PLR0912 - one round of choices, in their order
        """Go round: claim and start what is due; where nothing is, look at the record before saying so."""
        await self._restore(list(self._parts.handlers), begins=True)
        while not self._stopping and (quotas := self._open_quotas()):
            able = [type_ for quota in quotas if quota.room for type_ in quota.types]
            if self._must_run_suspects():
                await self._run_suspects()
            elif not able:
                await self._wait_for_room()
            elif await self._start_due(quotas):
                await self._rotate(able)
            elif self._index.bounded(able):
                await self._look_further(able)
            elif self._starts.under_way:
                await self._starts.finish()
            elif self._must_look(quotas, able):
                await self._restore(able)
            elif self._fresh and self._parts.restorer.has_more and self._index.up:
                await self._look_further(able)
            elif self._running.busy:
                await self._wait_while_busy()
            elif self._suspects:
                await self._run_suspects()
            elif (
                not await self._must_look_again(able) and not await self._linger() and not await self._stays(quotas)
            ):
                break
        await self._starts.finish()
        if self._stopping or self._running.stuck or self._has_due():
            self._report.stopped = "budget"
        elif self._held(list(self._parts.handlers)):
            self._report.stopped = "held"

    def _has_due(self) -> bool:
        """Tell whether something is known to be due that this tick leaves to the next."""
        return not self._fresh or not self._due_types <= set(self._fitting())

    def _held(self, types: Iterable[str]) -> bool:
        """Tell whether something of these types is due that is not to be had: another tick has claimed it."""
        able = set(types)
        return any(d.wait_ms <= 0 and d.type in able and not self._is_skipped(d.id) for d in self._page.jobs)

    def _must_look(self, quotas: Sequence[Quota], able: Sequence[str]) -> bool:
        """Tell whether to look at the record now that nothing was claimed, maybe for want of room in a pool.

        A page that was read while one pool was full shows nothing of that pool's types.
        """
        shown = self._shown.issuperset(able)
        if self._page.schedules is not None:
            return True
        if self._fresh and shown:
            return False
        old = self._parts.clock.monotonic() >= self._page_at + POLL
        return old or self._gave or all(quota.room for quota in quotas) or not (shown or self._index.up)

    async def _must_look_again(self, able: Sequence[str]) -> bool:
        """Look again, a few times, where jobs are due and nothing says who has them: they may just have started."""
        if not self._held(able) or self._index.next_due_at < math.inf or self._looked_again >= 3:  # noqa: PLR2004
            return False
        self._looked_again += 1
        await self._wait(AGAIN)
        self._fresh = False
        return True

    async def _start_due(self, quotas: Sequence[Quota]) -> bool:
        """Claim what is due and start it; tell whether there was any."""
        enter = not self._index.entered and self._limits.linger > 0
        count = self._fan_out.wants_to_know()
        waits = self._limits.linger > 0 and not self._index.superseded
        kick = None if waits else self._index.moves.brought_back  # this tick will not wait for it
        self._index.told(self._wakeup.lanes)
        self._wakeup.lanes.clear()
        ask = ClaimOptions(
            HOLD_MS, enter=enter, kick=kick, count=count, tick=self._awake(), far_ms=HOLD_MS + FAR_MS
        )
        page_moves = bool(self._index.moves.add)
        step = await self._index.claim([(quota.types, quota.room) for quota in quotas], ask)
        if step is not None and count:
            self._fan_out.call(step.due, self._left, self._running.longest)
        if step is not None and page_moves:
            able = {type_ for quota in quotas if quota.room for type_ in quota.types}
            self._gave = any(lane.type in able for lane in step.grown)
        claimed = list(step.claimed) if step is not None else self._due_on_page(quotas)
        if step is None and self._fresh:
            self._gave = bool(claimed)
        if claimed:
            self._fresh = False
            self._looked_again = 0
            self._report.claimed += len(claimed)
            isolations = (self._parts.handlers[c.type].isolation for c in claimed)
            await self._starts.begin(partial(self._start, claimed), isolations)
        elif all(quota.room for quota in quotas):
            self._fan_out.idle()
        return bool(claimed)

    def _awake(self) -> Awake:
        """Say how long this tick takes what is created meanwhile: what creates a job relies on it."""
        stay = 0.0
        if not self._index.superseded and not self._running.stuck:
            stay = self._linger_ends() - self._parts.clock.monotonic()
        busy = self._running.busy > 0 or self._starts.under_way
        return Awake(self._name, max(0, round(stay * 1000)), busy=busy)

    def _due_on_page(self, quotas: Sequence[Quota]) -> list[Claim]:
        """Return what is due on a fresh page, as far as there is room: the batch where there is no index."""
        if not self._fresh:
            return []
        rooms = {type_: quota for quota in quotas for type_ in quota.types}
        left = {quota.isolation: quota.room for quota in quotas}
        batch = []
        for d in self._page.jobs:
            quota = rooms.get(d.type)
            if quota is None or d.wait_ms > 0 or left[quota.isolation] <= 0:
                continue
            if d.id in self._suspects or self._is_skipped(d.id):
                continue
            left[quota.isolation] -= 1
            batch.append(Claim(d.id, d.type, d.priority, 0, 0))
        return batch

    def _is_skipped(self, id_: str) -> bool:
        return self._skip.get(id_, -math.inf) > self._parts.clock.monotonic()

    def _skipped(self) -> list[str]:
        """Return the ids that a page is to pass over, and forget those whose time is over."""
        now = self._parts.clock.monotonic()
        self._skip = {id_: until for id_, until in self._skip.items() if until > now}
        return list(self._skip)[-SKIPPED:]

    @property
    def _left(self) -> float:
        """Seconds in which handlers may still run."""
        return self._deadline - MARGIN - self._parts.clock.monotonic()

    def _fitting(self) -> list[str]:
        """Return the types whose time limit fits what is left of the budget."""
        left = self._left
        return [name for name, handler in self._parts.handlers.items() if handler.timeout <= left]

    def _open_quotas(self) -> list[Quota]:
        """Return what may still be started, by isolation; none when the budget is used."""
        fitting = [self._parts.handlers[name] for name in self._fitting()]
        return [
            Quota(
                isolation,
                [h.name for h in fitting if h.isolation is isolation and h.name not in self._paused],
                max(0, min(pool.room() - self._starts.claimed(isolation), BATCH)),
            )
            for isolation, pool in self._running.pools.items()
            if (pool.slots or pool.busy) and any(h.isolation is isolation for h in fitting)
        ]

    # ------------------------------------------------------------------ restore

    async def _restore(self, types: Sequence[str], *, begins: bool = False) -> None:
        """Read a fresh first page of these types; the next step puts it into the index."""
        types = [*types, *self._paused.difference(types)]  # which may have been resumed
        skip, strict = self._skipped(), not self._index.up
        self._page = await self._ask_telling(
            lambda entered: self._parts.restorer.first(
                types, strict=strict, skip=skip, entered=entered, begins=begins
            )
        )
        self._fresh = True
        self._shown = frozenset(types)
        self._page_at = self._parts.clock.monotonic()
        self._index.installation = self._page.installation
        self._paused = (self._paused - set(types)) | self._page.paused
        self._due_types -= set(types)
        self._note(self._page, types)

    async def _look_further(self, types: Sequence[str]) -> None:
        """Read on behind what the last page showed of its lanes, or begin anew where there is nothing behind it."""
        if not self._parts.restorer.has_more:
            await self._restore(types)
            return
        skip = self._skipped()
        page = await self._ask_telling(lambda entered: self._parts.restorer.further(types, skip, entered))
        self._note(page, types)

    async def _rotate(self, types: Sequence[str]) -> None:
        """Look behind a standing backlog, now and then."""
        clock = self._parts.clock
        if self._parts.restorer.has_more and (began := clock.monotonic()) >= self._rotate_at and self._index.up:
            await self._look_further(types)
            self._rotate_at = began + pause(clock.monotonic() - began)

    def _note(self, page: Page, types: Sequence[str]) -> None:
        self._index.add(page, types)
        self._due_types |= {d.type for d in page.jobs if d.wait_ms <= 0}
        self._report.expired_leases += page.rescued
        self._report.failed += page.failed
        for id_, error in page.bad.items():
            self._report.note_bad(id_, error)
        self._note_unknown(page.unknown)
        if len(types) == len(self._parts.handlers):
            self._report.oldest_due_age_s_by_priority = page.oldest
        oldest = max(self._report.oldest_due_age_s_by_priority.values(), default=0.0)
        self._report.oldest_due_age_s = max(oldest, self._report.oldest_unknown_due_age_s)

    def _note_unknown(self, unknown: UnknownTypes) -> None:
        self._report.unknown_types = unknown.named
        self._report.unknown_types_count = unknown.types
        self._report.oldest_unknown_due_age_s = unknown.oldest

    # ------------------------------------------------------------------ start

    async def _start(
        self, claimed: Sequence[Claim], before: asyncio.Task[None] | None = None, *, exclusive: bool = False
    ) -> None:
        """Lease what was claimed and may start, hand it to its pool, and note what the index is to follow.

        It is handed over after what `before` starts: in the order in which it was claimed.
        """
        token = self._parts.chance.token()
        types = {c.type for c in claimed}  # they fitted the budget when they were claimed, a moment ago
        leases = {t: round(self._parts.handlers[t].timeout * 1000) + LEASE_MARGIN_MS for t in types}
        asked_at = self._parts.clock.monotonic()
        of = by_id(claimed)
        try:
            answers = await self._lease(list(of), token, leases, [HALVINGS], exclusive=exclusive)
            if before:
                await asyncio.wait([before])
        except RecordUnavailableError:
            self._running.disown(of, token)
            raise
        ends = {t: asked_at + ms / 1000 for t, ms in leases.items()}
        for started in answers:
            self._follow(of, started)
            self._running.put(started.starts, of, ends)

    async def _lease(
        self, ids: Sequence[str], token: str, leases: Mapping[str, int], calls: list[int], *, exclusive: bool
    ) -> list[Started]:
        """Make the start call; a batch that fails is halved until the row is found that fails it.

        `calls`: how many may still be made to find it; what is not asked any more is told as busy.
        """

        def call(entered: Mapping[str, Sequence[str]]) -> Started:
            return self._parts.record.start(
                ids, token, leases, exclusive=exclusive, max_bytes=BATCH_BYTES, entered=entered
            )

        try:
            return [await self._ask_telling(call, halved=True)]
        except (RecordRefusedError, RecordStatementError) as e:
            if len(ids) > 1 and calls[0] >= 2:  # noqa: PLR2004 - one for each half
                calls[0] -= 2
                half = len(ids) // 2
                first = await self._lease(ids[:half], token, leases, calls, exclusive=exclusive)
                return [*first, *await self._lease(ids[half:], token, leases, calls, exclusive=exclusive)]
            if len(ids) > 1:
                return [Started([], dict.fromkeys(ids, (Verdict.BUSY, SUSPECT_WAIT_MS)))]
            log.error("job %s could not be started, it is left alone for a minute: %s", ids[0], e)  # noqa: TRY400
            self._report.note_bad(ids[0], str(e))
            self._skip[ids[0]] = self._parts.clock.monotonic() + ASIDE
            try:
                await self._ask(self._parts.record.set_aside, {ids[0]: str(e)})
            except (RecordRefusedError, RecordUnavailableError) as told:
                log.warning("nor could that be told: %s", told)
            return [Started([], {ids[0]: (Verdict.BUSY, round(ASIDE * 1000))})]

    def _follow(self, of: Mapping[str, Claim], started: Started) -> None:
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
                case Verdict.BUSY:
                    wait = wait_ms or SUSPECT_WAIT_MS
                    self._index.moves.wait.append((claim, wait))
                    until = self._parts.clock.monotonic() + wait / 1000
                    self._skip[id_] = max(until, self._skip.get(id_, until))
                    self._report.busy_starts += 1
                case Verdict.EXCLUSIVE if len(self._suspects) < SUSPECTS or id_ in self._suspects:
                    self._suspects[id_] = claim
                case Verdict.EXCLUSIVE:
                    # Left to other ticks: one that kills its function would hold back all that are kept here.
                    if self._running.busy or started.starts:  # this one will not come to them soon
                        self._index.moves.wait.append((claim, SUSPECT_WAIT_MS))
                    else:
                        self._index.moves.back.append(claim)
                    self._report.returned += 1
                case Verdict.DEFERRED:
                    self._index.moves.back.append(claim)
                    self._report.returned += 1

    # ------------------------------------------------------------------ wait

    async def _wait(self, limit: float) -> None:
        """Wait until something happens, `limit` seconds have passed, or nothing may be started any more."""
        await self._wakeup.wait(min(limit, self._left))

    async def _wait_for_room(self) -> None:
        """Wait until a handler ends; meanwhile look at the record now and then, where leases may run out."""
        await self._wait(POLL)
        if self._parts.clock.monotonic() >= self._page_at + FULL_POLL and self._running.busy:
            await self._restore(list(self._parts.handlers))
            self._fresh = False

    async def _wait_while_busy(self) -> None:
        """Wait for room, or for what comes due or is created, while handlers run; then look at the record again."""
        until = self._parts.clock.monotonic() + POLL
        self._listen()
        full = [pool for pool in self._running.pools.values() if not pool.room()]
        while self._running.busy and not self._stopping and not self._wakeup.kicked:
            if any(pool.room() for pool in full):
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
        at once, so it costs nothing. A process that a handler cannot be ended in is not kept waiting.
        """
        now = self._parts.clock.monotonic()
        next_due_at = self._index.next_due_at if self._index.up else self._next_on_page()
        if self._index.superseded or self._running.stuck or next_due_at > self._linger_ends():
            return False
        self._listen()
        until = next_due_at if self._index.up else min(next_due_at, now + BLIND_POLL)
        while not self._wakeup.kicked and not self._stopping:
            left = until - self._parts.clock.monotonic()
            if left <= 0:
                break
            await self._wait(left)
        self._wakeup.kicked = False
        self._fresh = self._fresh and self._index.up
        self._report.lingered_ms += round((self._parts.clock.monotonic() - now) * 1000)
        return True

    def _next_on_page(self) -> float:
        """Return when the next job of the last page comes due, on the clock's time."""
        fitting = set(self._fitting())
        waits = [d.wait_ms for d in self._page.jobs if d.type in fitting and d.wait_ms > 0]
        return self._page_at + min(waits) / 1000 if waits else math.inf

    async def _stays(self, quotas: Sequence[Quota]) -> bool:
        """Look once more where the last step said that this tick is awake: this one says that it is not.

        What was created since is either found by it, or finds nobody awake.
        """
        return self._index.awake and (await self._start_due(quotas) or await self._linger())

    def _linger_ends(self) -> float:
        return min(self._began + self._limits.linger, self._deadline - MARGIN)

    def _listen(self) -> None:
        if self._limits.linger > 0:
            self._index.listen(self._wakeup)

    async def _wait_until_settled(self) -> None:
        """Wait for what runs to be settled: handlers keep their time limits, and settling gives up by itself."""
        over = self._deadline + LEASE_MARGIN_MS / 1000 + POLL
        while self._running.busy and self._parts.clock.monotonic() < over:
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
        while self._suspects and not self._stopping:
            fitting = set(self._fitting())
            able = [claim for claim in self._suspects.values() if claim.type in fitting]
            if not able:
                self._hand_back_suspects()
                return
            # Any of them: were it the oldest, one that kills its function would come first for every tick.
            claim = able[int(self._parts.chance.jitter() * len(able))]
            del self._suspects[claim.id]
            await self._start([claim], exclusive=True)
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
            kick = self._index.moves.brought_back
            await self._index.step(ask=ClaimOptions(kick=kick, tick=Awake(self._name, 0, busy=False)))
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

    async def _look_for_unknown(self) -> None:
        """Look for types that no tick knows, where a page says that there are some: it is not part of the work."""
        if not self._page.look or self._stopping:
            return
        try:
            types = list(self._parts.handlers)
            self._note_unknown(await asyncio.to_thread(self._parts.record.find_unknown_types, types))
        except (RecordUnavailableError, RecordSetupError) as e:
            log.warning("types that no tick knows were not looked for: %s", e)
            return
        oldest = max(self._report.oldest_due_age_s_by_priority.values(), default=0.0)
        self._report.oldest_due_age_s = max(oldest, self._report.oldest_unknown_due_age_s)

    async def _finish(self) -> Report:
        await self._fan_out.end()
        self._report.stuck = self._running.stuck
        self._report.duration_ms = round((self._parts.clock.monotonic() - self._began) * 1000)
        return self._report

    async def _ask_telling(
        self, call: Callable[[Mapping[str, Sequence[str]]], Answer], *, halved: bool = False
    ) -> Answer:
        """Make a call that tells the record, beside, which handlers have been entered."""
        entered = self._running.entries.take()
        try:
            return await self._ask(call, entered, halved=halved)
        except BaseException:
            self._running.entries.put_back(entered)
            raise

    async def _ask(self, call: Callable[..., Answer], *args: object, halved: bool = False) -> Answer:
        """Make a call of the record in a thread; again, for a while, when there is no answer.

        `halved`: a statement that fails is made again once, as what it met may have passed; then the caller
        looks for the row that fails it.
        """
        failed = False
        give_up_at = self._parts.clock.monotonic() + min(PATIENCE, max(0.0, self._left))
        for wait in chain(RETRY_WAITS, repeat(RETRY_WAITS[-1])):
            try:
                return await asyncio.to_thread(call, *args)
            except RecordUnavailableError as e:
                if halved and failed and isinstance(e, RecordStatementError):
                    raise
                failed = isinstance(e, RecordStatementError)
                if self._stopping or self._parts.clock.monotonic() + wait > give_up_at:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")
