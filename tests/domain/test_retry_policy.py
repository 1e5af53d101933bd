"""What follows from an outcome."""

from typing import assert_never

from hypothesis import given
from hypothesis import strategies as st

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
from sweephand.domain.job import MAX_CRASHES, MAX_ERROR, MAX_RETRIES
from sweephand.domain.retry_policy import (
    BACKOFF_BASE,
    BACKOFF_CAP,
    Complete,
    Fail,
    Release,
    RetryAfter,
    backoff,
    decide,
)
from tests.domain.attempts import attempt

JITTER = st.floats(0, 1, exclude_max=True)
SECONDS = st.floats(0, 1e6)
RETRIED: st.SearchStrategy[Outcome] = (
    st.builds(Failed, st.text())
    | st.builds(RetryRequested, SECONDS, st.text())
    | st.builds(TimedOut, SECONDS, st.booleans())
)
OUTCOMES: st.SearchStrategy[Outcome] = (
    RETRIED
    | st.builds(Succeeded, st.integers(), st.just(1))
    | st.builds(GaveUp, st.text())
    | st.builds(PayloadInvalid, st.text())
    | st.just(NotRun())
)
ATTEMPTS = st.builds(
    lambda used, crashes, retries: attempt(used + crashes + 1, crashes, retries),
    st.integers(0, MAX_RETRIES),
    st.integers(0, MAX_CRASHES),
    st.integers(0, MAX_RETRIES),
)
FIRST = attempt(1, 0, 3)


@given(st.integers(0, 10_000), JITTER)
def test_wait_lies_in_its_step_and_below_the_cap(used: int, jitter: float) -> None:
    """The wait after attempt n is between base · 2^(n-1) and base · 2^n, and between cap/2 and cap once there."""
    ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(used + 1, 40))
    assert ceiling / 2 <= backoff(used, jitter) <= ceiling <= BACKOFF_CAP


@given(st.integers(0, 9), JITTER, JITTER)
def test_each_wait_is_at_least_the_last(used: int, jitter: float, other: float) -> None:
    """Whatever the jitter of the two, a later wait is never shorter, until the cap is reached."""
    assert backoff(used, jitter) <= backoff(used + 1, other)


@given(st.integers(0, 100), JITTER, JITTER)
def test_wait_grows_with_its_jitter(used: int, jitter: float, other: float) -> None:
    """Jitter spreads one step's waits: more of it is never a shorter wait."""
    low, high = sorted((jitter, other))
    assert backoff(used, low) <= backoff(used, high)


@given(ATTEMPTS, OUTCOMES, JITTER, SECONDS)
def test_every_outcome_has_a_decision(started: Attempt, outcome: Outcome, jitter: float, lease: float) -> None:
    """No outcome of any attempt is left undecided, and every error text fits into the record."""
    decision = decide(started._replace(lease_ends=lease), outcome, jitter=jitter, now=0)
    match decision:
        case Complete():
            assert isinstance(outcome, Succeeded)
        case RetryAfter(delay, _, error):
            assert delay >= 0
            assert len(error.encode()) <= MAX_ERROR
        case Fail(reason, _, error):
            assert reason
            assert max(len(reason.encode()), len(error.encode())) <= MAX_ERROR
        case Release():
            assert isinstance(outcome, NotRun)
        case _:
            assert_never(decision)


@given(st.integers(0, MAX_RETRIES), st.data())
def test_never_more_than_max_retries_and_one_attempts_end(max_retries: int, data: st.DataObject) -> None:
    """Whatever attempts end with, and whatever crashes come between, they are at most max_retries + 1."""
    number, crashes, ended = 0, 0, 0
    while True:
        number += 1
        if crashes < MAX_CRASHES and data.draw(st.booleans()):
            crashes += 1
            continue
        ended += 1
        decision = decide(attempt(number, crashes, max_retries), data.draw(RETRIED), jitter=0.5, now=0)
        if isinstance(decision, Fail):
            break
    assert ended == max_retries + 1
    assert number <= max_retries + 1 + MAX_CRASHES


@given(OUTCOMES)
def test_only_the_last_attempt_of_a_failing_job_ends_it(outcome: Outcome) -> None:
    """With retries left, only a result, a refusal and GiveUp end the job; what was not entered counts nothing."""
    decision = decide(FIRST, outcome, jitter=0, now=0)
    match outcome:
        case Succeeded():
            assert isinstance(decision, Complete)
        case PayloadInvalid() | GaveUp():
            assert isinstance(decision, Fail)
        case Failed() | RetryRequested() | TimedOut():
            assert isinstance(decision, RetryAfter)
        case NotRun():
            assert isinstance(decision, Release)
        case _:
            assert_never(outcome)


def test_asked_retry_waits_as_asked() -> None:
    """`Retry(after)` is followed to the second; backoff has no say."""
    assert decide(FIRST, RetryRequested(17, "busy"), jitter=0.9, now=0) == RetryAfter(17, "retry", "busy")


def test_asked_retry_counts_as_an_attempt() -> None:
    """`Retry` on the last attempt ends the job, with the handler's reason in the job's."""
    decision = decide(attempt(4, 0, 3), RetryRequested(17, "busy"), jitter=0, now=0)
    assert decision == Fail("all 4 attempts failed, the last with: busy", "retry", "busy")


def test_job_without_retries_says_so() -> None:
    """A job of max_retries 0 has one attempt, and its reason calls it that."""
    decision = decide(attempt(1, 0, 0), Failed("no"), jitter=0, now=0)
    assert decision == Fail("its only attempt failed, the last with: no", "raised", "no")


def test_crashes_use_up_no_retry() -> None:
    """The wait of a fourth start after three lost ones is that of a first attempt."""
    lost = decide(attempt(4, 3, 3), Failed("no"), jitter=0.5, now=0)
    assert lost == decide(FIRST, Failed("no"), jitter=0.5, now=0)


def test_timeout_is_retried_with_backoff() -> None:
    """A handler that was ended at its time limit is tried again after an ordinary wait."""
    decision = decide(FIRST._replace(lease_ends=700), TimedOut(2.5, stuck=False), jitter=0, now=100)
    assert decision == RetryAfter(BACKOFF_BASE, "timeout", "it did not end within 2.5 s")


def test_stuck_handler_is_not_followed_within_its_lease() -> None:
    """What may still be running is not started beside itself: the wait is at least the lease's rest."""
    decision = decide(FIRST._replace(lease_ends=700), TimedOut(30, stuck=True), jitter=0, now=100)
    assert decision == RetryAfter(600, "timeout", "it did not end within 30 s and could not be stopped")


def test_give_up_without_a_reason_still_has_one() -> None:
    """A failed job always says why."""
    assert decide(FIRST, GaveUp(""), jitter=0, now=0) == Fail("its handler gave up", "gave_up", "")


@given(st.text(st.characters()), st.integers(3, 50))
def test_cut_text_can_be_stored(text: str, limit: int) -> None:
    """Whatever an exception says, what is kept is UTF-8 without U+0000 and within its bytes."""
    kept = cut(text, limit)
    assert len(kept.encode()) <= limit
    assert "\0" not in kept
    clean = text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    assert kept == clean or clean.startswith(kept.removesuffix("…"))
