"""Read jobs: one in full, or a page of summaries."""

from dataclasses import dataclass
from uuid import UUID

from sweephand.domain.cursor import decode, encode
from sweephand.domain.errors import FieldError, InvalidError, JobNotFoundError
from sweephand.domain.handler import NAME
from sweephand.domain.job import JobJson, Status
from sweephand.domain.json_value import JsonValue
from sweephand.ports.record import Record

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


def get(record: Record, job_id: UUID) -> JobJson:
    """Return the job in full; raises `JobNotFoundError`."""
    job = record.get(job_id)
    if job is None:
        raise JobNotFoundError
    return job


@dataclass(frozen=True, slots=True)
class ListRequest:
    """The query of `GET /jobs`, as text or None where it was not given."""

    status: str | None = None
    type: str | None = None
    limit: str | None = None
    cursor: str | None = None


def list_jobs(record: Record, request: ListRequest) -> dict[str, JsonValue]:
    """Return `{jobs, next_cursor}`, latest created first; a cursor is good for the same filters.

    Raises `InvalidError` for an unknown status, an impossible type, a limit out of range or a foreign cursor.
    """
    limit = parse_limit(request.limit)
    if request.status is not None and request.status not in set(Status):
        raise InvalidError([FieldError("status", f"must be one of {', '.join(Status)}")])
    if request.type is not None and not NAME.match(request.type):
        raise InvalidError([FieldError("type", "not the name of a handler")])
    filters = f"{request.status or ''}|{request.type or ''}"
    after = decode(request.cursor, filters=filters) if request.cursor is not None else None
    listed = record.list(request.status, request.type, limit + 1, after)
    more = len(listed.jobs) > limit
    return {
        "jobs": listed.jobs[:limit],
        "next_cursor": encode(listed.positions[limit - 1], filters=filters) if more else None,
    }


def parse_limit(text: str | None) -> int:
    """Return how many items a page has; raises `InvalidError` unless it is 1 to MAX_LIMIT."""
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT):
        raise InvalidError([FieldError("limit", f"must be a whole number from 1 to {MAX_LIMIT}")])
    return int(text)
