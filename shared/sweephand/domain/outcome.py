"""What became of one attempt: the seven ways in which it can end."""

from dataclasses import dataclass
from typing import TypeAlias

from sweephand.domain.json_value import JsonValue


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It returned `result`, which is `size` bytes of JSON."""

    result: JsonValue
    size: int


@dataclass(frozen=True, slots=True)
class Failed:
    """It raised; `error` is the exception as text."""

    error: str


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """It raised `Retry(after)`, in seconds."""

    after: float
    reason: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """It raised `GiveUp(reason)`."""

    reason: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """It passed its time limit of `limit` seconds. `stuck`: it could not be ended and may still be running."""

    limit: float
    stuck: bool


@dataclass(frozen=True, slots=True)
class PayloadInvalid:
    """Its payload model refused the payload, so it was never entered."""

    error: str


@dataclass(frozen=True, slots=True)
class NotRun:
    """Its lease was used up before it could be entered: its function had been frozen."""


Outcome: TypeAlias = Succeeded | Failed | RetryRequested | GaveUp | TimedOut | PayloadInvalid | NotRun
