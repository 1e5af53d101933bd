"""Cancel a pending job."""

from shared.domain.errors import JobNotFoundError, NotCancellableError
from shared.domain.job import JobJson
from shared.ports.record import Record
from shared.usecases.read import parse_id


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
