"""Create jobs: insert, then tell of them. Only the insert counts."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sweephand.domain.errors import (
    FieldError,
    IdempotencyMismatchError,
    InvalidError,
    RecordRefusedError,
)
from sweephand.domain.handler import Handler
from sweephand.domain.job import Idempotency, JobJson, NewJob
from sweephand.domain.json_value import JsonValue
from sweephand.domain.request import new_job, new_jobs
from sweephand.ports.clock import Randomness
from sweephand.ports.record import Created, CreateOutcome, Record

MAX_KEY = 255
"""Characters of an Idempotency-Key."""


@dataclass(frozen=True, slots=True)
class CreateJobs:
    """Creates one job, or many."""

    record: Record
    chance: Randomness
    handlers: Mapping[str, Handler]
    announce: Callable[[Created], None]
    """Tells of what was created: the index, and a tick where none is awake."""

    def __call__(self, body: JsonValue, owner: str, key: str | None = None) -> tuple[JobJson, bool]:
        """Return the job, and whether it is a replay of an earlier request with the same `key`.

        The job is committed when this returns. Raises `InvalidError`, `IdempotencyMismatchError`,
        `RecordUnavailableError`.
        """
        job = new_job(body, self.handlers, self.chance.job_id())
        created = self._create([job], _idempotency(body, owner, key), summary=False)
        return created.jobs[0], created.outcome is CreateOutcome.REPLAYED

    def batch(self, body: JsonValue, owner: str, key: str | None = None) -> tuple[Sequence[JobJson], bool]:
        """Create all jobs of `{"jobs": […]}` or none; return their summaries in order, and whether it is a replay.

        A replay tells of those that have not been deleted since. Raises as for one job.
        """
        jobs = new_jobs(body, self.handlers, self.chance.job_id)
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
    """Return a hash of the request as it was sent, before defaults; equal for equal JSON values."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
