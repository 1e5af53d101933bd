"""Cancel a pending job."""

from sweephand.domain.errors import JobNotFoundError, NotCancellableError
from sweephand.domain.job import JobJson
from sweephand.ports.record import Record
from sweephand.usecases.read import parse_id


def cancel(record: Record, job_id: str) -> JobJson:
    """Return the job, cancelled now or before.

    The index keeps its member until a tick claims it and the record's start call answers `final`.
    Raises `JobNotFoundError`, and `NotCancellableError` with the real status when the job has started or ended.
    """
    answer = record.cancel(parse_id(job_id))
    if answer is None:
        raise JobNotFoundError
    if not answer.cancelled:
        raise NotCancellableError(str(answer.job["status"]))
    return answer.job
