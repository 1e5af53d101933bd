"""What follows from an outcome: pure, so that it can be read, tested and trusted on its own."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, assert_never

from sweephand.domain.job import MAX_ERROR
from sweephand.domain.json_value import JsonValue
from sweephand.domain.outcome import (
    Failed,
    GaveUp,
    NotRun,
    Outcome,
    PayloadInvalid,
    RetryRequested,
    Succeeded,
    TimedOut,
)

BACKOFF_BASE = 1.0
"""Seconds: the longest wait after a first attempt is twice this."""
BACKOFF_CAP = 4096.0
"""Seconds: no wait is longer."""


class Attempt(NamedTuple):
    """Which start it was (from 1), how many before it were lost with their function, and how many retries it has.

    `crashes` are the lost ones whose handlers had been entered, `lost` those of which that was not known.
    """

    number: int
    crashes: int
    max_retries: int
    lost: int = 0

    @property
    def retries_used(self) -> int:
        """Attempts before this one that ended by themselves."""
        return self.number - self.crashes - self.lost - 1


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
    """The job was leased but never entered: it is pending again at once, as if it had not been."""


Decision: TypeAlias = Complete | RetryAfter | Fail | Release


def decide(attempt: Attempt, outcome: Outcome, *, jitter: float, lease: float) -> Decision:  # noqa: PLR0911 - one for each outcome
    """Return what follows from `outcome`.

    `jitter`: 0 ≤ jitter < 1, uniformly random. `lease`: seconds until the attempt's lease ends, before which
    an attempt that may still be running is not followed by another.
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
                max(wait, lease) if stuck else wait,
                "timeout",
                f"it did not end within {limit:g} s" + (" and could not be stopped" if stuck else ""),
            )
        case _:
            assert_never(outcome)


def backoff(retries_used: int, jitter: float) -> float:
    """Return the seconds to wait before the next attempt: exponential, with jitter over the whole step.

    The wait after attempt n lies between base · 2^(n-1) and base · 2^n, at most the cap. Full jitter as in
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ spreads from 0; starting where the
    step before ended spreads as widely (half the ceiling) and makes each wait longer than the last.
    """
    ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(retries_used + 1, 30))
    return ceiling / 2 * (1 + jitter)


def cut(text: str, limit: int = MAX_ERROR) -> str:
    """Return `text` as PostgreSQL can store it, in at most `limit` bytes of UTF-8."""
    clean = text.replace("\0", "\\0").encode("utf-8", "backslashreplace")
    if len(clean) <= limit:
        return clean.decode()
    return clean[: limit - 3].decode("utf-8", "ignore") + "…"


def _retry(attempt: Attempt, delay: float, kind: str, error: str) -> Decision:
    if attempt.retries_used >= attempt.max_retries:
        tries = "its only attempt" if attempt.max_retries == 0 else f"all {attempt.max_retries + 1} attempts"
        return Fail(cut(f"{tries} failed, the last with: {error}"), kind, cut(error))
    return RetryAfter(delay, kind, cut(error))
