"""How a job that was just made is shown: as the record shows it later.

SQL renders jobs too (`sweephand.job_summary` and `sweephand.job_full` in `…_sweephand_api.sql`). A create does
without: to render a thousand jobs took half of its call, and its caller knows all of them but when they were made.
One test holds the two together: `test_what_a_create_answers_is_what_the_record_tells_later`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import ceil

from sweephand.domain.job import JobJson, NewJob, Status

_MS = timedelta(milliseconds=1)


def render_new_jobs(jobs: Sequence[NewJob], created_at: datetime, *, summary: bool) -> list[JobJson]:
    """Return jobs that were all made at `created_at`, in full or as a list shows them."""
    created = to_rfc3339(created_at)
    return [
        {
            "id": str(job.id),
            "type": job.type,
            "status": Status.PENDING.value,
            "priority": job.priority,
            "max_retries": job.max_retries,
            "attempt": 0,
            "crashes": 0,
            "scheduled_at": to_rfc3339(job.scheduled_at) if job.scheduled_at else created,
            "run_at": to_rfc3339(max(job.scheduled_at or created_at, created_at)),
            "expires_at": to_rfc3339(job.expires_at) if job.expires_at else None,
            "created_at": created,
            "started_at": None,
            "finished_at": None,
            "reason": None,
            "schedule": None,
            "fire_at": None,
            **({} if summary else {"payload": job.payload, "result": None, "errors": []}),
        }
        for job in jobs
    ]


def waits_ms(jobs: Sequence[NewJob], created_at: datetime) -> list[int]:
    """Return how many milliseconds after `created_at` each job is due; 0 for one that was due before."""
    return [
        ceil((job.scheduled_at - created_at) / _MS) if job.scheduled_at and job.scheduled_at > created_at else 0
        for job in jobs
    ]


def to_rfc3339(at: datetime) -> str:
    """Return a time in UTC with milliseconds, cut off and not rounded, and `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
