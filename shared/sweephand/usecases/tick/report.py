"""What a tick did, as one JSON object."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from sweephand.domain.json_value import JsonValue
from sweephand.ports.record import Page, UnknownTypes

Stopped = Literal["drained", "budget", "held"]
"""Nothing is due any more; there was no time, or no room, for what is; what is due is held by others."""
NAMED = 10
"""Jobs and members that a report names, of those that it counts."""


@dataclass(slots=True)
class Lateness:
    """How late starts were, in ms: exact below a second, to three digits above, in a bounded space."""

    counts: Counter[int] = field(default_factory=Counter)
    longest: int = 0

    def add(self, late_ms: int) -> None:
        """Count one start."""
        step = 1 if late_ms < 1000 else 10 ** (len(str(late_ms)) - 3)  # noqa: PLR2004 - three digits
        self.counts[late_ms // step * step] += 1
        self.longest = max(self.longest, late_ms)

    def percentiles(self) -> dict[str, JsonValue]:
        """Return p50, p99 and max; null when nothing was started."""
        return {"p50": self._at(0.50), "p99": self._at(0.99), "max": self.longest if self.counts else None}

    def _at(self, share: float) -> int | None:
        left = share * self.counts.total()
        for late, count in sorted(self.counts.items()):
            left -= count
            if left <= 0:
                return late
        return None


def _metric(unit: str = "Count") -> Any:
    """Return a figure that begins at 0 and is a metric too, in CloudWatch's unit."""
    return field(default=0, metadata={"unit": unit})


@dataclass(slots=True)
class Report:
    """What one tick did. A field's name is its name in the report and, where it is one, the metric's name."""

    claimed: int = _metric()
    """Ids taken off the index, or off the record where there was no index."""
    started: int = _metric()
    completed: int = _metric()
    retried: int = _metric()
    failed: int = _metric()
    skipped: int = _metric()
    """Claimed ids that were not to be started: cancelled, finished, not yet due, or with another tick."""
    released: int = _metric()
    """Claimed ids that were handed back: not started, or started and not run."""
    restored: int = _metric()
    """Jobs that the index had lost, or never had."""
    expired_leases: int = _metric()
    late_writes: int = _metric()
    """Settlements that the record refused because the lease had gone to another."""
    stuck: int = _metric()
    """Handlers that passed their time limit and could not be ended."""
    index_errors: int = _metric()
    index_foreign: int = 0
    """Members of the index that were no job's; they were removed."""
    index_foreign_named: Sequence[str] = ()
    busy_starts: int = 0
    """Starts that were put off because another transaction held the job's row."""
    busy_settles: int = 0
    """Settlements that were tried again for that reason."""
    bad: dict[str, str] = field(default_factory=dict)
    """Jobs whose rows failed a statement by themselves, each with the record's error; at most NAMED."""
    bad_rows: int = 0
    """How many there were."""
    pruned: int = 0
    """Finished jobs that were deleted because they were older than RETENTION_DAYS."""
    drainers: int = 0
    """Further drainers that were called."""
    lingered_ms: int = 0
    """Time spent waiting for what was known to come due."""
    budget_ms: int = 0
    duration_ms: int = _metric("Milliseconds")
    stopped: Stopped = "drained"
    oldest_due_age_s: float = _metric("Seconds")
    oldest_due_age_s_by_priority: Mapping[int, float] = field(default_factory=dict)
    unknown_types: Mapping[str, float] = field(default_factory=dict)
    """Due types that this tick has no handler for, with the age in s of their oldest job; at most 100."""
    unknown_types_count: int = _metric()
    """How many there are."""
    oldest_unknown_due_age_s: float = 0.0
    lateness: Lateness = field(default_factory=Lateness)
    """Reported as `lateness_ms`, of which each percentile is a metric."""

    def note_bad(self, id_: str, error: str) -> None:
        """Count a job whose row fails a statement by itself, and name it."""
        self.bad_rows += id_ not in self.bad
        if len(self.bad) < NAMED:
            self.bad[id_] = error[:200]

    def note_page(self, page: Page, *, whole: bool) -> None:
        """Count what the record did as it read a page, and take over its ages; `whole`: of all types."""
        self.expired_leases += page.rescued
        self.failed += page.failed
        for id_, error in page.bad.items():
            self.note_bad(id_, error)
        if whole:
            self.oldest_due_age_s_by_priority = page.oldest
        self.note_unknown_types(page.unknown)

    def note_unknown_types(self, unknown: UnknownTypes) -> None:
        """Take over what is known of due types without a handler."""
        self.unknown_types = unknown.named
        self.unknown_types_count = unknown.types
        self.oldest_unknown_due_age_s = unknown.oldest
        oldest = max(self.oldest_due_age_s_by_priority.values(), default=0.0)
        self.oldest_due_age_s = max(oldest, self.oldest_unknown_due_age_s)

    def note_index(self, added: int, foreign: Sequence[str]) -> None:
        """Count how many jobs the index lacked, and the members in it that were no jobs."""
        self.restored += added
        self.index_foreign += len(foreign)
        self.index_foreign_named = [*self.index_foreign_named, *foreign][:NAMED]

    def json(self) -> dict[str, JsonValue]:
        """Return the report as it is printed, logged and answered."""
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "lateness"}
        return {
            **plain,
            "oldest_due_age_s_by_priority": {str(p): age for p, age in self.oldest_due_age_s_by_priority.items()},
            "unknown_types": dict(self.unknown_types),
            "bad": dict(self.bad),
            "index_foreign_named": list(self.index_foreign_named),
            "lateness_ms": self.lateness.percentiles(),
        }


METRICS: Mapping[str, str] = {
    **{each.name: each.metadata["unit"] for each in fields(Report) if each.metadata},
    **{f"lateness_{name}_ms": "Milliseconds" for name in Lateness().percentiles()},
}
"""Every metric of a tick by its name, with its unit: infra/aws/dashboard.js and infra/gcp/watching.tf show them."""
