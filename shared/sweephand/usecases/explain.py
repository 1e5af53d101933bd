"""Say in words why a job is where it is: what the record knows, and what the index says."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sweephand.domain.errors import IndexUnavailableError, JobNotFoundError
from sweephand.domain.job import MAX_CRASHES
from sweephand.domain.json_value import JsonValue
from sweephand.ports.index import Index
from sweephand.ports.record import Due, Record

SILENCE_MS = 120_000
"""Milliseconds without a tick after which the schedule, which fires every minute, must be broken."""
ABSENT = "absent"
AWAY = "away"
UNUSED = "unused"
NOT_ASKED = "not asked"
EXCLUSIVE_FROM = 2
"""Crashes from which on the record starts a job only exclusively: with no other beside it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the record knows of the job, and where the index has it: ms from now, or one of the words above."""

    job: Any
    index: int | str


def explain(record: Record, index: Index | None, job_id: UUID) -> dict[str, JsonValue]:
    """Return `{id, status, because: [sentence], index}`; raises `JobNotFoundError`, `RecordUnavailableError`."""
    found = record.explain(job_id)
    if found is None:
        raise JobNotFoundError
    facts = Facts(found, _where(index, found))
    return {
        "id": facts.job["id"],
        "status": facts.job["status"],
        "because": list(sentences(facts)),
        "index": facts.index if isinstance(facts.index, str) else "due" if facts.index <= 0 else "waiting",
    }


def sentences(facts: Facts) -> Iterator[str]:
    """Yield the reasons, the most important first."""
    match facts.job["status"]:
        case "pending":
            yield from _pending(facts)
            yield from _ticks(facts)
        case "in_progress":
            yield from _in_progress(facts)
            yield from _ticks(facts)
        case "completed":
            yield f"Attempt {facts.job['attempt']} completed it {_span(-facts.job['ended_ms'])} ago."
        case "failed":
            yield f"It failed {_span(-facts.job['ended_ms'])} ago: {facts.job['reason']}"
        case "cancelled":
            ago, reason = _span(-facts.job["ended_ms"]), facts.job["reason"]
            said = f": {reason}" if reason else "."
            yield f"It was cancelled {ago} ago, before attempt {facts.job['attempt'] + 1}{said}"
    yield from _schedule(facts)


def _schedule(facts: Facts) -> Iterator[str]:
    """Say which schedule made it, and for which fire."""
    name, fire_ms = facts.job["schedule"], facts.job["fire_ms"]
    if name is None:
        return
    if fire_ms is None:
        yield f"Schedule {name} made it: it was run by hand."
    elif fire_ms > 0:
        yield f"Schedule {name} made it for its fire in {_span(fire_ms)}."
    else:
        yield f"Schedule {name} made it for its fire of {_span(-fire_ms)} ago."


def _pending(facts: Facts) -> Iterator[str]:
    job = facts.job
    due, next_ = job["due_ms"], job["attempt"] + 1
    expires = job["expires_ms"]
    if job.get("aside"):
        yield (
            f"Its row failed a statement ({job['aside']['error']}), so ticks pass over it for another "
            f"{_span(job['aside']['ms'])}; then it is tried again."
        )
    elif expires is not None and expires <= 0:
        yield f"It expired {_span(-expires)} ago without a start: the next tick ends it as failed."
    elif job["paused"]:
        yield f"Its type, {job['type']}, is paused, until its row in sweephand.paused is deleted."
    elif due > 0:
        yield f"It is due in {_span(due)}, for attempt {next_}."
    elif job["tick_ms"] is not None and not job["known"]:
        yield f"It is due since {_span(-due)}, but the last tick had no handler for its type, {job['type']}."
    else:
        yield f"It is due since {_span(-due)} and waits for attempt {next_}."
        yield from _queued(facts)
    if job["error"]:
        yield f"Attempt {job['attempt']} ended with {job['error']}"
    if job["crashes"]:
        exclusive = ", so it starts when nothing else runs beside it" if job["crashes"] >= EXCLUSIVE_FROM else ""
        most = _times(MAX_CRASHES + 1)
        yield f"It was lost with its function {_times(job['crashes'])}{exclusive}; lost {most}, it fails."
    if due > 0 and expires is not None and expires > 0:
        yield f"Not started within {_span(expires)}, it will fail as expired."


def _queued(facts: Facts) -> Iterator[str]:
    """Say where a due job stands in the index."""
    match facts.index:
        case str(word) if word == ABSENT:
            yield "It is not in the index: a tick puts it back from the record, the oldest first."
        case str(word) if word in (AWAY, UNUSED):
            yield f"The index is {word}: ticks take it from the record itself."
        case int(wait) if wait > 0:
            yield f"A tick has claimed it, or left it for later: the index holds it for another {_span(wait)}."
        case _:
            yield "It is in the index, free to be claimed."
    if ahead := facts.job["ahead"]:
        more = "1,000 or more" if ahead >= 1000 else str(ahead)  # noqa: PLR2004 - where the record stops counting
        yield f"{more} of its type and priority {'is' if ahead == 1 else 'are'} due before it."


def _in_progress(facts: Facts) -> Iterator[str]:
    job = facts.job
    if job["lease_ms"] > 0:
        yield f"Attempt {job['attempt']} is running; its lease lasts another {_span(job['lease_ms'])}."
    else:
        yield (
            f"Attempt {job['attempt']} was lost with its function: its lease ended {_span(-job['lease_ms'])} ago. "
            "The next tick makes it pending again, or failed after too many."
        )


def _ticks(facts: Facts) -> Iterator[str]:
    at = facts.job["tick_ms"]
    if at is None:
        yield "No tick has been seen yet: check that the schedule calls it."
    elif -at > SILENCE_MS:
        yield f"No tick has been seen for {_span(-at)}: check the schedule and the tick's log."


def _where(index: Index | None, job: Any) -> int | str:
    """Return where the index has a pending job."""
    if job["status"] != "pending":
        return NOT_ASKED
    if index is None:
        return UNUSED
    try:
        wait = index.look_up(job["installation"], Due(job["id"], job["type"], job["priority"], 0))
    except IndexUnavailableError:
        return AWAY
    return ABSENT if wait is None else wait


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _span(ms: int) -> str:
    """Return a span of time as people say it: 0.4 s, 12 s, 3 min, 5 h, 2 d."""
    seconds = max(0, ms) / 1000
    for limit, unit, word in ((10, 1, "s"), (120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {word}" if limit == 10 else f"{seconds / unit:.0f} {word}"  # noqa: PLR2004
    return f"{seconds / 86400:.0f} d"
