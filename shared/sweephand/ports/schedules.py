"""The record's schedules: what their owners ask of them. What ticks ask stands in `record.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sweephand.domain.cursor import Position
from sweephand.domain.job import JobJson
from sweephand.domain.json_value import JsonValue
from sweephand.ports.record import Listed, Rpc


class PutOutcome(StrEnum):
    """What a put did."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    CHANGED = "changed"
    """Nothing: the schedule has another revision now."""
    GONE = "gone"
    """Nothing: there is no schedule of that name any more."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A schedule as the record has it."""

    id: UUID
    body: Mapping[str, Any]
    """What was asked for, or written by SQL, which nobody may have judged yet."""
    revision: int
    now: datetime
    """The record's clock."""
    fields: Mapping[str, JsonValue]
    """`source`, `invalid`, `made`, `skipped`, and when it was created, changed, and last made a job."""


@dataclass(frozen=True, slots=True)
class Put:
    """What a put did, and the schedule, where there is one."""

    outcome: PutOutcome
    schedule: Stored | None


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a call of `delete` did; `left`: it is to be called again."""

    found: bool
    cancelled: int
    left: bool


@dataclass(frozen=True, slots=True)
class ByHand:
    """A job that a schedule made by hand, in full; `created`: by this call."""

    created: bool
    installation: str
    asked_ms: int | None
    wait_ms: int
    job: JobJson


class Schedules:
    """What can be asked of schedules; each method is one call of the SQL function that its body names.

    Every method raises what its `Rpc` raises.
    """

    def __init__(self, rpc: Rpc, owner: str = "") -> None:
        self._rpc, self._owner = rpc, owner

    def put(self, body: JsonValue, source: str | None = None, revision: int | None = None) -> Put:
        """Make the schedule, or replace the one of its name; with `revision`, only while it has that one.

        Raises `RecordRefusedError` for a value that the tables do not take.
        """
        params = {"schedule": body, "owner": self._owner, "source": source, "revision": revision}
        answer = self._rpc("sweephand_put_schedule_v1", params)
        found = answer.get("schedule")
        return Put(PutOutcome(answer["outcome"]), _stored(found) if found else None)

    def get(self, name: str) -> Stored | None:
        """Return the schedule, or None."""
        found = self._rpc("sweephand_get_schedule_v1", {"name": name, "owner": self._owner})
        return _stored(found) if found else None

    def list(self, after: str, limit: int, source: str | None = None) -> Sequence[Stored]:
        """Return at most `limit` schedules after a name, without their payloads; of one source where given."""
        params = {"owner": self._owner, "after": after, "max_rows": limit, "source": source}
        return [_stored(row) for row in self._rpc("sweephand_list_schedules_v1", params)["schedules"]]

    def delete(self, name: str, *, cancel: bool) -> Deleted:
        """Delete the schedule; with `cancel`, cancel its jobs that have not started, a thousand in a call."""
        params = {"name": name, "owner": self._owner, "cancel": cancel}
        return Deleted(**self._rpc("sweephand_delete_schedule_v1", params))

    def run(self, name: str, job: UUID, expires_ms: int | None) -> ByHand | None:
        """Make a job under this id now, or find the one that was made before; None without such a schedule."""
        params = {"name": name, "id": str(job), "owner": self._owner, "expires_ms": expires_ms}
        answer = self._rpc("sweephand_run_schedule_v1", params)
        if answer is None:
            return None
        wait_ms = answer["job"].pop("wait_ms")
        return ByHand(answer["created"], answer["installation"], answer["asked_ms"], wait_ms, answer["job"])

    def backfill(self, stored: Stored, fires: Sequence[Sequence[str | None]]) -> int | None:
        """Make jobs of `[fire_at, expires_at]`; return how many had none before; None if it has changed."""
        params = {"id": str(stored.id), "revision": stored.revision, "fires": list(map(list, fires))}
        answer = self._rpc("sweephand_backfill_v1", params)
        return answer["made"] if answer else None

    def jobs(self, name: str, limit: int, after: Position | None) -> Listed | None:
        """Return at most `limit` jobs that it made, latest created first; None without such a schedule."""
        params: dict[str, Any] = {"name": name, "owner": self._owner, "max_rows": limit}
        if after:
            params |= {"at": after.created_at, "job": str(after.id)}
        answer = self._rpc("sweephand_list_schedule_jobs_v1", params)
        if answer is None:
            return None
        jobs = answer["jobs"]
        return Listed(jobs, [Position(job.pop("position"), UUID(job["id"])) for job in jobs])


def _stored(row: Mapping[str, Any]) -> Stored:
    fields = {key: row[key] for key in row if key not in ("id", "body", "revision", "now")}
    return Stored(UUID(row["id"]), row["body"], row["revision"], datetime.fromisoformat(row["now"]), fields)
