"""Creates jobs: inserts them, then announces them. An announcement that fails fails no create."""

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
"""Characters of an Idempotency-Key, at most."""


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
