"""Creates jobs: inserts them into the record, then announces them to the index and to ticks.

A job is created once the record has committed it. An announcement that fails fails no create.
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sweephand.domain.errors import (
    FieldError,
    IdempotencyMismatchError,
    IndexUnavailableError,
    InvalidError,
    RecordRefusedError,
)
from sweephand.domain.handler import Handler
from sweephand.domain.job import Idempotency, JobJson, NewJob
from sweephand.domain.json_value import JsonValue
from sweephand.domain.request import new_job, new_jobs
from sweephand.ports.background import Background
from sweephand.ports.clock import Clock, Randomness
from sweephand.ports.index import Claimed, ClaimOptions, Index, IndexUpdates, Lane, TriggerRequest
from sweephand.ports.record import Created, CreateOutcome, Due, Record
from sweephand.ports.tick_trigger import TickTrigger

log = logging.getLogger("sweephand")
MAX_KEY = 255
"""Characters of an Idempotency-Key, at most."""
PATIENCE = 0.25
"""Seconds that a create waits for the index and the trigger together."""
INDEX_PAUSE = 5.0
"""Seconds to leave an index alone that did not answer; after that, one create at a time tries it."""
ASKED_MS = 2000
"""A tick that asked the record for work within so many ms counts as active, if the index cannot tell."""
ARRIVAL = 10.0
"""Seconds that a triggered tick has to ask for work before another is triggered; also in `sync_and_claim.lua`."""
TRIGGERS_APART = 2.0
"""Seconds between two triggers, whatever came of the first, if the index has forgotten which tick is active."""


@dataclass(frozen=True, slots=True)
class CreateJobs:
    """Creates jobs, each call in one transaction."""

    record: Record
    randomness: Randomness
    handlers: Mapping[str, Handler]
    announce: Callable[[Created], None]
    """Tells the index and ticks of new jobs; see `Announcer`."""

    def __call__(self, body: JsonValue, owner: str, key: str | None = None) -> tuple[JobJson, bool]:
        """Create one job. Return it, and whether an earlier request with the same `key` had created it.

        The job is committed when this returns. `owner` is whose key it is. Raises `InvalidError` for a body that is
        no job, `IdempotencyMismatchError` if `key` came with another request, and `RecordUnavailableError`.
        """
        job = new_job(body, self.handlers, self.randomness.job_id())
        created = self._create([job], _idempotency(body, owner, key), summary=False)
        return created.jobs[0], created.outcome is CreateOutcome.REPLAYED

    def batch(self, body: JsonValue, owner: str, key: str | None = None) -> tuple[Sequence[JobJson], bool]:
        """Create all jobs of `{"jobs": […]}`, or none. Return their summaries in order, and whether it is a replay.

        A replay lacks jobs that have been deleted since. Raises the same errors as for one job.
        """
        jobs = new_jobs(body, self.handlers, self.randomness.job_id)
        created = self._create(jobs, _idempotency(body, owner, key), summary=True)
        return created.jobs, created.outcome is CreateOutcome.REPLAYED

    def _create(self, jobs: Sequence[NewJob], idempotency: Idempotency | None, *, summary: bool) -> Created:
        try:
            created = self.record.create(jobs, idempotency, summary=summary)
        except RecordRefusedError as e:
            raise InvalidError([FieldError("", "the record cannot hold this value")]) from e
        if created.outcome is CreateOutcome.MISMATCH:
            raise IdempotencyMismatchError
        if not created.jobs:
            raise IdempotencyMismatchError("What this Idempotency-Key made has been deleted since.")
        if created.outcome is CreateOutcome.CREATED:
            self.announce(created)
        return created


def checked_key(key: str) -> str:
    """Return an Idempotency-Key header's value; raises `InvalidError` unless it is 1 to 255 printable ASCII."""
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise InvalidError([FieldError("Idempotency-Key", f"must be 1 to {MAX_KEY} printable ASCII characters")])
    return key


def _idempotency(body: JsonValue, owner: str, key: str | None) -> Idempotency | None:
    return None if key is None else Idempotency(owner, checked_key(key), request_hash(body))


def request_hash(body: JsonValue) -> str:
    """Return a hash of the request as the client sent it, before defaults; equal JSON values have equal hashes."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Reach:
    """Which new jobs are announced, by the milliseconds until they are due."""

    horizon_ms: int
    """Jobs that are due within this time go into the index."""
    trigger_within_ms: int = 0
    """Jobs that are due within this time need an active tick; a triggered tick would wait for them."""


@dataclass(slots=True)
class _Announcement:
    """What one create announces, and how far it is."""

    created: Created
    due: Sequence[Due]
    trigger: TriggerRequest | None
    """None: these jobs need no tick before the next scheduled one."""
    at: float
    """When the record had answered, on the function's own clock."""
    decided: bool = False
    """The index has answered, has failed, or was given up. Only the first of the three has consequences."""


class Announcer:
    """Announces new jobs: adds them to the index, notifies the tick that waits, triggers a tick if none is active.

    The jobs are committed before. An announcement only saves them a wait for the next scheduled tick, so it never
    fails a create, and never keeps a create waiting for longer than `PATIENCE`. An announcer lives as long as the
    process; several threads may use it.
    """

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
        news = _Announcement(created, due, self._request(due), self._clock.monotonic())
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

    def _tell_index(self, index: Index, news: _Announcement) -> None:
        """Add the jobs to the index, notify the tick that waits, and trigger a tick if the index says so."""
        first = news.due[0]
        options = ClaimOptions(notify=Lane(first.type, first.priority), trigger=news.trigger)
        updates = IndexUpdates(add=list(news.due))
        try:
            answer = index.sync_and_claim(news.created.installation, updates, options=options)
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
            if answer.must_trigger:
                self._trigger_if_needed(news, answer)

    def _may_ask_index(self) -> bool:
        """Tell whether to ask the index: yes while it answers; after a failure one create at a time, not soon."""
        with self._lock:
            if self._skip_until is None:
                return True
            if self._probing or self._clock.monotonic() < self._skip_until:
                return False
            self._probing = True
            return True

    def _note_answer(self, news: _Announcement) -> None:
        """Note that the index answers, even if the create no longer waits for it."""
        with self._lock:
            news.decided = True
            self._skip_until, self._probing = None, False

    def _give_up(self, news: _Announcement) -> bool:
        """Note that the index does not answer; tell whether this is the first to say so of these jobs."""
        with self._lock:
            if news.decided:
                return False
            news.decided = True
            self._skip_until, self._probing = self._clock.monotonic() + INDEX_PAUSE, False
            return True

    def _trigger_without_index(self, news: _Announcement, within: float) -> None:
        """Trigger a tick unless the record knows of an active one; wait `within` seconds for the request."""
        if news.trigger is not None and self._must_trigger(news, None):
            self._background.does(self._trigger_now, within)

    def _trigger_if_needed(self, news: _Announcement, answer: Claimed | None) -> None:
        if news.trigger is not None and self._must_trigger(news, answer):
            self._trigger_now()

    def _must_trigger(self, news: _Announcement, answer: Claimed | None) -> bool:
        """Tell whether this process is to trigger a tick now, and note that it does.

        `answer` is what the index says: that no tick is active. None if the index gave no answer. If the index has
        forgotten which tick is active, or is away, the record knows when a tick last asked for work.
        """
        asked_ms = news.created.asked_ms
        with self._lock:
            if self._triggered_at >= news.at:
                return False  # the tick that was triggered since then finds these jobs
            since = self._clock.monotonic() - self._triggered_at
            if answer is None and asked_ms is not None and asked_ms < ASKED_MS and since < ARRIVAL:
                return False  # that tick may still work, or may have left: one trigger in a while makes sure
            if answer is not None and answer.forgot and since < TRIGGERS_APART:
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
