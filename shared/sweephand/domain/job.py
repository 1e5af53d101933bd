"""What a job is asked to be, and the few values that everyone needs to know of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sweephand.domain.json_value import JsonValue


class Status(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


MAX_PRIORITY = 9
MAX_RETRIES = 100
MAX_CRASHES = 3
"""Starts that may be lost with their function before the job fails; kept by the record."""
MAX_RESULT = 64 * 1024
"""Bytes of JSON that a handler may return."""
MAX_ERROR = 2048
"""Bytes that are kept of one attempt's error."""

JobJson = Mapping[str, JsonValue]
"""A job as the record renders it, ready to be sent to a client."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be created; without `scheduled_at` it is due at once."""

    id: UUID
    type: str
    payload: Mapping[str, JsonValue]
    priority: int = 0
    max_retries: int = 3
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's key: whose it is, the key, and a hash of the request that it names."""

    owner: str
    key: str
    request: str
