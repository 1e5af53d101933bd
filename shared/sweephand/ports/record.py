"""The record: what every job is and where it stands, kept by PostgreSQL.

Every change is one atomic call. Times are left to PostgreSQL's clock: delays go in, waits come out, in
milliseconds. Every method raises `RecordUnavailableError` when there is no answer, `RecordSetupError` when the
answer shows a wrong key or a missing migration; each may safely be asked again with the same arguments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

from sweephand.domain.cursor import Position
from sweephand.domain.job import Idempotency, JobJson, NewJob
from sweephand.domain.json_value import JsonValue
from sweephand.domain.retry_policy import Decision


class CreateOutcome(StrEnum):
    """What a create did."""

    CREATED = "created"
    REPLAYED = "replayed"
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True)
class Created:
    """The jobs made, or made before under the same key, in order, each with its wait until due in ms."""

    outcome: CreateOutcome
    installation: str
    jobs: Sequence[JobJson]
    waits_ms: Sequence[int]
    asked_ms: int | None = None
    """How long ago a tick last asked the record for work; None for never."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of job cards, latest created first, each with its position."""

    jobs: Sequence[JobJson]
    positions: Sequence[Position]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Whether the job is cancelled now, and the whole job."""

    cancelled: bool
    job: JobJson


# What there is one of for each job is a named tuple: a frozen dataclass takes three times as long to make.
class Due(NamedTuple):
    """A pending job as the index keeps it; `wait_ms` until it is due, negative for how long it has been."""

    id: str
    type: str
    priority: int
    wait_ms: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Types that have due jobs and that no tick knows, as last looked for."""

    types: int = 0
    """How many."""
    oldest: float = 0.0
    """The age in seconds of their oldest due job."""
    named: Mapping[str, float] = field(default_factory=dict)
    """The hundred with the oldest, and the ages of those."""


@dataclass(frozen=True, slots=True)
class Page:
    """Pending jobs within the horizon, dealt from their lanes in turns, and what a tick should know beside them."""

    installation: str
    jobs: Sequence[Due]
    cut: Sequence[JsonValue]
    """The last job shown of each lane that has more: what the next page goes on after."""
    more: bool
    """There are lanes of which nothing is shown: the next page without `after` begins with them."""
    paused: frozenset[str]
    unknown: Unknown
    look: bool
    """It is time to look for unknown types anew."""
    oldest: Mapping[int, float]
    """Priorities that have a due job, with the age in seconds of the oldest."""
    rescued: int
    """Leases that had run out and were ended by this call."""
    failed: int
    """Jobs that ended with it: they had crashed too often, or were past their expires_at."""
    bad: Mapping[str, str]
    """Jobs that could not be ended, each with the record's error; they are left alone for a minute."""


class Verdict(StrEnum):
    """What a start call says of one id; the words are explained in `20261124000004_sweephand_tick.sql`."""

    ALREADY = "already"
    EARLY = "early"
    LEASED = "leased"
    FINAL = "final"
    UNKNOWN = "unknown"
    EXCLUSIVE = "alone"
    DEFERRED = "full"
    BUSY = "busy"


class Start(NamedTuple):
    """A job that is leased to the caller and must be entered, then settled, with `token`."""

    id: str
    type: str
    attempt: int
    crashes: int
    lost: int
    max_retries: int
    late_ms: int
    payload: Mapping[str, JsonValue]
    token: str


@dataclass(frozen=True, slots=True)
class Started:
    """The jobs that a call started, and what it says of the others: id → (verdict, wait in ms or None)."""

    starts: Sequence[Start]
    others: Mapping[str, tuple[Verdict, int | None]]


class Settlement(NamedTuple):
    """What is to follow from one start."""

    id: str
    token: str
    decision: Decision


class Settled(NamedTuple):
    """Whether the start was still the caller's, and for a job that is pending again, its wait in ms.

    `busy`: another transaction holds the job; nothing was settled, and it is to be asked again.
    """

    id: str
    lost: bool
    wait_ms: int | None
    busy: bool = False


Entered = Mapping[str, Sequence[str]]
"""Starts whose handlers have been entered: the ids by their tokens."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many jobs a call deleted, and where the next one goes on; None when it saw all that is old."""

    deleted: int
    next: JsonValue


class Record(Protocol):
    """The record's verbs."""

    def create(
        self, jobs: Sequence[NewJob], idempotency: Idempotency | None = None, *, whole: bool = True
    ) -> Created:
        """Insert `jobs`, all or none; with an idempotency key seen before, insert none.

        They come back whole, or as a list shows them.
        Raises `RecordRefusedError` for a value that the tables do not take.
        """
        ...

    def get(self, job: UUID) -> JobJson | None:
        """Return the whole job."""
        ...

    def list(self, status: str | None, type_: str | None, limit: int, after: Position | None) -> Listed:
        """Return at most `limit` jobs after a position, of one status and type where given."""
        ...

    def cancel(self, job: UUID) -> Cancelled | None:
        """Cancel a pending job; None when there is no such job."""
        ...

    def page(  # noqa: PLR0913 - each is said in the docstring
        self,
        types: Sequence[str],
        horizon_ms: int,
        limit: int,
        after: Sequence[JsonValue] | None = None,
        *,
        strict: bool = False,
        skip: Sequence[str] = (),
        entered: Entered | None = None,
        begins: bool = False,
    ) -> Page:
        """Return what is pending and due within the horizon, and end leases and jobs whose time is over.

        With `after`, the `cut` of another page, it goes on in those lanes alone. `strict`: in the order in which a
        caller without an index is to start it. `skip`: ids to pass over. `begins`: the caller has just begun.
        """
        ...

    def unknown(self, types: Sequence[str]) -> Unknown:
        """Look for due types that are not among `types`; pages tell of what was found. It may take a while."""
        ...

    def set_aside(self, bad: Mapping[str, str]) -> None:
        """Have pages pass over these jobs for a minute, and explanations name their errors."""
        ...

    def start(  # noqa: PLR0913 - each is said in the SQL function's comment
        self,
        ids: Sequence[str],
        token: str,
        leases_ms: Mapping[str, int],
        *,
        alone: bool,
        max_bytes: int,
        entered: Entered | None = None,
    ) -> Started:
        """Lease those of `ids` that may start now. Raises `RecordRefusedError` where a row fails the statement."""
        ...

    def settle(self, settlements: Sequence[Settlement], entered: Entered | None = None) -> Sequence[Settled]:
        """Record what follows from starts.

        Raises `RecordRefusedError` for a result or an error text that the tables do not take; then none is settled.
        """
        ...

    def prune(self, keep_s: int, limit: int, after: JsonValue = None) -> Pruned:
        """Look at the `limit` first of the oldest finished jobs; delete what ended over `keep_s` seconds ago."""
        ...

    def explain(self, job: UUID) -> JobJson | None:
        """Return why a job is where it is; `20261124000006_sweephand_explain.sql` says what it holds."""
        ...

    def health(self) -> JobJson:
        """Return the version of the record's functions, its installation and its clock."""
        ...
