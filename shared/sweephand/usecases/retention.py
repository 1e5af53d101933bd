"""Delete jobs that have been finished for long enough, a bounded number at a time."""

from collections.abc import Iterator

from sweephand.domain.json_value import JsonValue
from sweephand.ports.record import Record

BATCH = 1000
"""Finished jobs that one call looks at: a transaction of about 50 ms when it deletes all of them."""
SWEEP_EVERY = 600.0
"""Seconds between two walks over all old jobs."""


class Retention:
    """Keeps finished jobs for `keep_s` seconds. It lives as long as its process and remembers how far it got."""

    def __init__(self, record: Record, keep_s: int) -> None:
        self._record, self._keep_s = record, keep_s
        self._next: JsonValue = None
        self._swept_at: float | None = None

    def due(self, now: float) -> bool:
        """Tell whether there may be something to delete at `now`, in seconds of a monotonic clock."""
        return self._swept_at is None or now >= self._swept_at + SWEEP_EVERY

    def step(self, now: float) -> int:
        """Make one call and return how many jobs it deleted; raises `RecordUnavailableError`.

        After the call that saw the last old job, nothing is due for SWEEP_EVERY.
        """
        pruned = self._record.prune(self._keep_s, BATCH, self._next)
        self._next = pruned.next
        self._swept_at = now if pruned.next is None else None
        return pruned.deleted


def prune(record: Record, keep_s: int) -> Iterator[int]:
    """Delete all jobs that finished more than `keep_s` seconds ago; yield their number so far after each call.

    Raises `RecordUnavailableError`; a second run goes on with the jobs that are left.
    """
    deleted = 0
    after: JsonValue = None
    while True:
        pruned = record.prune(keep_s, BATCH, after)
        deleted += pruned.deleted
        yield deleted
        after = pruned.next
        if after is None:
            return
