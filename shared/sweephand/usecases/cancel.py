"""Cancel a pending job."""

from uuid import UUID

from sweephand.domain.errors import JobNotFoundError, NotCancellableError
from sweephand.domain.job import JobJson
from sweephand.ports.record import Record


def cancel(record: Record, job_id: UUID) -> JobJson:
    """Return the job, cancelled now or before.

    The index keeps its member until a tick claims it and the record's start call answers `final`.
    Raises `JobNotFoundError`, and `NotCancellableError` with the real status when the job has started or ended.
    """
    answer = record.cancel(job_id)
    if answer is None:
        raise JobNotFoundError
    if not answer.cancelled:
        raise NotCancellableError(str(answer.job["status"]))
    return answer.job
