"""Cancel a pending job."""

from sweephand.domain.errors import JobNotFoundError, NotCancellableError
from sweephand.domain.job import JobJson
from sweephand.ports.record import Record
from sweephand.usecases.read import parse_id


def cancel(record: Record, job_id: str) -> JobJson:
    """Return the job, cancelled now or before.

    The index is not asked: a member whose job is cancelled is dropped when its start says `final`.
    Raises `JobNotFoundError`, and `NotCancellableError` with the real status when it has started or ended.
    """
    answer = record.cancel(parse_id(job_id))
    if answer is None:
        raise JobNotFoundError
    if not answer.cancelled:
        raise NotCancellableError(str(answer.job["status"]))
    return answer.job
