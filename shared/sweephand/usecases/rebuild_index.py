"""Rebuild the index from the record: every page of what is due within the horizon, oldest first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweephand.domain.json_value import JsonValue
from sweephand.ports.index import Index, IndexUpdates
from sweephand.ports.record import Record

PAGE = 1000
"""Jobs on a page."""
TYPES = 100
"""Types that are read together: with ten priorities each, a page shows a job of every lane."""


@dataclass(frozen=True, slots=True)
class Synced:
    """Totals so far: jobs that the record has, and those of them that the index lacked."""

    seen: int
    missing: int


def sync(
    record: Record, index: Index, types: Sequence[str], horizon_ms: int, *, dry_run: bool = False
) -> Iterator[Synced]:
    """Yield the totals after each page. A dry run changes nothing and counts what is missing.

    Raises `RecordUnavailableError`, `IndexUnavailableError`; a second run reads the same jobs again and adds
    only those that are still missing.
    """
    seen = missing = 0
    for first in range(0, len(types), TYPES):
        after: Sequence[JsonValue] | None = None
        while after is None or after:
            page = record.restore(types[first : first + TYPES], horizon_ms, PAGE, after)
            jobs = list(page.jobs)
            if jobs and dry_run:
                missing += index.missing(page.installation, jobs)
            elif jobs:
                missing += index.sync_and_claim(page.installation, IndexUpdates(add=jobs)).added
            seen += len(jobs)
            yield Synced(seen, missing)
            after = page.cut
