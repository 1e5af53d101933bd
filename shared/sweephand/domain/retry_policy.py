"""What becomes of an attempt: the one place that decides it, purely, from how the attempt ended."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, assert_never

from sweephand.domain.attempt import (
    Attempt,
    Failed,
    GaveUp,
    NotRun,
    Outcome,
    PayloadInvalid,
    RetryRequested,
    Succeeded,
    TimedOut,
    cut,
)
from sweephand.domain.json_value import JsonValue

BACKOFF_BASE = 1.0
"""Seconds: the longest wait after a first attempt is twice this."""
BACKOFF_CAP = 4096.0
"""Seconds: no wait is longer."""


class Complete(NamedTuple):
    """The job is completed."""

    result: JsonValue


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """The job is pending again, due in `delay` seconds."""

    delay: float
    kind: str
    error: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The job is failed."""

    reason: str
    kind: str
    error: str


@dataclass(frozen=True, slots=True)
class Release:
    """The job's handler did not run: it is pending again at once, as if it had not been started."""


Decision: TypeAlias = Complete | RetryAfter | Fail | Release


def decide(attempt: Attempt, outcome: Outcome, *, jitter: float, now: float) -> Decision:  # noqa: PLR0911 - one for each outcome
    """Return what follows from `outcome`.

    `jitter`: 0 ≤ jitter < 1, uniformly random. `now`: seconds of the clock that `attempt.lease_ends` is on: before
    the lease ends, no other attempt follows one that may still be running.
    """
    match outcome:
        case Succeeded(result, _):
            return Complete(result)
        case NotRun():
            return Release()
        case PayloadInvalid(error):
            return Fail("its payload was refused", "refused", cut(error))
        case GaveUp(reason):
            return Fail(cut(reason or "its handler gave up"), "gave_up", cut(reason))
        case RetryRequested(after, reason):
            return _retry(attempt, after, "retry", reason)
        case Failed(error):
            return _retry(attempt, backoff(attempt.retries_used, jitter), "raised", error)
        case TimedOut(limit, stuck):
            wait = backoff(attempt.retries_used, jitter)
            return _retry(
                attempt,
                max(wait, attempt.lease_ends - now) if stuck else wait,
                "timeout",
                f"it did not end within {limit:g} s" + (" and could not be stopped" if stuck else ""),
            )
        case _:
            assert_never(outcome)


def result_refused(error: str) -> Fail:
    """Return what follows when the record refuses a result, with the record's `error`."""
    return Fail("its result could not be stored", "raised", cut(error))


def backoff(retries_used: int, jitter: float) -> float:
    """Return the seconds to wait before the next attempt: exponential, with jitter over the whole step.

    The wait after attempt n lies between base · 2^(n-1) and base · 2^n, at most the cap. Full jitter as in
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ spreads from 0; starting where the
    step before ended spreads as widely (half the ceiling) and makes each wait longer than the last.
    """
    ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(retries_used + 1, 30))
    return ceiling / 2 * (1 + jitter)


def _retry(attempt: Attempt, delay: float, kind: str, error: str) -> Decision:
    if attempt.retries_used >= attempt.max_retries:
        tries = "its only attempt" if attempt.max_retries == 0 else f"all {attempt.max_retries + 1} attempts"
        return Fail(cut(f"{tries} failed, the last with: {error}"), kind, cut(error))
    return RetryAfter(delay, kind, cut(error))
