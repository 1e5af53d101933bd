"""Announces new jobs: adds them to the index, notifies the tick that waits, and triggers a tick if none is active.

The jobs are committed before. An announcement only saves them a wait for the next scheduled tick, so it never fails
a create, and never keeps a create waiting for longer than `PATIENCE`.
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
from sweephand.ports.tick_trigger import TickTrigger

log = logging.getLogger("sweephand")
PATIENCE = 0.25
"""Seconds that a create waits for the index and the trigger together."""
PAUSE = 5.0
"""Seconds to leave an index alone that did not answer; after that, one create at a time tries it."""
ASKED_MS = 2000
"""A tick that asked the record for work within so many ms counts as active, if the index cannot tell."""
ARRIVAL = 10.0
"""Seconds that a triggered tick has to ask for work before another is triggered; also in `sync_and_claim.lua`."""
FORGETFUL = 2.0
"""Seconds between two triggers, whatever came of the first, if the index has forgotten which tick is active."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which new jobs are announced, by the milliseconds until they are due."""

    horizon_ms: int
    """Jobs that are due within this time go into the index."""
    trigger_within_ms: int = 0
    """Jobs that are due within this time need an active tick; a triggered tick would wait for them."""


@dataclass(slots=True)
class _News:
    """One create, and how far its announcement is."""

    created: Created
    due: Sequence[Due]
    trigger: TriggerRequest | None
    """None: these jobs need no tick before the next scheduled one."""
    at: float
    """When the record had answered, on the function's own clock."""
    decided: bool = False
    """The index has answered, has failed, or was given up. Only the first of the three has consequences."""


class Announcer:
    """Announces new jobs. Lives as long as the process; several threads may use it."""

    def __init__(  # noqa: PLR0913, PLR0917 - its dependencies
        self,
        index: Index | None,
        trigger: Callable[[], TickTrigger] | None,
        reach: Reach,
        clock: Clock,
        background: Background,
        lock: AbstractContextManager[object],
    ) -> None:
        """`trigger` makes what triggers ticks; `lock` is held for a moment, never during a call."""
        self._index, self._trigger, self._reach = index, trigger, reach
        self._clock, self._background, self._lock = clock, background, lock
        self._skip_until: float | None = None  # None: the index answers
        self._probing = False
        self._triggered_at = -math.inf

    def __call__(self, created: Created) -> None:
        """Announce the jobs that the record has just created. Raises nothing."""
        due = due_within(created, self._reach.horizon_ms)
        if not due:
            return
        news = _News(created, due, self._request(due), self._clock.monotonic())
        if self._index is None or not self._may_ask_index():
            self._trigger_without_index(news, PATIENCE)
            return
        index = self._index
        if not self._background.does(lambda: self._tell_index(index, news), PATIENCE) and self._give_up(news):
            log.warning("could not index a new job, the next tick does: no answer in %g s", PATIENCE)
            self._trigger_without_index(news, 0.0)

    def _request(self, due: Sequence[Due]) -> TriggerRequest | None:
        """Return which tick these jobs need; None if they can wait for the schedule."""
        waits = [job.wait_ms for job in due if job.wait_ms <= self._reach.trigger_within_ms]
        if self._trigger is None or not waits:
            return None
        return TriggerRequest(max(waits), self._reach.trigger_within_ms)

    # ------------------------------------------------------------------ index

    def _tell_index(self, index: Index, news: _News) -> None:
        """Add the jobs to the index, notify the tick that waits, and trigger a tick if the index says so."""
        first = news.due[0]
        options = ClaimOptions(notify=Lane(first.type, first.priority), trigger=news.trigger)
        updates = IndexUpdates(add=list(news.due))
        try:
            step = index.sync_and_claim(news.created.installation, updates, options=options)
        except IndexUnavailableError as e:
            if self._give_up(news):
                log.warning("could not index a new job, the next tick does: %s", e)
                self._trigger_if_needed(news, None)
        except Exception:  # such as a REDIS_URL that is no URL: the job is committed, so its create must not fail
            if self._give_up(news):
                log.exception("could not index a new job, the next tick does")
                self._trigger_if_needed(news, None)
        else:
            self._note_answer(news)
            if step.must_trigger:
                self._trigger_if_needed(news, step)

    def _may_ask_index(self) -> bool:
        """Tell whether to ask the index: yes while it answers; after a failure one create at a time, not soon."""
        with self._lock:
            if self._skip_until is None:
                return True
            if self._probing or self._clock.monotonic() < self._skip_until:
                return False
            self._probing = True
            return True

    def _note_answer(self, news: _News) -> None:
        """Note that the index answers, even if the create no longer waits for it."""
        with self._lock:
            news.decided = True
            self._skip_until, self._probing = None, False

    def _give_up(self, news: _News) -> bool:
        """Note that the index does not answer; tell whether this is the first to say so of these jobs."""
        with self._lock:
            if news.decided:
                return False
            news.decided = True
            self._skip_until, self._probing = self._clock.monotonic() + PAUSE, False
            return True

    # ------------------------------------------------------------------ trigger

    def _trigger_without_index(self, news: _News, within: float) -> None:
        """Trigger a tick unless the record knows of an active one; wait `within` seconds for the request."""
        if news.trigger is not None and self._must_trigger(news, None):
            self._background.does(self._trigger_now, within)

    def _trigger_if_needed(self, news: _News, step: Claimed | None) -> None:
        if news.trigger is not None and self._must_trigger(news, step):
            self._trigger_now()

    def _must_trigger(self, news: _News, step: Claimed | None) -> bool:
        """Tell whether this process is to trigger a tick now, and note that it does.

        `step`: the index's answer, that no tick is active; None if the index gave none. If the index has forgotten
        which tick is active, or is away, the record knows when a tick last asked for work.
        """
        asked_ms = news.created.asked_ms
        with self._lock:
            if self._triggered_at >= news.at:
                return False  # the tick that was triggered since then finds these jobs
            since = self._clock.monotonic() - self._triggered_at
            if step is None and asked_ms is not None and asked_ms < ASKED_MS and since < ARRIVAL:
                return False  # that tick may still work, or may have left: one trigger in a while makes sure
            if step is not None and step.forgot and since < FORGETFUL:
                return False
            came = asked_ms is not None and news.at - asked_ms / 1000 > self._triggered_at
            if since < ARRIVAL and not came:
                return False
            self._triggered_at = self._clock.monotonic()
            return True

    def _trigger_now(self) -> None:
        assert self._trigger is not None
        try:
            self._trigger().now()
        except Exception:  # such as a WAKE_URL of no kind: the job is committed, so its create must not fail
            log.exception("could not start a tick; the next scheduled tick runs the jobs")


def due_within(created: Created, horizon_ms: int) -> list[Due]:
    """Return the created jobs that are due within `horizon_ms`, as the index keeps them."""
    return [
        Due(str(job["id"]), str(job["type"]), int(str(job["priority"])), wait)
        for job, wait in zip(created.jobs, created.waits_ms, strict=True)
        if wait <= horizon_ms
    ]
