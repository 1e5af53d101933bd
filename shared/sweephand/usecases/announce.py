"""Tell of new jobs: the index, and a tick where none is awake. It only saves waiting, so it may not cost any.

What was created is committed. Whatever is away or hangs, who created it waits for `PATIENCE` at most.
"""

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sweephand.domain.errors import IndexUnavailableError
from sweephand.ports.background import Background
from sweephand.ports.clock import Clock
from sweephand.ports.index import Claimed, ClaimOptions, Index, IndexUpdates, Lane, TriggerRequest
from sweephand.ports.record import Created, Due
from sweephand.ports.waker import Waker

log = logging.getLogger("sweephand")
PATIENCE = 0.25
"""Seconds that who creates a job waits for the index and for the call of a tick, together."""
PAUSE = 5.0
"""Seconds to leave an index alone that did not answer; then one create at a time tries it."""
ASKED_MS = 2000
"""How long ago a tick asked the record for work that counts as awake, where the index cannot tell."""
ARRIVAL = 10.0
"""Seconds a triggered tick has to ask for work before another is triggered, also in `sync_and_claim.lua`."""
FORGETFUL = 2.0
"""Seconds between two calls for an index that has lost who is awake, whatever came of the first."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far ahead is told of, in ms."""

    horizon_ms: int
    """What is due within it belongs into the index."""
    wake_within_ms: int = 0
    """What is due within it has a tick called: one would wait for it."""


@dataclass(slots=True)
class _News:
    """One create, and what became of telling of it."""

    created: Created
    due: Sequence[Due]
    trigger: TriggerRequest | None
    at: float
    """When the record had answered."""
    told: bool = False
    """The index answered, failed, or was given up: the first of them counts."""


class Announcer:
    """Tells of new jobs; lives as long as the process and may be used from several threads."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it is made of
        self,
        index: Index | None,
        waker: Callable[[], Waker] | None,
        reach: Reach,
        clock: Clock,
        background: Background,
        lock: AbstractContextManager[object],
    ) -> None:
        """`waker` makes what calls a tick; `lock` is held for a moment, never during a call."""
        self._index, self._waker, self._reach = index, waker, reach
        self._clock, self._background, self._lock = clock, background, lock
        self._skip_until: float | None = None  # None: the index answers
        self._probing = False
        self._called_at = -math.inf

    def __call__(self, created: Created) -> None:
        """Tell of jobs that the record has just created. Raises nothing."""
        due = due_within(created, self._reach.horizon_ms)
        if not due:
            return
        waits = [job.wait_ms for job in due if job.wait_ms <= self._reach.wake_within_ms]
        trigger = (
            TriggerRequest(max(waits), self._reach.wake_within_ms) if self._waker is not None and waits else None
        )
        news = _News(created, due, trigger, self._clock.monotonic())
        if self._index is not None and self._may_step():
            index = self._index
            if not self._background.does(lambda: self._tell(index, news), PATIENCE) and self._failed(news):
                log.warning("not indexed, the next tick will: no answer in %g s", PATIENCE)
                self._wake_without_index(news, 0.0)
        else:
            self._wake_without_index(news, PATIENCE)

    # ------------------------------------------------------------------ index

    def _tell(self, index: Index, news: _News) -> None:
        """Tell the index, and call a tick where it says that none is awake."""
        step: Claimed | None = None
        try:
            first = news.due[0]
            ask = ClaimOptions(notify=Lane(first.type, first.priority), trigger=news.trigger)
            step = index.sync_and_claim(news.created.installation, IndexUpdates(add=list(news.due)), options=ask)
        except IndexUnavailableError as e:
            if self._failed(news):
                log.warning("not indexed, the next tick will: %s", e)
                self._wake_if(news, None)
        except Exception:  # whatever else is wrong, such as a REDIS_URL that is none, the answer stays 201
            if self._failed(news):
                log.exception("not indexed, the next tick will")
                self._wake_if(news, None)
        else:
            self._answered(news)
            if step.must_trigger:
                self._wake_if(news, step)

    def _may_step(self) -> bool:
        """Tell whether to ask the index: while it answers, and when it did not, one at a time and not soon."""
        with self._lock:
            if self._skip_until is None:
                return True
            if self._probing or self._clock.monotonic() < self._skip_until:
                return False
            self._probing = True
            return True

    def _answered(self, news: _News) -> None:
        """Note that the index answers, be it late."""
        with self._lock:
            news.told = True
            self._skip_until, self._probing = None, False

    def _failed(self, news: _News) -> bool:
        """Note that the index does not answer; tell whether that is news."""
        with self._lock:
            if news.told:
                return False
            news.told = True
            self._skip_until, self._probing = self._clock.monotonic() + PAUSE, False
            return True

    # ------------------------------------------------------------------ wake

    def _wake_without_index(self, news: _News, within: float) -> None:
        """Call a tick unless the record knows of one, and wait `within` seconds for the call to be made."""
        if news.trigger is not None and self._must_call(news, None):
            self._background.does(self._call, within)

    def _wake_if(self, news: _News, step: Claimed | None) -> None:
        if news.trigger is not None and self._must_call(news, step):
            self._call()

    def _must_call(self, news: _News, step: Claimed | None) -> bool:
        """Tell whether this process is to call a tick now, and note that it does.

        `step`: what the index says, which is that none is awake; None where it says nothing. What it lost, and
        where it is away, the record knows when a tick last asked for work.
        """
        asked_ms = news.created.asked_ms
        with self._lock:
            if self._called_at >= news.at:
                return False  # the tick that was called since then finds these jobs
            since = self._clock.monotonic() - self._called_at
            if step is None and asked_ms is not None and asked_ms < ASKED_MS and since < ARRIVAL:
                return False  # it may be at work still, or have left: one call in a while makes sure
            if step is not None and step.forgot and since < FORGETFUL:
                return False
            came = asked_ms is not None and news.at - asked_ms / 1000 > self._called_at
            if since < ARRIVAL and not came:
                return False
            self._called_at = self._clock.monotonic()
            return True

    def _call(self) -> None:
        assert self._waker is not None
        try:
            self._waker().wake()
        except Exception:  # committed here, too: a WAKE_URL of no kind must not turn a 201 into a 500
            log.exception("no tick was called, the schedule's will come")


def due_within(created: Created, horizon_ms: int) -> list[Due]:
    """Return those of the created jobs that are due within `horizon_ms`, as the index keeps them."""
    return [
        Due(str(job["id"]), str(job["type"]), int(str(job["priority"])), wait)
        for job, wait in zip(created.jobs, created.waits_ms, strict=True)
        if wait <= horizon_ms
    ]
