"""Create jobs: insert, then tell the index. Only the insert counts."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shared.domain.errors import (
    Fault,
    IdempotencyMismatchError,
    IndexUnavailableError,
    InvalidError,
    RecordRefusedError,
)
from shared.domain.handler import Handler
from shared.domain.job import Idempotency, JobJson, NewJob
from shared.domain.job_request import new_job, new_jobs
from shared.domain.json_value import JsonValue
from shared.ports.clock import Chance
from shared.ports.index import Ask, Index, Lane, Moves, Wake
from shared.ports.record import Created, CreateOutcome, Due, Record
from shared.ports.waker import Waker

log = logging.getLogger("minutehand")
MAX_KEY = 255
"""Characters of an Idempotency-Key."""


@dataclass(frozen=True, slots=True)
class Creator:
    """Creates one job, or many. `horizon_ms`: how far ahead the index reaches."""

    record: Record
    index: Index | None
    chance: Chance
    handlers: Mapping[str, Handler]
    horizon_ms: int
    waker: Callable[[], Waker] | None = None
    """Makes what starts a tick before the schedule does, for a job that comes due while none is awake."""
    wake_within_ms: int = 0
    """How soon a job is due that a tick would wait for."""

    def __call__(self, body: JsonValue, owner: str, key: str | None = None) -> tuple[JobJson, bool]:
        """Return the job, and whether it is a replay of an earlier request with the same `key`.

        The job is committed when this returns. Raises `InvalidError`, `IdempotencyMismatchError`,
        `RecordUnavailableError`.
        """
        job = new_job(body, self.handlers, self.chance.job_id())
        created = self._create([job], _idempotency(body, owner, key), whole=True)
        return created.jobs[0], created.outcome is CreateOutcome.REPLAYED

    def batch(self, body: JsonValue, owner: str, key: str | None = None) -> tuple[Sequence[JobJson], bool]:
        """Create all jobs of `{"jobs": […]}` or none; return their cards in order, and whether it is a replay.

        A replay tells of those that have not been deleted since. Raises as for one job.
        """
        jobs = new_jobs(body, self.handlers, self.chance.job_id)
        created = self._create(jobs, _idempotency(body, owner, key), whole=False)
        return created.jobs, created.outcome is CreateOutcome.REPLAYED

    def _create(self, jobs: Sequence[NewJob], idempotency: Idempotency | None, *, whole: bool) -> Created:
        try:
            created = self.record.create(jobs, idempotency, whole=whole)
        except RecordRefusedError as e:
            raise InvalidError([Fault("", "the record cannot hold this value")]) from e
        if created.outcome is CreateOutcome.MISMATCH:
            raise IdempotencyMismatchError
        if not created.jobs:
            raise IdempotencyMismatchError("What this Idempotency-Key made has been deleted since.")
        if created.outcome is CreateOutcome.CREATED:
            self._tell_index(created)
        return created

    def _tell_index(self, created: Created) -> None:
        """Index what is due soon. It only saves waiting: a tick restores what is missing."""
        due = _due_within(created.jobs, created.waits_ms, self.horizon_ms)
        if self.index is None or not due:
            return
        waits = [job.wait_ms for job in due if job.wait_ms <= self.wake_within_ms]
        wake = Wake(max(waits), self.wake_within_ms) if self.waker is not None and waits else None
        # The job is committed: whatever else is wrong, such as a REDIS_URL that is none, the answer stays 201.
        try:
            lane = Lane(due[0].type, due[0].priority)
            step = self.index.step(created.installation, Moves(add=due), ask=Ask(kick=lane, wake=wake))
        except IndexUnavailableError as e:
            log.warning("not indexed, the next tick will: %s", e)
            return
        except Exception:
            log.exception("not indexed, the next tick will")
            return
        if self.waker is not None and step.asleep:
            self._wake(self.waker)

    def _wake(self, waker: Callable[[], Waker]) -> None:
        try:
            waker().wake()
        except Exception:  # committed here, too: a WAKE_URL of no kind must not turn a 201 into a 500
            log.exception("no tick was called, the schedule's will come")


def checked_key(key: str) -> str:
    """Return an Idempotency-Key header's value; raises `InvalidError` unless it is 1 to 255 printable ASCII."""
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise InvalidError([Fault("Idempotency-Key", f"must be 1 to {MAX_KEY} printable ASCII characters")])
    return key


def _idempotency(body: JsonValue, owner: str, key: str | None) -> Idempotency | None:
    return None if key is None else Idempotency(owner, checked_key(key), request_hash(body))


def request_hash(body: JsonValue) -> str:
    """Return a hash of the request as it was sent, before defaults; equal for equal JSON values."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _due_within(jobs: Sequence[JobJson], waits_ms: Sequence[int], horizon_ms: int) -> list[Due]:
    return [
        Due(str(job["id"]), str(job["type"]), int(str(job["priority"])), wait)
        for job, wait in zip(jobs, waits_ms, strict=True)
        if wait <= horizon_ms
    ]
