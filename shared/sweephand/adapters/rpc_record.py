"""The record over one callable, `rpc(name, params)`: what is asked of a transport is only that."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

from sweephand.domain.cursor import Position
from sweephand.domain.job import Idempotency, JobJson, NewJob, Status
from sweephand.domain.json_value import JsonValue
from sweephand.domain.retry_policy import Complete, Fail, Release, RetryAfter
from sweephand.ports.record import (
    Cancelled,
    Created,
    CreateOutcome,
    Due,
    Entered,
    Listed,
    Page,
    Pruned,
    Settled,
    Settlement,
    Start,
    Started,
    Unknown,
    Verdict,
)

Rpc = Callable[[str, Mapping[str, Any]], Any]
"""Calls the SQL function `public.<name>` with named JSON parameters and returns its JSON answer.

Raises what the `Record` port raises.
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class RpcRecord:
    """The `Record` port; each method is one call of the SQL function of its name."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def create(
        self, jobs: Sequence[NewJob], idempotency: Idempotency | None = None, *, whole: bool = True
    ) -> Created:
        """See the port."""
        params: dict[str, Any] = {"jobs": [_new_job(job) for job in jobs], "whole": whole}
        if idempotency:
            params |= {"owner": idempotency.owner, "key": idempotency.key, "request": idempotency.request}
        answer = self._rpc("sweephand_create_v1", params)
        outcome, installation = CreateOutcome(answer["outcome"]), answer.get("installation", "")
        if outcome is CreateOutcome.CREATED and answer["jobs"] is None:
            at = _EPOCH + timedelta(microseconds=answer["created_at"])
            cards = _new_cards(jobs, at, whole=whole)
            return Created(outcome, installation, cards, _waits_ms(jobs, at), answer["asked_ms"])
        made = answer.get("jobs", [])
        waits = [job.pop("wait_ms") for job in made]
        return Created(outcome, installation, made, waits, answer.get("asked_ms"))

    def get(self, job: UUID) -> JobJson | None:
        """See the port."""
        found: JobJson | None = self._rpc("sweephand_get_v1", {"id": str(job)})
        return found

    def list(self, status: str | None, type_: str | None, limit: int, after: Position | None) -> Listed:
        """See the port."""
        params: dict[str, Any] = {"status": status, "type": type_, "max_rows": limit}
        if after:
            params |= {"at": after.created_at, "id": str(after.id)}
        jobs = self._rpc("sweephand_list_v1", params)["jobs"]
        return Listed(jobs, [Position(job.pop("position"), UUID(job["id"])) for job in jobs])

    def cancel(self, job: UUID) -> Cancelled | None:
        """See the port."""
        answer = self._rpc("sweephand_cancel_v1", {"id": str(job)})
        return Cancelled(answer["cancelled"], answer["job"]) if answer else None

    def page(  # noqa: PLR0913 - as the port has it
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
        """See the port."""
        answer = self._rpc(
            "sweephand_page_v1",
            {"types": list(types), "horizon_ms": horizon_ms, "max_rows": limit, "after": after, "strict": strict,
             "skip": list(skip), "entered": entered or None, "begins": begins},
        )  # fmt: skip
        known = set(types)
        return Page(
            answer["installation"],
            [Due(*row) for row in answer["jobs"]],
            answer["cut"],
            answer["more"],
            frozenset(answer["paused"]),
            _unknown(answer["unknown"], known),
            answer["look"],
            {int(priority): age for priority, age in answer["oldest"].items()},
            answer["rescued"],
            answer["failed"],
            dict(answer["bad"]),
        )

    def unknown(self, types: Sequence[str]) -> Unknown:
        """See the port."""
        return _unknown(self._rpc("sweephand_unknown_v1", {"types": list(types)}), set(types))

    def set_aside(self, bad: Mapping[str, str]) -> None:
        """See the port."""
        self._rpc("sweephand_aside_v1", {"bad": [[id_, error] for id_, error in bad.items()]})

    def start(  # noqa: PLR0913 - as the port has it
        self,
        ids: Sequence[str],
        token: str,
        leases_ms: Mapping[str, int],
        *,
        alone: bool,
        max_bytes: int,
        entered: Entered | None = None,
    ) -> Started:
        """See the port."""
        answer = self._rpc(
            "sweephand_start_v1",
            {"ids": list(ids), "token": token, "lease_ms": leases_ms, "alone": alone, "max_bytes": max_bytes,
             "entered": entered or None},
        )  # fmt: skip
        return Started(
            [_start(row, token) for row in answer["started"]],
            {row[0]: (Verdict(row[1]), row[2]) for row in answer["verdicts"]},
        )

    def settle(self, settlements: Sequence[Settlement], entered: Entered | None = None) -> Sequence[Settled]:
        """See the port."""
        answer = self._rpc(
            "sweephand_settle_v1",
            {"outcomes": [_outcome(s) for s in settlements], "entered": entered or None},
        )
        told = {row[0]: Settled(row[0], row[1] == "lost", row[2], row[1] == "busy") for row in answer["told"]}
        return [told.get(s.id) or Settled(s.id, lost=False, wait_ms=None) for s in settlements]

    def prune(self, keep_s: int, limit: int, after: JsonValue = None) -> Pruned:
        """See the port."""
        answer = self._rpc("sweephand_prune_v1", {"keep_s": keep_s, "max_rows": limit, "after": after})
        return Pruned(answer["deleted"], answer["next"])

    def explain(self, job: UUID) -> JobJson | None:
        """See the port."""
        found: JobJson | None = self._rpc("sweephand_explain_v1", {"id": str(job)})
        return found

    def health(self) -> JobJson:
        """See the port."""
        answer: JobJson = self._rpc("sweephand_health_v1", {})
        return answer


def _start(row: Sequence[Any], token: str) -> Start:
    id_, type_, attempt, crashes, lost, max_retries, late_ms, payload = row
    return Start(id_, type_, attempt, crashes, lost, max_retries, late_ms, payload, token)


def _unknown(answer: Mapping[str, Any], known: set[str]) -> Unknown:
    """Return what a look found, which may be another caller's, who knew fewer types than this one."""
    if not answer:
        return Unknown()
    ours = [type_ for type_ in answer["named"] if type_ in known]
    named = {type_: age for type_, age in answer["named"].items() if type_ not in known}
    if not ours:
        return Unknown(answer["types"], answer["oldest"], named)
    return Unknown(answer["types"] - len(ours), max(named.values(), default=0.0), named)


def _new_job(job: NewJob) -> dict[str, JsonValue]:
    return {
        "id": str(job.id),
        "type": job.type,
        "payload": job.payload,
        "priority": job.priority,
        "max_retries": job.max_retries,
        "scheduled_at": _stamp(job.scheduled_at),
        "expires_at": _stamp(job.expires_at),
    }


def _stamp(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _new_cards(jobs: Sequence[NewJob], at: datetime, *, whole: bool) -> list[JobJson]:
    """Return what the record says of jobs that were all made at `at`, as its `job_card` and `job_whole` do."""
    made = _rendered(at)
    return [
        {
            "id": str(job.id),
            "type": job.type,
            "status": Status.PENDING.value,
            "priority": job.priority,
            "max_retries": job.max_retries,
            "attempt": 0,
            "crashes": 0,
            "scheduled_at": _rendered(job.scheduled_at) if job.scheduled_at else made,
            "run_at": _rendered(job.scheduled_at) if job.scheduled_at and job.scheduled_at > at else made,
            "expires_at": _rendered(job.expires_at) if job.expires_at else None,
            "created_at": made,
            "started_at": None,
            "finished_at": None,
            "reason": None,
            **({"payload": job.payload, "result": None, "errors": []} if whole else {}),
        }
        for job in jobs
    ]


def _rendered(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _waits_ms(jobs: Sequence[NewJob], at: datetime) -> list[int]:
    return [
        ceil((job.scheduled_at - at) / _MS) if job.scheduled_at and job.scheduled_at > at else 0 for job in jobs
    ]


def _outcome(settlement: Settlement) -> dict[str, JsonValue]:
    made: dict[str, JsonValue] = {"id": settlement.id, "token": settlement.token}
    match settlement.decision:
        case Complete(None):
            made["to"] = "completed"
        case Complete(result):
            made |= {"to": "completed", "result": result}
        case RetryAfter(delay, kind, error):
            made |= {"to": "pending", "delay_ms": round(delay * 1000), "kind": kind, "error": error}
        case Fail(reason, kind, error):
            made |= {"to": "failed", "reason": reason, "kind": kind, "error": error}
        case Release():
            made |= {"to": "unstarted"}
    return made
