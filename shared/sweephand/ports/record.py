"""The record: what every job is and where it stands, kept by PostgreSQL.

`Record` asks; an `Rpc` carries each call to one SQL function, over HTTP or to PostgreSQL itself; the function is in
`infra/supabase/migrations`, whose comments say what it takes and answers.

Every change is one atomic call. PostgreSQL's clock decides all times: delays go in, waits come out, both in
milliseconds. A caller may safely repeat a call with the same arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, assert_never
from uuid import UUID

from sweephand.domain.cursor import Position
from sweephand.domain.job import Idempotency, JobJson, NewJob
from sweephand.domain.json_value import JsonValue
from sweephand.domain.request import render_new_jobs, waits_ms
from sweephand.domain.retry_policy import Complete, Decision, Fail, Release, RetryAfter

Rpc = Callable[[str, Mapping[str, Any]], Any]
"""Calls the SQL function `public.<name>` with named JSON parameters and returns its JSON answer.

Raises `RecordUnavailableError` when there is no answer, `RecordSetupError` when the answer shows a wrong key or a
missing migration, `RecordRefusedError` for a value that the tables do not take, and `RecordStatementError` when the
record answers and this statement failed.
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    """Milliseconds since a tick last asked the record for work; None for never."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of job summaries, latest created first, each with its position."""

    jobs: Sequence[JobJson]
    positions: Sequence[Position]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Whether the job is cancelled now, and the job in full."""

    cancelled: bool
    job: JobJson


# What is made once for each job is a named tuple: a frozen dataclass takes three times as long to make.
class Due(NamedTuple):
    """A pending job as the index keeps it; `wait_ms` until it is due, negative for how long it has been."""

    id: str
    type: str
    priority: int
    wait_ms: int


@dataclass(frozen=True, slots=True)
class UnknownTypes:
    """Types that have due jobs and that no tick has a handler for, as the last look found them."""

    types: int = 0
    """How many."""
    oldest: float = 0.0
    """The age in seconds of their oldest due job."""
    named: Mapping[str, float] = field(default_factory=dict)
    """The hundred with the oldest, and the ages of those."""


DueSchedules = Mapping[str, Any]
"""`sweephand.due_schedules` explains it."""


@dataclass(frozen=True, slots=True)
class Page:
    """Pending jobs within the horizon, dealt from their lanes in turns, and what else a tick should know."""

    installation: str
    jobs: Sequence[Due]
    cut: Sequence[JsonValue]
    """The last job shown of each lane that has more: what the next page goes on after."""
    more: bool
    """Whether some lanes are not shown at all: the next page without `after` begins with them."""
    paused: frozenset[str]
    unknown: UnknownTypes
    look: bool
    """Whether it is time to call `find_unknown_types`."""
    oldest: Mapping[int, float]
    """Priorities that have a due job, with the age in seconds of the oldest."""
    rescued: int
    """How many leases had run out and were ended by this call."""
    failed: int
    """How many jobs this call ended: they had crashed too often, or were past their expires_at."""
    bad: Mapping[str, str]
    """Jobs that this call failed to end, each with the record's error; it sets them aside for a minute."""
    schedules: DueSchedules | None = None
    """Schedules that have a fire to make, or a change to judge, where there are any."""


class Verdict(StrEnum):
    """What a start call says of one id; `sweephand_start_v1` explains the words."""

    ALREADY = "already"
    EARLY = "early"
    LEASED = "leased"
    FINAL = "final"
    UNKNOWN = "unknown"
    EXCLUSIVE = "exclusive"
    DEFERRED = "deferred"
    BUSY = "busy"


class Start(NamedTuple):
    """A job that is leased to the caller, who must run it and then settle it with `token`."""

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
    """The jobs that a call started, and its verdict on each other one: id → (verdict, wait in ms or None)."""

    starts: Sequence[Start]
    others: Mapping[str, tuple[Verdict, int | None]]


class Settlement(NamedTuple):
    """What follows from one start."""

    id: str
    token: str
    decision: Decision


class Settled(NamedTuple):
    """What a settle call says of one start.

    `lost`: the lease had gone to another start, or the job is gone; nothing was changed.
    `wait_ms`: of a job that is pending again, the milliseconds until it is due.
    `busy`: another transaction holds the job; nothing was changed, and the caller must settle it again.
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


class Record:
    """What can be asked of the record; each method is one call of the SQL function that its body names.

    Every method raises what its `Rpc` raises.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def create(
        self, jobs: Sequence[NewJob], idempotency: Idempotency | None = None, *, summary: bool = False
    ) -> Created:
        """Insert `jobs`, all or none; with an idempotency key seen before, insert none.

        The answer has each job in full, or with `summary` as a list shows it.
        Raises `RecordRefusedError` for a value that the tables do not take.
        """
        params: dict[str, Any] = {"jobs": [_new_job(job) for job in jobs], "summary": summary}
        if idempotency:
            params |= {"owner": idempotency.owner, "key": idempotency.key, "request": idempotency.request}
        answer = self._rpc("sweephand_create_v1", params)
        outcome, installation = CreateOutcome(answer["outcome"]), answer.get("installation", "")
        if outcome is CreateOutcome.CREATED and answer["jobs"] is None:
            at = _EPOCH + timedelta(microseconds=answer["created_at"])
            rendered = render_new_jobs(jobs, at, summary=summary)
            return Created(outcome, installation, rendered, waits_ms(jobs, at), answer["asked_ms"])
        rendered = answer.get("jobs", [])
        waits = [job.pop("wait_ms") for job in rendered]
        return Created(outcome, installation, rendered, waits, answer.get("asked_ms"))

    def get(self, job: UUID) -> JobJson | None:
        """Return the job in full, or None for an unknown id."""
        found: JobJson | None = self._rpc("sweephand_get_v1", {"id": str(job)})
        return found

    def list(self, status: str | None, type_: str | None, limit: int, after: Position | None) -> Listed:
        """Return at most `limit` jobs after a position, of one status and type where given."""
        params: dict[str, Any] = {"status": status, "type": type_, "max_rows": limit}
        if after:
            params |= {"at": after.created_at, "id": str(after.id)}
        jobs = self._rpc("sweephand_list_v1", params)["jobs"]
        return Listed(jobs, [Position(job.pop("position"), UUID(job["id"])) for job in jobs])

    def cancel(self, job: UUID) -> Cancelled | None:
        """Cancel a pending job; return None when there is no such job."""
        answer = self._rpc("sweephand_cancel_v1", {"id": str(job)})
        return Cancelled(answer["cancelled"], answer["job"]) if answer else None

    def restore(  # noqa: PLR0913 - the docstring explains each
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
        """Return a page of what is pending and due within the horizon.

        Unless `after` is given, the call first sweeps: it rescues expired leases and fails expired jobs.

        Args:
            types: the types that the caller has handlers for.
            horizon_ms: how far ahead to look.
            limit: jobs on the page.
            after: the `cut` of another page: go on in these lanes alone.
            strict: order the page as a caller without an index must start it.
            skip: ids to pass over.
            entered: starts whose handlers have been entered.
            begins: whether the caller's tick has just begun.
        """
        answer = self._rpc(
            "sweephand_restore_v1",
            {"types": list(types), "horizon_ms": horizon_ms, "max_rows": limit, "after": after, "strict": strict,
             "skip": list(skip), "entered": entered or None, "begins": begins},
        )  # fmt: skip
        return Page(
            answer["installation"],
            [Due(*row) for row in answer["jobs"]],
            answer["cut"],
            answer["more"],
            frozenset(answer["paused"]),
            _unknown_types(answer["unknown"], set(types)),
            answer["look"],
            {int(priority): age for priority, age in answer["oldest"].items()},
            answer["rescued"],
            answer["failed"],
            dict(answer["bad"]),
            answer["schedules"],
        )

    def make_fires(self, plans: Sequence[JsonValue]) -> int:
        """Carry out what was planned for schedules; `sweephand_make_fires_v1` explains a plan.

        Returns for how many it was done; the others have changed meanwhile, or are held by another transaction.
        """
        done: int = self._rpc("sweephand_make_fires_v1", {"plans": list(plans)})["done"]
        return done

    def find_unknown_types(self, types: Sequence[str]) -> UnknownTypes:
        """Look for types that have due jobs and are not among `types`; the pages that follow name them too.

        With 50,000 types it takes a quarter of a second.
        """
        return _unknown_types(self._rpc("sweephand_find_unknown_types_v1", {"types": list(types)}), set(types))

    def set_aside(self, bad: Mapping[str, str]) -> None:
        """Have pages pass over these jobs for a minute, and explanations name their errors."""
        self._rpc("sweephand_set_aside_v1", {"bad": [[id_, error] for id_, error in bad.items()]})

    def start(  # noqa: PLR0913 - the SQL function's comment explains each
        self,
        ids: Sequence[str],
        token: str,
        leases_ms: Mapping[str, int],
        *,
        exclusive: bool,
        max_bytes: int,
        entered: Entered | None = None,
    ) -> Started:
        """Lease those of `ids` that may start now. Raises `RecordRefusedError` where a row fails the statement."""
        answer = self._rpc(
            "sweephand_start_v1",
            {"ids": list(ids), "token": token, "lease_ms": leases_ms, "exclusive": exclusive,
             "max_bytes": max_bytes, "entered": entered or None},
        )  # fmt: skip
        return Started(
            [_start(row, token) for row in answer["started"]],
            {row[0]: (Verdict(row[1]), row[2]) for row in answer["verdicts"]},
        )

    def settle(self, settlements: Sequence[Settlement], entered: Entered | None = None) -> Sequence[Settled]:
        """Record what follows from starts; the answers come in the order of `settlements`.

        Raises `RecordRefusedError` for a result or an error text that the tables do not take; then none is settled.
        """
        answer = self._rpc(
            "sweephand_settle_v1",
            {"outcomes": [_outcome(s) for s in settlements], "entered": entered or None},
        )
        exceptions = {
            id_: Settled(id_, verdict == "lost", wait_ms, verdict == "busy")
            for id_, verdict, wait_ms in answer["verdicts"]
        }
        return [exceptions.get(s.id) or Settled(s.id, lost=False, wait_ms=None) for s in settlements]

    def prune(self, keep_s: int, limit: int, after: JsonValue = None) -> Pruned:
        """Look at the `limit` oldest finished jobs after a position; delete what ended `keep_s` s ago."""
        answer = self._rpc("sweephand_prune_v1", {"keep_s": keep_s, "max_rows": limit, "after": after})
        return Pruned(answer["deleted"], answer["next"])

    def explain(self, job: UUID) -> JobJson | None:
        """Return what the record knows of why a job is where it is, or None for an unknown id."""
        found: JobJson | None = self._rpc("sweephand_explain_v1", {"id": str(job)})
        return found

    def health(self) -> JobJson:
        """Return the version of the record's functions, its installation and its clock."""
        answer: JobJson = self._rpc("sweephand_health_v1", {})
        return answer


def _start(row: Sequence[Any], token: str) -> Start:
    id_, type_, attempt, crashes, lost, max_retries, late_ms, payload = row
    return Start(id_, type_, attempt, crashes, lost, max_retries, late_ms, payload, token)


def _unknown_types(answer: Mapping[str, Any], known: set[str]) -> UnknownTypes:
    """Return what a look found; it may have been another caller's, who knew fewer types than this one."""
    if not answer:
        return UnknownTypes()
    ours = [type_ for type_ in answer["named"] if type_ in known]
    named = {type_: age for type_, age in answer["named"].items() if type_ not in known}
    if not ours:
        return UnknownTypes(answer["types"], answer["oldest"], named)
    return UnknownTypes(answer["types"] - len(ours), max(named.values(), default=0.0), named)


def _new_job(job: NewJob) -> dict[str, JsonValue]:
    return {
        "id": str(job.id),
        "type": job.type,
        "payload": job.payload,
        "priority": job.priority,
        "max_retries": job.max_retries,
        "scheduled_at": _iso(job.scheduled_at),
        "expires_at": _iso(job.expires_at),
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _outcome(settlement: Settlement) -> dict[str, JsonValue]:
    outcome: dict[str, JsonValue] = {"id": settlement.id, "token": settlement.token}
    match settlement.decision:
        case Complete(None):
            outcome["to"] = "completed"
        case Complete(result):
            outcome |= {"to": "completed", "result": result}
        case RetryAfter(delay, kind, error):
            outcome |= {"to": "pending", "delay_ms": round(delay * 1000), "kind": kind, "error": error}
        case Fail(reason, kind, error):
            outcome |= {"to": "failed", "reason": reason, "kind": kind, "error": error}
        case Release():
            outcome |= {"to": "released"}
        case _:
            assert_never(settlement.decision)
    return outcome
